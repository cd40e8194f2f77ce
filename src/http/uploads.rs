//! Uploads that tus 1.0.0 begins and continues. An upload is the unfinished version that it becomes:
//! SFTP continues it under its name, and what SFTP began is continued here.
//!
//! What is said of an upload is what is durable, to the byte. Whoever asks where it stands means to
//! go on with it: the request that sends it now is ended by that. One that stands at its end is
//! available, or is made so before anybody hears that it stands there.

use std::collections::VecDeque;

use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::answer::{self, CONTENT_DIGEST, REPR_DIGEST};
use super::body::Arriving;
use super::fields::{self, Checksum};
use super::files::{self, Uploading};
use super::problem::{Problem, Trouble};
use super::routes::Asked;
use crate::access::{Changes, Known, ShareSession, Upload, WriteMode};
use crate::model::{Locked, Refusal, SharePath, Time, VersionId};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination";
const ALGORITHMS: &str = "sha1,sha256";
const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const PART: &str = "application/offset+octet-stream";
/// Lengths that were told behind an upload's beginning, and are remembered. More: the oldest is
/// forgotten, and its client says it again.
const MOST_LENGTHS: usize = 4096;

/// The lengths of uploads whose clients told them late. The others' stand in their addresses.
#[derive(Default)]
pub(super) struct Lengths(Locked<VecDeque<(VersionId, u64)>>);

impl Lengths {
    fn of(&self, id: VersionId) -> Option<u64> {
        self.0.lock().iter().rev().find(|(known, _)| *known == id).map(|(_, length)| *length)
    }

    fn set(&self, id: VersionId, length: u64) {
        let mut lengths = self.0.lock();
        lengths.push_back((id, length));
        if lengths.len() > MOST_LENGTHS {
            lengths.pop_front();
        }
    }
}

/// The address of an upload: its version, and its length if that was told when it began. The length
/// is its client's own word, and binds nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    version: VersionId,
    length: Option<u64>,
}

impl Address {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (id, length) = match text.split_once('.') {
            Some((id, length)) if length.bytes().all(|byte| byte.is_ascii_digit()) => (id, Some(length.parse().ok()?)),
            Some(_) => return None,
            None => (text, None),
        };
        Some(Self { version: id.parse().ok()?, length })
    }

    fn path(self, ticket: &str) -> String {
        let files = files::address(ticket, &SharePath::ROOT);
        let base = files.strip_suffix("files/").unwrap_or_default();
        match self.length {
            Some(length) => format!("{base}uploads/{}.{length}", self.version),
            None => format!("{base}uploads/{}", self.version),
        }
    }
}

/// Answers a request about the uploads of a ticket, or about one of them.
pub(super) async fn serve(mut asked: Asked, mut body: Arriving) -> Response {
    // Where only GET and POST pass, the method stands here (tus 1.0.0).
    if let Ok(Some(method)) = fields::text(&asked.headers, "x-http-method-override")
        && asked.method == Method::POST
        && let Some(method) =
            [Method::PATCH, Method::DELETE, Method::HEAD].into_iter().find(|one| one.as_str() == method)
    {
        asked.method = method;
    }
    let outcome = answer(&mut asked, &mut body).await;
    answer::with(files::conclude(&asked, body, outcome), TUS_RESUMABLE, VERSION)
}

async fn answer(asked: &mut Asked, body: &mut Arriving) -> Result<Response, Problem> {
    let is_one = asked.rest.iter().any(|name| !name.is_empty());
    if asked.method == Method::OPTIONS {
        return Ok(options(asked));
    }
    if asked.method == Method::GET && !is_one {
        return list(asked).await;
    }
    let spoken = fields::text(&asked.headers, TUS_RESUMABLE).map_err(|_| asked.bad_field())?;
    if spoken != Some(VERSION) {
        let version = HeaderName::from_static("tus-version");
        return Err(asked.trouble(Trouble::OtherTus).with(version, VERSION));
    }
    if !is_one {
        return match asked.method {
            Method::POST => create(asked, body).await,
            _ => Err(asked.wrong_method("GET, OPTIONS, POST")),
        };
    }
    let address = asked.rest.first().and_then(|text| Address::parse(text));
    let Some(address) = address.filter(|_| asked.rest.len() == 1) else {
        return Err(asked.trouble(Trouble::UploadGone));
    };
    match asked.method {
        Method::HEAD => stands(asked, address).await,
        Method::PATCH => append(asked, body, address).await,
        Method::DELETE => end(asked, address).await,
        _ => Err(asked.wrong_method("DELETE, HEAD, OPTIONS, PATCH")),
    }
}

