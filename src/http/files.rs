//! The files of a ticket by their paths: `PUT` sends one, `GET` and `HEAD` fetch one or list a
//! directory.

use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{self, CONTENT_DIGEST, REPR_DIGEST};
use super::body::{Arriving, Cut};
use super::fields::{self, Part};
use super::problem::{Problem, Trouble};
use super::routes::Asked;
use super::{DoorContext, download};
use crate::access::{PlaceKind, ShareSession, Upload, WriteMode};
use crate::model::{Algorithm, FileName, Refusal, SharePath};

/// Entries of a page, if the asker does not say, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// Counts an upload while its request is under way.
pub(super) struct Uploading<'a>(&'a DoorContext);

impl<'a> Uploading<'a> {
    pub(super) fn begin(context: &'a DoorContext) -> Self {
        context.uploading.fetch_add(1, Relaxed);
        Self(context)
    }
}

impl Drop for Uploading<'_> {
    fn drop(&mut self) {
        self.0.uploading.fetch_sub(1, Relaxed);
    }
}

/// Answers a request about a file or a directory.
pub(super) async fn serve(mut asked: Asked, mut body: Arriving) -> Response {
    let outcome = match asked.method {
        Method::PUT => put(&mut asked, &mut body).await,
        Method::GET | Method::HEAD => get(&mut asked).await,
        _ => Err(asked.wrong_method("GET, HEAD, PUT")),
    };
    conclude(&asked, body, outcome)
}

/// The answer; what its request still brings is read for a while if nobody wants it.
pub(super) fn conclude(asked: &Asked, body: Arriving, outcome: Result<Response, Problem>) -> Response {
    outcome.unwrap_or_else(|problem| {
        // Who waits for leave to send, has sent nothing.
        if problem.is_client_fault() && !asked.headers.contains_key(header::EXPECT) {
            body.drain();
        }
        problem.into_response()
    })
}

async fn put(asked: &mut Asked, body: &mut Arriving) -> Result<Response, Problem> {
    if asked.headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110, section 14.5: a part must not be taken for the whole.
        return Err(asked.bad_field());
    }
    let expected = expected_digest(asked)?;
    let length = fields::number(&asked.headers, header::CONTENT_LENGTH).map_err(|_| asked.bad_field())?;
    let is_new_only = fields::text(&asked.headers, header::IF_NONE_MATCH).map_err(|_| asked.bad_field())? == Some("*");
    let names = asked.names()?;
    if asked.is_directory() {
        return Err(asked.refused(Refusal::IsDirectory));
    }
    let session = asked.session().await?;
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    let path = session.path_in(&asked.ticket, names).map_err(refused)?;
    check_room(&session, &asked.ticket, length).await.map_err(refused)?;
    session.make_way(&path).await.map_err(refused)?;
    let mode = WriteMode { create: true, truncate: true, exclusive: is_new_only, ..WriteMode::default() };
    let _uploading = Uploading::begin(&asked.context);
    let mut upload = session.open_write(&path, mode).await.map_err(|refusal| match refusal {
        Refusal::AlreadyExists if is_new_only => Problem::of(Trouble::Exists, session.language()),
        other => refused(other),
    })?;
    receive(body, &mut upload, 0, length, |_| {}).await.map_err(|why| why.problem(asked))?;
    let (length, sha256) = upload.front().await.map_err(refused)?;
    if expected.is_some_and(|expected| expected != sha256) {
        give_up(&session, &asked.ticket, upload).await;
        return Err(Problem::of(Trouble::DigestMismatch, session.language()));
    }
    let id = upload.artifact().to_string();
    upload.close().await.map_err(refused)?;
    Ok(created(asked, &path_in_share(&session, &path), &id, length, &sha256))
}

/// The digest that the sender says the whole has.
fn expected_digest(asked: &Asked) -> Result<Option<[u8; 32]>, Problem> {
    let of = |name| fields::sha256(&asked.headers, name).map_err(|_| asked.bad_field());
    match (of(&REPR_DIGEST)?, of(&CONTENT_DIGEST)?) {
        (Some(one), Some(other)) if one != other => Err(asked.bad_field()),
        (one, other) => Ok(one.or(other)),
    }
}

/// Removes what arrived of an upload, of which its sender says that it is wrong.
async fn give_up(session: &ShareSession, ticket: &str, mut upload: Upload) {
    let version = upload.version();
    let is_written = upload.sync().await.is_ok();
    drop(upload);
    if is_written && let Err(refusal) = session.end_upload(ticket, version).await {
        tracing::warn!(%version, %refusal, "what arrived wrongly stays as an unfinished upload");
    }
}

