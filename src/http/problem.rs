//! What is said when something is not done: problem details (RFC 9457) with the same words and
//! sentences as the other doors', and those that only HTTP can meet.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::model::refusal::Kind;
use crate::model::{Language, Refusal};

/// What only this door can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    NoLogin,
    LoginFailed,
    TooManyFailures,
    OtherHost,
    NoSuchPage,
    WrongMethod,
    OffsetMismatch,
    ChecksumMismatch,
    DigestMismatch,
    LengthMismatch,
    UploadGone,
    OtherTus,
    WrongType,
    BadField,
    WrongRange,
    TooSlow,
    Exists,
    Busy,
}

impl Trouble {
    #[cfg(test)]
    pub(super) const ALL: [Self; 18] = [
        Self::NoLogin,
        Self::LoginFailed,
        Self::TooManyFailures,
        Self::OtherHost,
        Self::NoSuchPage,
        Self::WrongMethod,
        Self::OffsetMismatch,
        Self::ChecksumMismatch,
        Self::DigestMismatch,
        Self::LengthMismatch,
        Self::UploadGone,
        Self::OtherTus,
        Self::WrongType,
        Self::BadField,
        Self::WrongRange,
        Self::TooSlow,
        Self::Exists,
        Self::Busy,
    ];

    /// The status, the machine's word, and the sentences.
    const fn facts(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::NoLogin => (
                401,
                "login-needed",
                "Log in with the ticket's reference and its token.",
                "Bitte mit der Referenz des Tickets und seinem Token anmelden.",
            ),
            Self::LoginFailed => (
                401,
                "login-failed",
                "The login failed. Ask support for the current access data.",
                "Die Anmeldung ist fehlgeschlagen. Bitte beim Support nach den aktuellen Zugangsdaten fragen.",
            ),
            Self::TooManyFailures => (
                429,
                "too-many-failures",
                "Too many logins from your address have failed. Try again later.",
                "Von Ihrer Adresse sind zu viele Anmeldungen fehlgeschlagen. Bitte später erneut versuchen.",
            ),
            Self::OtherHost => (
                421,
                "other-host",
                "This server is not known by the name that you asked for. Use the address that support has given you.",
                "Unter diesem Namen ist dieser Server nicht bekannt. Bitte die Adresse verwenden, die der Support genannt hat.",
            ),
            Self::NoSuchPage => {
                (404, "no-such-page", "There is nothing at this address.", "Unter dieser Adresse gibt es nichts.")
            }
            Self::WrongMethod => (
                405,
                "wrong-method",
                "This cannot be done with what lies at this address.",
                "Das ist mit dem, was unter dieser Adresse liegt, nicht möglich.",
            ),
            Self::OffsetMismatch => (
                409,
                "offset-mismatch",
                "The upload does not stand where this part begins. Ask where it stands with HEAD and go on there.",
                "Das Hochladen steht nicht dort, wo dieser Teil beginnt. Bitte mit HEAD fragen, wo es steht, und dort fortsetzen.",
            ),
            Self::ChecksumMismatch => (
                460,
                "checksum-mismatch",
                "What arrived of this part is not what was sent, so it was not kept. Send the part again.",
                "Was von diesem Teil ankam, ist nicht, was gesendet wurde; es wurde verworfen. Bitte den Teil erneut senden.",
            ),
            Self::DigestMismatch => (
                422,
                "digest-mismatch",
                "What arrived is not what was sent: the digests differ, so the file was not kept. Send it again.",
                "Was ankam, ist nicht, was gesendet wurde: die Prüfsummen sind verschieden. Die Datei wurde verworfen; bitte erneut senden.",
            ),
            Self::LengthMismatch => (
                400,
                "length-mismatch",
                "This part does not fit into the length that the upload was begun with. What arrived before stays.",
                "Dieser Teil passt nicht zu der Länge, mit der das Hochladen begonnen wurde. Was vorher ankam, bleibt.",
            ),
            Self::UploadGone => (
                404,
                "upload-gone",
                "There is no such upload, or no more. Begin it anew.",
                "Dieses Hochladen gibt es nicht oder nicht mehr. Bitte neu beginnen.",
            ),
            Self::OtherTus => (
                412,
                "other-tus-version",
                "Only tus 1.0.0 is spoken here; the request must say so in Tus-Resumable.",
                "Hier wird nur tus 1.0.0 gesprochen; die Anfrage muss das in Tus-Resumable sagen.",
            ),
            Self::WrongType => (
                415,
                "wrong-type",
                "A part of an upload is sent as application/offset+octet-stream.",
                "Ein Teil eines Hochladens wird als application/offset+octet-stream gesendet.",
            ),
            Self::BadField => (
                400,
                "bad-field",
                "A header field of the request is missing or malformed.",
                "Ein Kopffeld der Anfrage fehlt oder ist fehlerhaft.",
            ),
            Self::WrongRange => (
                416,
                "wrong-range",
                "The file is shorter than the part that was asked for begins.",
                "Die Datei ist kürzer, als der gewünschte Teil beginnt.",
            ),
            Self::TooSlow => (
                408,
                "too-slow",
                "Too little arrived for too long. What arrived is kept; go on with the rest.",
                "Zu lange kam zu wenig an. Was ankam, bleibt; bitte mit dem Rest fortsetzen.",
            ),
            Self::Exists => (
                412,
                "already-exists",
                "This name exists already. Choose another one.",
                "Diesen Namen gibt es schon. Bitte einen anderen wählen.",
            ),
            Self::Busy => (
                503,
                "too-many-connections",
                "Too many connections are open from your address. Try again in a moment.",
                "Von Ihrer Adresse sind zu viele Verbindungen offen. Bitte gleich erneut versuchen.",
            ),
        }
    }
}