fn options(asked: &Asked) -> Response {
    let response = answer::empty(StatusCode::NO_CONTENT);
    let response = answer::with(response, HeaderName::from_static("tus-version"), VERSION);
    let response = answer::with(response, HeaderName::from_static("tus-extension"), EXTENSIONS);
    let response = answer::with(response, HeaderName::from_static("tus-max-size"), asked.context.access.longest_file());
    answer::with(response, HeaderName::from_static("tus-checksum-algorithm"), ALGORITHMS)
}

/// The unfinished uploads of a ticket.
async fn list(asked: &mut Asked) -> Result<Response, Problem> {
    let session = asked.session().await?;
    let uploads = session.unfinished_uploads(&asked.ticket).await.map_err(|refusal| asked.refused(refusal))?;
    let items: Vec<Value> = uploads
        .iter()
        .map(|upload| {
            let name = upload.path.names().last().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
            json!({
                "upload": Address { version: upload.version, length: None }.path(&asked.ticket),
                "location": files::address(&asked.ticket, &upload.path),
                "name": name,
                "bytes": upload.bytes,
                "uploaded_by": upload.uploaded_by,
                "expires": upload.expires,
            })
        })
        .collect();
    Ok(answer::json(StatusCode::OK, &json!({ "items": items })))
}

/// POST: begins an upload, with its first bytes if it brings some.
async fn create(asked: &mut Asked, body: &mut Arriving) -> Result<Response, Problem> {
    let bad = |_| asked.bad_field();
    let length = fields::number(&asked.headers, UPLOAD_LENGTH).map_err(bad)?;
    let deferred = fields::text(&asked.headers, UPLOAD_DEFER_LENGTH).map_err(bad)?;
    match (length, deferred) {
        (Some(_), None) | (None, Some("1")) => {}
        _ => return Err(asked.bad_field()),
    }
    let names = fields::names_in_metadata(&asked.headers).map_err(bad)?;
    let part = Part::of(asked, 0)?;
    let session = asked.session().await?;
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    let path = session.path_in(&asked.ticket, names).map_err(refused)?;
    files::check_room(&session, &asked.ticket, length).await.map_err(refused)?;
    session.make_way(&path).await.map_err(refused)?;
    let uploading = asked.context.clone();
    let _uploading = Uploading::begin(&uploading);
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let mut upload = session.open_write(&path, mode).await.map_err(refused)?;
    let address = Address { version: upload.version(), length };
    // Its rows first: whoever hears of it, or is cut from now on, can go on with it.
    upload.sync().await.map_err(refused)?;
    let stood = match part.is_some() || length == Some(0) {
        true => take((asked, body), &session, address, upload, part.unwrap_or_default(), length).await?,
        false => Stood { offset: 0, sha256: None, path: None },
    };
    let response = answer::empty(StatusCode::CREATED);
    let response = answer::with(response, header::LOCATION, address.path(&asked.ticket));
    let response = answer::with(response, UPLOAD_OFFSET, stood.offset);
    stood.finish(asked, &session, address, response).await
}

/// HEAD: where an upload stands.
async fn stands(asked: &mut Asked, address: Address) -> Result<Response, Problem> {
    let session = asked.session().await?;
    let length = address.length.or_else(|| asked.context.lengths.of(address.version));
    // Another request may have begun to send it meanwhile: then it stands elsewhere.
    const ROUNDS: usize = 16;
    for _ in 0..ROUNDS {
        let outcome = match open(asked, &session, address).await? {
            Open::Finished { length, sha256, .. } => {
                let response = answer::with(answer::empty(StatusCode::OK), UPLOAD_OFFSET, length);
                let response = answer::with(response, UPLOAD_LENGTH, length);
                return Ok(answer::with(response, REPR_DIGEST, fields::repr_digest(&sha256)));
            }
            Open::Unfinished { upload, expires } => {
                looked_at(upload, length).await.map(|(front, sha256)| (front, sha256, expires))
            }
        };
        match outcome {
            Ok((front, sha256, expires)) => return Ok(says(length, front, &sha256, expires)),
            Err(Refusal::Fenced) => {}
            Err(refusal) => return Err(gone(asked, refusal)),
        }
    }
    Err(asked.refused(Refusal::StillReceiving))
}