/// Whether a share takes so many bytes more.
///
/// # Errors
/// [`Refusal::FileTooLarge`], or [`Refusal::QuotaExceeded`].
pub(super) async fn check_room(session: &ShareSession, ticket: &str, length: Option<u64>) -> Result<(), Refusal> {
    let Some(length) = length else { return Ok(()) };
    session.check_length(length)?;
    let root = session.path_in(ticket, Vec::new())?;
    if session.space(&root).await?.free < length {
        return Err(Refusal::QuotaExceeded);
    }
    Ok(())
}

/// Why an upload was not received to its end.
pub(super) enum Interrupted {
    /// Its sender stopped.
    Cut(Cut),
    /// It brought more than it said.
    TooLong,
    /// The share took no more.
    Refused(Refusal),
}

impl Interrupted {
    pub(super) fn problem(self, asked: &Asked) -> Problem {
        match self {
            Self::Cut(Cut::Gone) => asked.bad_field(),
            Self::Cut(Cut::Slow) => asked.trouble(Trouble::TooSlow),
            Self::TooLong => asked.trouble(Trouble::LengthMismatch),
            Self::Refused(refusal) => asked.refused(refusal),
        }
    }
}

/// Writes what a body brings, from `offset` on; not more than `most` bytes in all, if that is known.
pub(super) async fn receive(
    body: &mut Arriving,
    upload: &mut Upload,
    mut offset: u64,
    most: Option<u64>,
    mut seen: impl FnMut(&[u8]),
) -> Result<u64, Interrupted> {
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(Interrupted::Cut)?;
        let end = offset + piece.len() as u64;
        if most.is_some_and(|most| end > most) {
            return Err(Interrupted::TooLong);
        }
        seen(&piece);
        upload.begin_write(offset, piece.len() as u64).await.map_err(Interrupted::Refused)?;
        upload.write(&piece).await.map_err(Interrupted::Refused)?;
        offset = end;
    }
    Ok(offset)
}

/// A path without the ticket that an engineer's or a contact's begins with.
pub(super) fn path_in_share(session: &ShareSession, path: &SharePath) -> SharePath {
    let skipped = usize::from(session.sees_tickets());
    SharePath::from_names(path.names().iter().skip(skipped).cloned().collect())
}

/// The address of a file in this door.
pub(super) fn address(ticket: &str, path: &SharePath) -> String {
    let ticket = FileName::given(ticket.as_bytes()).map(|name| name.url_encoded()).unwrap_or_default();
    format!("/v1/tickets/{ticket}/files/{}", path.url_encoded())
}

/// The strong validator of a version: it never changes.
fn etag(sha256: &[u8; 32]) -> String {
    format!("\"sha256-{}\"", hex::encode(sha256))
}

/// The answer to who has sent a file.
pub(super) fn created(asked: &Asked, path: &SharePath, id: &str, length: u64, sha256: &[u8; 32]) -> Response {
    let location = address(&asked.ticket, path);
    let name = path.names().last().map(shown).unwrap_or_default();
    let body = json!({
        "id": id,
        "name": name,
        "bytes": length,
        "sha256": hex::encode(sha256),
        "location": location,
    });
    let response = answer::json(StatusCode::CREATED, &body);
    let response = answer::with(response, REPR_DIGEST, fields::repr_digest(sha256));
    let response = answer::with(response, header::ETAG, etag(sha256));
    answer::with(response, header::LOCATION, location)
}

