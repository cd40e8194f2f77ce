//! From the words of a command line to paths: wildcards are looked up in the share, name by name,
//! as a shell does in a directory.

use super::Argument;
use super::reply::Complaint;
use crate::access::{PlaceKind, ShareSession};
use crate::model::path::{MAX_GIVEN, MAX_LOOKED_UP};
use crate::model::pattern::Pattern;
use crate::model::{FileName, Kind, Refusal, SharePath};

/// Names that the patterns of one command may fit, in all. More: an error.
const MOST_FITTING: usize = 4096;
/// Names that may be looked at for one command, in all. More: an error.
const MOST_LOOKED_AT: usize = 200_000;
/// Steps that comparing names and putting paths together may take, in all. More: an error.
const MOST_STEPS: u64 = 100_000_000;
/// Steps after which the thread is left to others for once. Some hundred paths, or names and an
/// ordinary pattern.
const STEPS_AT_ONCE: u64 = 5000;
/// Names that are read at once.
const PAGE: usize = 100;

/// What is left for one command.
pub(crate) struct Expansion {
    fitting: usize,
    looked_at: usize,
    steps: u64,
    /// Steps since the thread was last left to others.
    in_a_row: u64,
}

impl Expansion {
    pub(crate) const fn new() -> Self {
        Self { fitting: MOST_FITTING, looked_at: MOST_LOOKED_AT, steps: MOST_STEPS, in_a_row: 0 }
    }

    /// Names that were looked at, and steps that were taken.
    #[cfg(test)]
    pub(crate) const fn spent(&self) -> (usize, u64) {
        (MOST_LOOKED_AT - self.looked_at, MOST_STEPS - self.steps)
    }

    /// The paths that a word stands for, sorted. One that fits nothing stands for itself, as in a
    /// shell; so does one with a `..` behind a wildcard, which would lead back and forth.
    pub(crate) async fn paths(&mut self, share: &ShareSession, word: &Argument) -> Result<Vec<SharePath>, Complaint> {
        let Some(first) = word.wild.first() else { return Ok(vec![SharePath::parse(&word.bytes)?]) };
        let segments = word.bytes.split(|byte| *byte == b'/').filter(|segment| !matches!(*segment, b"" | b"."));
        if word.bytes.len() > MAX_GIVEN || segments.count() > MAX_LOOKED_UP {
            return Err(Refusal::PathTooLong.into());
        }
        let before = word.bytes.get(..*first).unwrap_or_default();
        let mut at = before.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (above, below) = word.bytes.split_at(at);
        let above = SharePath::parse(above)?;
        if below.split(|byte| *byte == b'/').any(|segment| segment == b"..") || !self.is_there(share, &above).await? {
            return Ok(vec![SharePath::parse(&word.bytes)?]);
        }
        // What it goes down into and leaves again is there, and need not be looked up for each
        // name.
        let mut found = vec![SharePath::from_names(above.names().to_vec())];
        for segment in below.split(|byte| *byte == b'/') {
            let end = at + segment.len();
            let wild: Vec<usize> =
                word.wild.iter().filter(|place| (at..end).contains(*place)).map(|place| place - at).collect();
            at = end + 1;
            found = match segment {
                b"" | b"." => found,
                name if wild.is_empty() => self.step_down(found, name).await?,
                pattern => {
                    let is_last = end >= word.bytes.len();
                    self.look_up(share, found, &Pattern::new(pattern, &wild), is_last).await?
                }
            };
        }
        // Names behind the last wildcard were only assumed.
        let mut there = Vec::new();
        for path in found {
            if self.is_there(share, &path).await? {
                there.push(path);
            }
        }
        if there.is_empty() {
            return Ok(vec![SharePath::parse(&word.bytes)?]);
        }
        there.sort_by_cached_key(SharePath::to_bytes);
        Ok(there)
    }

    /// Every path with one more name that is no pattern.
    async fn step_down(&mut self, paths: Vec<SharePath>, name: &[u8]) -> Result<Vec<SharePath>, Complaint> {
        let name = FileName::new(name).map_err(|_| Refusal::BadName)?;
        let mut below = Vec::new();
        for path in paths {
            below.extend(self.join(&path, name.clone()).await?);
        }
        Ok(below)
    }

    /// A path with one more name, unless that is one that no request could have.
    async fn join(&mut self, path: &SharePath, name: FileName) -> Result<Option<SharePath>, Complaint> {
        self.charge(cost(path)).await?;
        let length: usize = path.names().iter().chain([&name]).map(|name| 1 + name.as_bytes().len()).sum();
        Ok((length <= MAX_GIVEN && path.names().len() < MAX_LOOKED_UP).then(|| path.join(name)))
    }