/// Where an upload stands. One that stands at its end and is not available is one whose server went
/// down between the two: it is made so.
async fn looked_at(mut upload: Upload, length: Option<u64>) -> Result<(u64, [u8; 32]), Refusal> {
    let (front, sha256) = upload.front().await?;
    if length == Some(front) {
        upload.close_at(front).await?;
    }
    Ok((front, sha256))
}

/// The answer to who asks where an unfinished upload stands.
fn says(length: Option<u64>, front: u64, sha256: &[u8; 32], expires: Time) -> Response {
    let response = answer::with(answer::empty(StatusCode::OK), UPLOAD_OFFSET, front);
    let response = match length {
        Some(length) => answer::with(response, UPLOAD_LENGTH, length),
        None => answer::with(response, UPLOAD_DEFER_LENGTH, 1),
    };
    let response = answer::with(response, UPLOAD_EXPIRES, http_date(expires));
    answer::with(response, REPR_DIGEST, fields::repr_digest(sha256))
}

/// PATCH: the next bytes.
async fn append(asked: &mut Asked, body: &mut Arriving, address: Address) -> Result<Response, Problem> {
    let bad = |_| asked.bad_field();
    let offset = fields::number(&asked.headers, UPLOAD_OFFSET).map_err(bad)?.ok_or_else(|| asked.bad_field())?;
    let told = fields::number(&asked.headers, UPLOAD_LENGTH).map_err(bad)?;
    let Some(part) = Part::of(asked, offset)? else { return Err(asked.trouble(Trouble::WrongType)) };
    let session = asked.session().await?;
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    let known = address.length.or_else(|| asked.context.lengths.of(address.version));
    if let (Some(known), Some(told)) = (known, told)
        && known != told
    {
        return Err(asked.trouble(Trouble::LengthMismatch));
    }
    let length = known.or(told);
    let context = asked.context.clone();
    let _uploading = Uploading::begin(&context);
    let mut upload = match open(asked, &session, address).await? {
        Open::Finished { length, sha256, path } => {
            // Its last answer was lost: it is given again, and nothing is done twice.
            if offset != length || part.length.is_some_and(|length| length > 0) {
                return Err(asked.trouble(Trouble::OffsetMismatch).with(UPLOAD_OFFSET, length));
            }
            let response = answer::with(answer::empty(StatusCode::NO_CONTENT), UPLOAD_OFFSET, length);
            let stood = Stood { offset: length, sha256: Some(sha256), path: Some(path) };
            return stood.finish(asked, &session, address, response).await;
        }
        Open::Unfinished { upload, .. } => upload,
    };
    let (front, _) = upload.front().await.map_err(refused)?;
    if offset != front {
        return Err(asked.trouble(Trouble::OffsetMismatch).with(UPLOAD_OFFSET, front));
    }
    if let Some(length) = length {
        if length < front {
            return Err(asked.trouble(Trouble::LengthMismatch));
        }
        if known.is_none() {
            files::check_room(&session, &asked.ticket, Some(length - front)).await.map_err(refused)?;
            session.check_length(length).map_err(refused)?;
            context.lengths.set(address.version, length);
        }
    }
    let stood = take((asked, body), &session, address, upload, part, length).await?;
    let response = answer::with(answer::empty(StatusCode::NO_CONTENT), UPLOAD_OFFSET, stood.offset);
    stood.finish(asked, &session, address, response).await
}

/// DELETE: the upload is ended, and what came of it destroyed.
async fn end(asked: &mut Asked, address: Address) -> Result<Response, Problem> {
    let session = asked.session().await?;
    session.end_upload(&asked.ticket, address.version).await.map_err(|refusal| gone(asked, refusal))?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// An upload that somebody goes on with.
enum Open {
    Unfinished { upload: Upload, expires: Time },
    Finished { length: u64, sha256: [u8; 32], path: SharePath },
}

/// That there is no such upload is another sentence than that there is no such file.
fn gone(asked: &Asked, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoSuchFile | Refusal::Shredded => asked.trouble(Trouble::UploadGone),
        other => asked.refused(other),
    }
}

