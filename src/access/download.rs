//! A version, or a small text about one, that is open for reading.

use std::sync::Arc;

use serde_json::json;

use crate::access::session::OpenForReading;
use crate::access::{Access, ShareSession};
use crate::audit::{Coverage, Kind};
use crate::content::Content;
use crate::content::damage::report_damage;
use crate::content::read_ahead::Reader;
use crate::digests::{Digest, Digested, Patience};
use crate::login::Login;
use crate::login::rights::Grant;
use crate::model::{Algorithm, ArtifactId, Identifier, Locked, Refusal, ShareId, VersionId};
use crate::namespace::tree::ShareContext;
use crate::records::versions::{self, VersionRow};
use crate::repo::{Attributes, Error};

/// Sealed bytes that are opened on the connection's thread where they are at hand: that takes less
/// than waking another thread, and keeps other connections waiting no longer than a small CLOSE.
const OPENED_HERE: usize = 32 << 10;

/// Something that is open for reading, mostly a version; it stays what it is while newer ones
/// arrive. Cheap to clone, and reads may run at the same time.
#[derive(Clone)]
pub struct Download {
    state: Arc<State>,
    /// While it lives its session hears how long this is, whatever becomes of the name.
    _open: Option<Arc<OpenForReading>>,
}

struct State {
    access: Arc<Access>,
    grant: Grant,
    body: Body,
    attributes: Attributes,
}

enum Body {
    Version(Box<Reading>),
    /// Something small that the server itself says.
    Text(Vec<u8>),
}

/// Somebody reads a version.
struct Reading {
    reader: Reader,
    size: u64,
    share: ShareId,
    version: VersionId,
    artifact: ArtifactId,
    ticket: Identifier,
    login: Login,
    read: Locked<Coverage>,
}

impl Reading {
    fn has_read(&self, offset: u64, bytes: usize) {
        self.read.lock().add(offset, bytes as u64);
    }
}

/// The last handle is closed, or its session is gone.
impl Drop for Reading {
    fn drop(&mut self) {
        let read = self.read.get_mut();
        let detail = json!({
            "artifact": self.artifact.to_string(),
            "bytes": read.bytes,
            "whole": read.is_whole(self.size),
        });
        self.login.0.enqueue(Kind::ArtifactRead, Some(&self.ticket), Some(*self.version.as_bytes()), detail);
    }
}

impl Download {
    /// Opens an available version for who looks, and says so in the audit trail; what was read is
    /// said there when the last clone is dropped.
    pub(crate) async fn of_version(
        session: &ShareSession,
        grant: Grant,
        context: &ShareContext,
        version: &VersionRow,
        attributes: Attributes,
    ) -> Result<Self, Error> {
        let access = session.access();
        let content = match Content::shared(&access.repo, &access.layouts, &context.keys, version).await {
            Ok(content) => content,
            Err(error) => {
                report_damage(&access.repo, &error, version.id, &context.ticket).await;
                return Err(error);
            }
        };
        let detail = json!({ "artifact": version.artifact.to_string(), "size": attributes.size });
        session.enqueue(Kind::ArtifactOpened, &context.ticket, *version.id.as_bytes(), detail);
        let reading = Reading {
            reader: Reader::new(content, attributes.size, &access.read_ahead),
            size: attributes.size,
            share: context.share(),
            version: version.id,
            artifact: version.artifact,
            ticket: context.ticket.clone(),
            login: session.login().clone(),
            read: Locked::default(),
        };
        Ok(Self::of(State { access: Arc::clone(access), grant, body: Body::Version(Box::new(reading)), attributes }))
    }

    /// A text of a few lines; `attributes` tell its size.
    pub(crate) fn of_text(session: &ShareSession, grant: Grant, text: Vec<u8>, attributes: Attributes) -> Self {
        let access = Arc::clone(session.access());
        Self::of(State { access, grant, body: Body::Text(text), attributes })
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(state), _open: None }
    }

    /// The same, which its session hears of in STAT while it is open.
    pub(crate) fn keeping(self, open: OpenForReading) -> Self {
        Self { _open: Some(Arc::new(open)), ..self }
    }

    /// What STAT says of the version that was opened.
    pub fn attributes(&self) -> Attributes {
        self.state.attributes.clone()
    }

    /// The digest of the whole of what was opened; see [`ShareSession::digest`].
    ///
    /// # Errors
    /// As there. A file that was withdrawn meanwhile still has it, one that was shredded or found
    /// damaged has not.
    pub async fn digest(&self, algorithm: Algorithm) -> Result<Digest, Refusal> {
        self.state.grant.check()?;
        let asked = match &self.state.body {
            Body::Text(text) => Digested::Text(text.clone()),
            Body::Version(reading) => {
                let mut conn = self.state.access.repo.records.read().await.map_err(Error::from)?;
                let row = versions::by_id(&mut conn, reading.version).await.map_err(Error::from)?;
                let row = row.filter(|row| row.file_key.is_some()).ok_or(Refusal::NoSuchFile)?;
                Digested::Version(reading.share, reading.ticket.clone(), Box::new(row))
            }
        };
        Ok(self.state.access.digests.for_door(asked, algorithm, Patience::from_now()).await?)
    }

    /// Appends up to `length` bytes from `offset` on to `into`, and says how many; 0 at the end and
    /// behind it.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if what is stored is not what was sealed: nothing is appended then.
    /// [`Refusal::NotAssigned`].
    pub async fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<usize, Refusal> {
        self.state.grant.check()?;
        let left = self.state.attributes.size.saturating_sub(offset);
        let length = left.min(length as u64);
        if length == 0 {
            return Ok(0);
        }
        if let Body::Text(text) = &self.state.body {
            let rest = text.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX));
            let before = into.len();
            into.extend(rest.take(usize::try_from(length).unwrap_or(usize::MAX)));
            return Ok(into.len() - before);
        }
        let Body::Version(reading) = &self.state.body else { return Ok(0) };
        let before = into.len();
        let plan = reading.reader.plan(offset, length);
        if let Some(ahead) = reading.reader.ahead() {
            let state = Arc::clone(&self.state);
            self.state.access.repo.worker_runtime.spawn(async move {
                if let Body::Version(reading) = &state.body {
                    reading.reader.open_ahead(ahead).await;
                }
            });
        }
        if plan.try_copy(into) {
            reading.has_read(offset, into.len() - before);
            return Ok(into.len() - before);
        }
        let state = Arc::clone(&self.state);
        let mut buffer = std::mem::take(into);
        let is_little = reading.reader.at_hand().is_some_and(|bytes| bytes <= OPENED_HERE);
        let work = async move {
            let Body::Version(reading) = &state.body else { return (buffer, Ok(())) };
            let outcome = reading.reader.read(plan, offset, length, &mut buffer).await;
            match &outcome {
                Ok(()) => reading.has_read(offset, buffer.len() - before),
                Err(error) => {
                    buffer.truncate(before);
                    report_damage(&state.access.repo, error, reading.version, &reading.ticket).await;
                }
            }
            (buffer, outcome)
        };
        let (buffer, outcome) = if is_little {
            // In a box, because every READ would have the room that it needs otherwise.
            Box::pin(work).await
        } else {
            let work = self.state.access.repo.worker_runtime.spawn(work);
            work.await.map_err(|_| Refusal::Storage)?
        };
        *into = buffer;
        outcome?;
        Ok(into.len() - before)
    }
}