    /// Takes steps from what is left. Other channels and connections are served by the same thread,
    /// so now and then it is left to them.
    async fn charge(&mut self, steps: u64) -> Result<(), Complaint> {
        self.steps = self.steps.checked_sub(steps).ok_or(Complaint::TooManyNames)?;
        self.in_a_row = self.in_a_row.saturating_add(steps);
        if self.in_a_row >= STEPS_AT_ONCE {
            self.in_a_row = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Every name below these paths that fits; directories only, unless it is the last name.
    async fn look_up(
        &mut self,
        share: &ShareSession,
        paths: Vec<SharePath>,
        pattern: &Pattern,
        is_last: bool,
    ) -> Result<Vec<SharePath>, Complaint> {
        let mut found = Vec::new();
        for path in paths {
            self.charge(1).await?;
            let mut listing = match share.list(&path).await {
                Ok(listing) => listing,
                // A file on the way, or nothing at all: a shell passes over them.
                Err(refusal) if passes_over(refusal) => continue,
                Err(refusal) => return Err(refusal.into()),
            };
            loop {
                let page = listing.next(PAGE).await?;
                if page.is_empty() {
                    break;
                }
                self.looked_at = self.looked_at.checked_sub(page.len()).ok_or(Complaint::TooManyNames)?;
                for entry in page {
                    let (fits, steps) = pattern.fits(entry.name.as_bytes());
                    self.charge(steps).await?;
                    if fits && (is_last || entry.attributes.kind == PlaceKind::Directory) {
                        self.fitting = self.fitting.checked_sub(1).ok_or(Complaint::TooManyNames)?;
                        found.extend(self.join(&path, entry.name).await?);
                    }
                }
                // A page may come from memory, and its names may be told apart by their first
                // letter.
                tokio::task::yield_now().await;
            }
        }
        Ok(found)
    }

    async fn is_there(&mut self, share: &ShareSession, path: &SharePath) -> Result<bool, Complaint> {
        self.charge(cost(path)).await?;
        match share.attributes(path).await {
            Ok(_) => Ok(true),
            Err(refusal) if passes_over(refusal) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

fn passes_over(refusal: Refusal) -> bool {
    refusal.kind() == Kind::NotFound || refusal == Refusal::NotDirectory
}

/// The steps that it takes to copy a path: each of its names is a piece of memory.
fn cost(path: &SharePath) -> u64 {
    path.names().len() as u64 + 1
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn path(text: &str) -> SharePath {
        SharePath::parse(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn r58_paths_that_no_request_could_have_are_dropped() {
        let (long, name) = ("x".repeat(200), "y".repeat(151));
        let above = path(&[&*long; 40].join("/"));
        let mut expansion = Expansion::new();
        let found = expansion.step_down(vec![above.clone(), path("a")], name.as_bytes()).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].to_bytes().len(), MAX_GIVEN);
        let found = expansion.step_down(vec![above, path("a")], format!("{name}y").as_bytes()).await.unwrap();
        assert_eq!(found, [path(&format!("a/{name}y"))]);
        let deep = path(&["a"; MAX_LOOKED_UP - 1].join("/"));
        let deepest = expansion.step_down(vec![deep], b"a").await.unwrap();
        assert_eq!(deepest.len(), 1);
        assert_eq!(expansion.step_down(deepest, b"a").await.unwrap(), []);
    }

    #[test]
    fn r58_others_are_served_in_between() {
        let paths = |count| vec![path("a/b"); count];
        let mut context = Context::from_waker(Waker::noop());
        let mut expansion = Expansion::new();
        assert!(pin!(expansion.step_down(paths(10), b"c")).poll(&mut context).is_ready());
        let mut stepping = pin!(expansion.step_down(paths(4000), b"c"));
        let mut pauses = 0;
        while stepping.as_mut().poll(&mut context).is_pending() {
            pauses += 1;
        }
        assert_eq!(pauses, 2, "4010 paths of three steps each");
    }

    #[tokio::test]
    async fn r58_putting_paths_together_is_bounded() {
        let mut expansion = Expansion::new();
        expansion.steps = 29;
        let outcome = expansion.step_down(vec![path("a/b"); 10], b"c").await;
        assert_eq!(outcome, Err(Complaint::TooManyNames));
    }
}
