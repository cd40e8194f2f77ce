//! What is said beside the protocol, on a channel's stderr (RFC 4254, section 5.2): which ticket
//! this is, and why something was refused. OpenSSH shows its own words for an SFTP status
//! ("Failure"), and prints stderr; only clients that are known to show stderr to people get any.

use std::borrow::Cow;

use crate::model::{Kind, Locked, Refusal};

/// Refusals that one channel hears about in its life. Further ones are in the statuses only.
const MOST: usize = 100;

/// What is said of a refusal.
type Words = dyn Fn(Refusal) -> Cow<'static, str> + Send + Sync;

pub(crate) struct Remarks {
    words: Box<Words>,
    state: Locked<State>,
}

struct State {
    waiting: Vec<Refusal>,
    last: Option<Refusal>,
    left: usize,
}

impl Remarks {
    /// One that says of each refusal what `words` does. If not `heard`, nothing is ever said.
    pub(crate) fn new(words: impl Fn(Refusal) -> Cow<'static, str> + Send + Sync + 'static, heard: bool) -> Self {
        let left = if heard { MOST } else { 0 };
        Self { words: Box::new(words), state: Locked::new(State { waiting: Vec::new(), last: None, left }) }
    }

    /// Notes a refusal. One that repeats is said once: a full share refuses each of a thousand
    /// files.
    pub(crate) fn refused(&self, refusal: Refusal) {
        let mut state = self.state.lock();
        if state.left > 0 && state.last != Some(refusal) && is_news(refusal) {
            state.left -= 1;
            state.last = Some(refusal);
            state.waiting.push(refusal);
        }
    }

    /// What there is to say now.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        let lines = waiting.into_iter().map(|refusal| format!("{}\n", (self.words)(refusal)));
        Some(lines.collect::<String>().into_bytes()).filter(|text| !text.is_empty())
    }
}

/// Whether a person wants to know. Clients ask for much that fails as they expect it to: whether a
/// name is free, whether they may set the times of a directory.
fn is_news(refusal: Refusal) -> bool {
    !matches!(refusal.kind(), Kind::NotFound | Kind::Unsupported)
        && !matches!(
            refusal,
            Refusal::AlreadyExists
                | Refusal::IsDirectory
                | Refusal::NotDirectory
                | Refusal::FixedPlace
                | Refusal::BadHandle
                | Refusal::BadRequest
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Language;

    fn text(remarks: &Remarks) -> String {
        String::from_utf8(remarks.take().unwrap_or_default()).unwrap()
    }

    #[test]
    fn what_repeats_is_said_once() {
        let remarks = Remarks::new(|refusal| refusal.sentence(Language::En).into(), true);
        assert_eq!(remarks.take(), None);
        for _ in 0..3 {
            remarks.refused(Refusal::TicketClosed);
            remarks.refused(Refusal::NoSuchFile);
            remarks.refused(Refusal::AlreadyExists);
        }
        assert_eq!(text(&remarks), format!("{}\n", Refusal::TicketClosed.sentence(Language::En)));
        remarks.refused(Refusal::TicketClosed);
        assert_eq!(remarks.take(), None);
        remarks.refused(Refusal::DiskFull);
        remarks.refused(Refusal::TicketClosed);
        assert_eq!(text(&remarks).lines().count(), 2);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let remarks = Remarks::new(|refusal| refusal.sentence(Language::De).into(), true);
        for _ in 0..MOST {
            remarks.refused(Refusal::DiskFull);
            remarks.refused(Refusal::QuotaExceeded);
        }
        assert_eq!(text(&remarks).lines().count(), MOST);
        let quiet = Remarks::new(|refusal| refusal.sentence(Language::De).into(), false);
        quiet.refused(Refusal::DiskFull);
        assert_eq!(quiet.take(), None);
    }
}