/// A name as text: what is not UTF-8 is replaced, and the address beside it has the bytes.
fn shown(name: &FileName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

async fn get(asked: &mut Asked) -> Result<Response, Problem> {
    let mut names = asked.names()?;
    let wants_receipt = match fields::argument(asked.query.as_deref(), "receipt") {
        Some(_) if names.is_empty() => return Err(asked.refused(Refusal::NoSuchFile)),
        wants => wants.is_some(),
    };
    let session = asked.session().await?;
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    if wants_receipt {
        names = receipt_of(names).map_err(refused)?;
    }
    let path = session.path_in(&asked.ticket, names).map_err(refused)?;
    if asked.is_directory() && !wants_receipt {
        return list(asked, &session, &path).await;
    }
    content(asked, &session, &path).await
}

/// The content of a file, or what is said of it.
pub(super) async fn content(asked: &Asked, session: &ShareSession, path: &SharePath) -> Result<Response, Problem> {
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    let there = session.attributes(path).await.map_err(refused)?;
    if there.kind == PlaceKind::Directory {
        return Err(refused(Refusal::IsDirectory));
    }
    // Who only asks opens nothing: the trail would call it a reader.
    let download = match asked.method {
        Method::HEAD => None,
        _ => Some(session.open_read(path).await.map_err(refused)?),
    };
    let digest = match &download {
        Some(download) => download.digest(Algorithm::Sha256).await,
        None => session.digest(path, Algorithm::Sha256).await,
    };
    let digest = digest.map_err(refused)?;
    let size = digest.size;
    let sha256: [u8; 32] = digest.bytes.try_into().map_err(|_| refused(Refusal::Storage))?;
    let etag = etag(&sha256);
    if fields::is_known(&asked.headers, &etag) {
        return Ok(answer::with(answer::empty(StatusCode::NOT_MODIFIED), header::ETAG, etag));
    }
    let (status, offset, length) = match fields::part(&asked.headers, size, &etag) {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::Some { offset, length } => (StatusCode::PARTIAL_CONTENT, offset, length),
        Part::Nothing => {
            let problem = asked.trouble(Trouble::WrongRange);
            return Err(problem.with(header::CONTENT_RANGE, format!("bytes */{size}")));
        }
    };
    let body = download.map_or_else(Body::empty, |download| download::body(download, offset, length));
    let mut response = (status, body).into_response();
    if let Some(name) = path.names().last() {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, fields::disposition(name));
    }
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag),
        (REPR_DIGEST, fields::repr_digest(&sha256)),
    ] {
        response = answer::with(response, name, value);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {offset}-{}/{size}", offset + length - 1);
        response = answer::with(response, header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// The receipt of a file lies beside it, where SFTP finds it as well.
pub(super) fn receipt_of(mut names: Vec<FileName>) -> Result<Vec<FileName>, Refusal> {
    let Some(last) = names.pop() else { return Err(Refusal::NoSuchFile) };
    let receipt = [last.as_bytes(), b".receipt"].concat();
    names.push(FileName::given(&receipt).map_err(|_| Refusal::PathTooLong)?);
    names.insert(0, FileName::given(b".receipts").map_err(|_| Refusal::BadName)?);
    Ok(names)
}

/// How many entries a page may have.
pub(super) fn page_length(asked: &Asked) -> Result<usize, Problem> {
    match fields::argument(asked.query.as_deref(), "limit") {
        None => Ok(PAGE),
        Some(text) => match text.parse::<usize>() {
            Ok(most @ 1..=LONGEST_PAGE) => Ok(most),
            _ => Err(asked.bad_field()),
        },
    }
}

/// A page of a directory, by key: what was added or removed meanwhile shifts nothing.
async fn list(asked: &Asked, session: &ShareSession, path: &SharePath) -> Result<Response, Problem> {
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    let query = asked.query.as_deref();
    let most = page_length(asked)?;
    let mut listing = session.list(path).await.map_err(refused)?;
    if let Some(after) = fields::argument(query, "after") {
        let mut id = [0; 16];
        hex::decode_to_slice(&after, &mut id).map_err(|_| asked.bad_field())?;
        listing.go_on_behind(id);
    }
    let entries = listing.next(most).await.map_err(refused)?;
    let next = listing.position().filter(|_| !entries.is_empty()).map(hex::encode);
    let in_share = path_in_share(session, path);
    let items: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut location = address(&asked.ticket, &in_share.join(entry.name.clone()));
            let is_directory = entry.attributes.kind == PlaceKind::Directory;
            if is_directory {
                location.push('/');
            }
            json!({
                "name": shown(&entry.name),
                "kind": if is_directory { "directory" } else { "file" },
                "bytes": entry.attributes.size,
                "modified": entry.attributes.modified,
                "state": entry.unfinished.map_or("available", |unfinished| unfinished.as_str()),
                "location": location,
            })
        })
        .collect();
    let mut response = answer::json(StatusCode::OK, &json!({ "items": items, "next": next }));
    if let Some(next) = next {
        let link = format!(
            "<{}/?limit={most}&after={next}>; rel=\"next\"",
            address(&asked.ticket, &in_share).trim_end_matches('/')
        );
        response = answer::with(response, header::LINK, link);
    }
    Ok(response)
}