/// An answer that says why something was not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    sentence: &'static str,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Of this door.
    pub(super) fn of(trouble: Trouble, language: Language) -> Self {
        let (status, code, english, german) = trouble.facts();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let sentence = if language == Language::De { german } else { english };
        let mut problem = Self { status, code, sentence, fields: Vec::new() };
        if matches!(trouble, Trouble::NoLogin | Trouble::LoginFailed) {
            let realm = HeaderValue::from_static("Basic realm=\"tacdrop\", charset=\"UTF-8\"");
            problem.fields.push((header::WWW_AUTHENTICATE, realm));
        }
        problem
    }

    /// Of the rooms below.
    pub(super) fn refused(refusal: Refusal, language: Language) -> Self {
        let mut problem = Self {
            status: status_of(refusal),
            code: refusal.as_str(),
            sentence: refusal.sentence(language),
            fields: Vec::new(),
        };
        if problem.status == StatusCode::SERVICE_UNAVAILABLE {
            problem.fields.push((header::RETRY_AFTER, HeaderValue::from_static("10")));
        }
        problem
    }

    /// The same with one more header field.
    pub(super) fn with(mut self, name: HeaderName, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.fields.push((name, value));
        }
        self
    }

    /// Whether the client may go on sending what nobody wants.
    pub(super) fn is_client_fault(&self) -> bool {
        self.status.is_client_error()
    }
}

/// The status of a refusal.
pub(super) fn status_of(refusal: Refusal) -> StatusCode {
    use Refusal::{
        AlreadyExists, DiskFull, Fenced, FileTooLarge, Incomplete, IsDirectory, LoginEnded, NotDirectory, NotEmpty,
        QuotaExceeded, Shredded, TooManyChanges, TooManyHandles, TooManyNames,
    };
    match refusal {
        FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        QuotaExceeded | DiskFull | TooManyNames => StatusCode::INSUFFICIENT_STORAGE,
        AlreadyExists | Fenced | Incomplete | IsDirectory | NotDirectory | NotEmpty => StatusCode::CONFLICT,
        Shredded => StatusCode::GONE,
        LoginEnded => StatusCode::UNAUTHORIZED,
        TooManyChanges | TooManyHandles => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::StillReceiving | Refusal::NewerUnfinished => StatusCode::CONFLICT,
        other => match other.kind() {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Denied => StatusCode::FORBIDDEN,
            Kind::Permanent => StatusCode::BAD_REQUEST,
            Kind::Temporary => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        },
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Not done"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.sentence,
        });
        let mut response = (self.status, text.to_string() + "\n").into_response();
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.extend(self.fields);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_a_sentence_in_both_languages_and_has_its_word() {
        let mut words = std::collections::BTreeSet::new();
        for trouble in Trouble::ALL {
            let (status, word, english, german) = trouble.facts();
            assert!((400..=599).contains(&status) && english.ends_with('.') && german.ends_with('.'), "{trouble:?}");
            assert!(words.insert(word) && english != german, "{trouble:?}");
        }
    }

    #[test]
    fn no_refusal_is_a_success_and_locked_is_never_said() {
        for refusal in Refusal::ALL {
            let status = status_of(*refusal);
            assert!(status.is_client_error() || status.is_server_error(), "{refusal:?}");
            assert_ne!(status, StatusCode::LOCKED, "{refusal:?}: clients begin anew when they hear it");
        }
        assert_eq!(status_of(Refusal::FileTooLarge), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(status_of(Refusal::QuotaExceeded), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(status_of(Refusal::TicketClosed), StatusCode::FORBIDDEN);
        assert_eq!(status_of(Refusal::NoSuchFile), StatusCode::NOT_FOUND);
        assert_eq!(status_of(Refusal::ShuttingDown), StatusCode::SERVICE_UNAVAILABLE);
    }
}