/// Opens an upload to go on with it. A request that sends it now is ended by that.
async fn open(asked: &Asked, session: &ShareSession, address: Address) -> Result<Open, Problem> {
    // It may be finished, or moved, between the two looks, and others may go on with it as well.
    const ROUNDS: usize = 16;
    let mut is_contested = false;
    for _ in 0..ROUNDS {
        let known = session.known_upload(&asked.ticket, address.version).await;
        let (path, expires) = match known.map_err(|refusal| gone(asked, refusal))? {
            Known::Finished { path, length, sha256 } => {
                // What the address says is what its client believes to have sent.
                return match address.length {
                    Some(believed) if believed != length => Err(asked.trouble(Trouble::UploadGone)),
                    _ => Ok(Open::Finished { length, sha256, path }),
                };
            }
            Known::Unfinished { path, expires } => (path, expires),
        };
        let upload = match session.open_write(&path, WriteMode::default()).await {
            Ok(upload) => upload,
            // It was ended, or moved, just now: the next look tells.
            Err(Refusal::NoSuchFile) => continue,
            Err(Refusal::Fenced) => {
                is_contested = true;
                continue;
            }
            Err(refusal) => return Err(asked.refused(refusal)),
        };
        if upload.version() == address.version {
            return Ok(Open::Unfinished { upload, expires });
        }
    }
    Err(if is_contested { asked.refused(Refusal::StillReceiving) } else { asked.trouble(Trouble::UploadGone) })
}

/// What one request brings of an upload.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    offset: u64,
    /// Its length, if the request says it.
    length: Option<u64>,
    checksum: Option<Checksum>,
    /// What the whole will be when this was the last part.
    whole: Option<[u8; 32]>,
}

impl Part {
    /// None if the request brings none.
    fn of(asked: &Asked, offset: u64) -> Result<Option<Self>, Problem> {
        let headers = &asked.headers;
        let content_type = fields::text(headers, header::CONTENT_TYPE).map_err(|_| asked.bad_field())?;
        if content_type != Some(PART) {
            return Ok(None);
        }
        let length = fields::number(headers, header::CONTENT_LENGTH).map_err(|_| asked.bad_field())?;
        let digest = |name: HeaderName| fields::sha256(headers, &name).map_err(|_| asked.bad_field());
        let checksum = match Checksum::of(headers).map_err(|_| asked.bad_field())? {
            Some(checksum) => Some(checksum),
            None => digest(CONTENT_DIGEST)?.map(Checksum::Sha256),
        };
        Ok(Some(Self { offset, length, checksum, whole: digest(REPR_DIGEST)? }))
    }
}

/// The checksum of what arrives, if one was stated.
enum Sum {
    None,
    Sha1(Sha1, [u8; 20]),
    Sha256(Sha256, [u8; 32]),
}

impl Sum {
    fn of(checksum: Option<Checksum>) -> Self {
        match checksum {
            None => Self::None,
            Some(Checksum::Sha1(stated)) => Self::Sha1(Sha1::new(), stated),
            Some(Checksum::Sha256(stated)) => Self::Sha256(Sha256::new(), stated),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Sha1(sum, _) => sum.update(bytes),
            Self::Sha256(sum, _) => sum.update(bytes),
        }
    }

    fn holds(self) -> bool {
        match self {
            Self::None => true,
            Self::Sha1(sum, stated) => sum.finalize()[..] == stated,
            Self::Sha256(sum, stated) => sum.finalize()[..] == stated,
        }
    }
}

/// Where an upload stands behind a request.
struct Stood {
    offset: u64,
    /// The digest of that, if it is known.
    sha256: Option<[u8; 32]>,
    /// Where the file lies, if it is available by now.
    path: Option<SharePath>,
}

