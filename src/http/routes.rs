//! Which request is whose, and what all of them pass: who sends it, whether it is for this server,
//! and what every answer bears.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::body::Arriving;
use super::peer::{Connection, Peer, forwarded_for, is_for_here};
use super::problem::{Problem, Trouble};
use super::{DoorContext, answer, artifacts, fields, files, listener, login, uploads};
use crate::access::{Login, ShareSession};
use crate::admission::Stage;
use crate::model::{FileName, Language, Refusal};

/// What lies at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Health,
    Ready,
    Files,
    Uploads,
    Artifacts,
    Content,
    Receipt,
    Nothing,
}

/// A request, with all that is known of it.
pub(super) struct Asked {
    pub(super) context: Arc<DoorContext>,
    pub(super) peer: Peer,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) query: Option<String>,
    /// The ticket, or the artifact, as it stands in the path.
    pub(super) ticket: String,
    /// Whether the receipt of an artifact is asked for, and not its content.
    pub(super) is_receipt: bool,
    /// What stands behind the resource in the path, percent-decoded.
    pub(super) rest: Vec<Vec<u8>>,
    /// Before the login what the request says, behind it the login's.
    pub(super) language: Language,
}

/// All addresses of the door.
pub(super) fn router(_context: &Arc<DoorContext>) -> Router {
    let to = |resource: Resource| any(move |request: Request| enter(request, resource));
    Router::new()
        .route("/healthz", to(Resource::Health))
        .route("/readyz", to(Resource::Ready))
        .route("/v1/tickets/{ticket}/files/", to(Resource::Files))
        .route("/v1/tickets/{ticket}/files/{*path}", to(Resource::Files))
        .route("/v1/tickets/{ticket}/artifacts", to(Resource::Artifacts))
        .route("/v1/artifacts/{id}/content", to(Resource::Content))
        .route("/v1/artifacts/{id}/receipt", to(Resource::Receipt))
        .route("/v1/tickets/{ticket}/uploads", to(Resource::Uploads))
        .route("/v1/tickets/{ticket}/uploads/{upload}", to(Resource::Uploads))
        .fallback(move |request: Request| enter(request, Resource::Nothing))
}

/// Every request passes here.
async fn enter(request: Request, resource: Resource) -> Response {
    let (parts, body) = request.into_parts();
    let language = fields::language(&parts.headers);
    let (Some(context), Some(connection)) =
        (parts.extensions.get::<Arc<DoorContext>>().cloned(), parts.extensions.get::<Arc<Connection>>().cloned())
    else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let is_encrypted = context.is_encrypted;
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    if !is_for_here(authority, &parts.headers, context.host.as_deref()) {
        return answer::finish(Problem::of(Trouble::OtherHost, language).into_response(), is_encrypted);
    }
    let Some(peer) = peer_of(&context, connection, &parts.headers) else {
        let busy = Problem::of(Trouble::Busy, language).with(header::RETRY_AFTER, 5);
        return answer::finish(busy.into_response(), is_encrypted);
    };
    peer.admission.reached(Stage::Asking);
    let mut segments = parts.uri.path().split('/').skip(3);
    let decoded = |segment: &str| percent_encoding::percent_decode_str(segment).collect::<Vec<u8>>();
    let ticket = segments.next().map(decoded).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let rest = segments.skip(1).map(decoded).collect();
    let body = Arriving::new(Body::new(body), context.limits.slowest);
    let asked = Asked {
        context,
        peer,
        method: parts.method,
        headers: parts.headers,
        query: parts.uri.query().map(str::to_owned),
        ticket,
        is_receipt: resource == Resource::Receipt,
        rest,
        language,
    };
    let response = match resource {
        Resource::Health => health(&asked),
        Resource::Ready => ready(&asked).await,
        Resource::Files => files::serve(asked, body).await,
        Resource::Uploads => uploads::serve(asked, body).await,
        Resource::Artifacts => artifacts::list(asked).await.unwrap_or_else(Problem::into_response),
        Resource::Content | Resource::Receipt => artifacts::one(asked).await.unwrap_or_else(Problem::into_response),
        Resource::Nothing => Problem::of(Trouble::NoSuchPage, language).into_response(),
    };
    answer::finish(response, is_encrypted)
}

/// Who sends a request. Behind a proxy each request is admitted for itself; none if its client has
/// too many.
fn peer_of(context: &DoorContext, connection: Arc<Connection>, headers: &HeaderMap) -> Option<Peer> {
    if let Some(admission) = &connection.admission {
        return Some(Peer { address: connection.address, admission: Arc::clone(admission), connection });
    }
    let address = forwarded_for(headers, &context.proxies).unwrap_or(connection.address);
    let admission = listener::admit(context, address)?;
    Some(Peer { address, admission, connection })
}

/// Whether the process lives.
fn health(asked: &Asked) -> Response {
    match asked.method {
        Method::GET | Method::HEAD => "ok\n".into_response(),
        _ => asked.wrong_method("GET, HEAD").into_response(),
    }
}

/// Whether it can do its work.
async fn ready(asked: &Asked) -> Response {
    match asked.method {
        Method::GET | Method::HEAD => match asked.context.access.ready().await {
            Ok(()) => "ok\n".into_response(),
            Err(refusal) => Problem::refused(refusal, asked.language).into_response(),
        },
        _ => asked.wrong_method("GET, HEAD").into_response(),
    }
}

impl Asked {
    /// Logs in, and gives the session of this one request.
    pub(super) async fn session(&mut self) -> Result<ShareSession, Problem> {
        let login: Login = login::login(&self.context, &self.peer, &self.headers, &self.ticket, self.language).await?;
        self.language = login.language();
        Ok(self.context.access.session(&login))
    }

    /// The names in the path behind the resource.
    pub(super) fn names(&self) -> Result<Vec<FileName>, Problem> {
        let given = self.rest.iter().filter(|name| !name.is_empty()).map(|name| FileName::given(name));
        given.collect::<Result<_, _>>().map_err(|_| self.refused(Refusal::BadName))
    }

    /// Whether the path ends with a slash.
    pub(super) fn is_directory(&self) -> bool {
        self.rest.last().is_none_or(Vec::is_empty)
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Problem {
        Problem::refused(refusal, self.language)
    }

    pub(super) fn trouble(&self, trouble: Trouble) -> Problem {
        Problem::of(trouble, self.language)
    }

    pub(super) fn bad_field(&self) -> Problem {
        self.trouble(Trouble::BadField)
    }

    pub(super) fn wrong_method(&self, allowed: &str) -> Problem {
        self.trouble(Trouble::WrongMethod).with(header::ALLOW, allowed)
    }
}