impl Stood {
    /// The rest of the answer.
    async fn finish(
        self,
        asked: &Asked,
        session: &ShareSession,
        address: Address,
        response: Response,
    ) -> Result<Response, Problem> {
        let response = match &self.sha256 {
            Some(sha256) => answer::with(response, REPR_DIGEST, fields::repr_digest(sha256)),
            None => response,
        };
        if let Some(path) = &self.path {
            let location = files::address(&asked.ticket, &files::path_in_share(session, path));
            return Ok(answer::with(response, header::CONTENT_LOCATION, location));
        }
        Ok(match session.known_upload(&asked.ticket, address.version).await {
            Ok(Known::Unfinished { expires, .. }) => answer::with(response, UPLOAD_EXPIRES, http_date(expires)),
            _ => response,
        })
    }
}

/// Takes what a request brings. When this returns it is durable to its last byte, and available if
/// that was the upload's last.
async fn take(
    (asked, body): (&Asked, &mut Arriving),
    session: &ShareSession,
    address: Address,
    mut upload: Upload,
    part: Part,
    length: Option<u64>,
) -> Result<Stood, Problem> {
    let refused = |refusal: Refusal| Problem::refused(refusal, session.language());
    if let (Some(length), Some(more)) = (length, part.length)
        && part.offset.saturating_add(more) > length
    {
        return Err(asked.trouble(Trouble::LengthMismatch));
    }
    let mut sum = Sum::of(part.checksum);
    let received = files::receive(body, &mut upload, part.offset, length, |bytes| sum.update(bytes)).await;
    // What came of a part that was cut is kept, and HEAD gives the digest of it.
    let end = received.map_err(|why| why.problem(asked))?;
    if !sum.holds() {
        take_back(&mut upload, part.offset).await.map_err(refused)?;
        return Err(asked.trouble(Trouble::ChecksumMismatch).with(UPLOAD_OFFSET, part.offset));
    }
    if length != Some(end) {
        upload.sync().await.map_err(refused)?;
        let (front, sha256) = upload.front().await.map_err(refused)?;
        return Ok(Stood { offset: front, sha256: Some(sha256), path: None });
    }
    let (front, sha256) = upload.front().await.map_err(refused)?;
    if part.whole.is_some_and(|whole| whole != sha256) {
        // Which of its parts is wrong nobody knows.
        drop(upload);
        session.end_upload(&asked.ticket, address.version).await.map_err(refused)?;
        return Err(asked.trouble(Trouble::DigestMismatch));
    }
    upload.close_at(front).await.map_err(refused)?;
    let path = match session.known_upload(&asked.ticket, address.version).await {
        Ok(Known::Finished { path, .. }) => Some(path),
        _ => None,
    };
    Ok(Stood { offset: front, sha256: Some(sha256), path })
}

/// Lets a part go that came whole, and not as it was sent.
async fn take_back(upload: &mut Upload, offset: u64) -> Result<(), Refusal> {
    upload.change(Changes { size: Some(offset), ..Changes::default() }).await?;
    upload.sync().await
}

/// A time as HTTP has it (RFC 9110, section 5.6.7).
fn http_date(time: Time) -> String {
    jiff::Timestamp::from_second(time.seconds())
        .map(|time| time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text_and_nothing_else_is_one() {
        let version = VersionId::from_bytes([0xa5; 16]);
        for length in [None, Some(0), Some(u64::MAX)] {
            let address = Address { version, length };
            let path = address.path("XT-1");
            let last = path.strip_prefix("/v1/tickets/XT-1/uploads/").unwrap();
            assert_eq!(Address::parse(last.as_bytes()), Some(address), "{path}");
        }
        for wrong in ["", "a5", "x.1", &format!("{version}."), &format!("{version}.-1"), &format!("{version}.1.2")] {
            assert_eq!(Address::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn lengths_are_bounded_and_the_last_word_counts() {
        let lengths = Lengths::default();
        let id = |n: u32| VersionId::from_bytes([&n.to_be_bytes()[..], &[0; 12]].concat().try_into().unwrap());
        for n in 0..10_000 {
            lengths.set(id(n), u64::from(n));
        }
        assert_eq!((lengths.of(id(0)), lengths.of(id(9_999))), (None, Some(9_999)));
        assert_eq!(lengths.0.lock().len(), MOST_LENGTHS);
        lengths.set(id(9_999), 1);
        assert_eq!(lengths.of(id(9_999)), Some(1));
    }

    #[test]
    fn a_time_is_said_as_http_has_it() {
        assert_eq!(http_date(Time::from_seconds(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
