//! What every answer bears: the headers that keep browsers from doing more with it than it is for.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Nothing of what is answered is a page that runs or embeds anything.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox";
/// What every answer bears.
const ALWAYS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
];

/// The field for the digest of a whole file (RFC 9530).
pub(super) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// The field for the digest of what one message brings (RFC 9530).
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// An answer as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Serialising plain values cannot fail.
    let text = serde_json::to_string(body).unwrap_or_default() + "\n";
    let mut response = (status, text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    status.into_response()
}

/// The same with one more header field.
pub(super) fn with(mut response: Response, name: impl Into<HeaderName>, value: impl ToString) -> Response {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        response.headers_mut().insert(name.into(), value);
    }
    response
}

/// Adds what every answer bears. `is_encrypted`: by this server itself, which then is reached so only.
pub(super) fn finish(mut response: Response, is_encrypted: bool) -> Response {
    let fields = response.headers_mut();
    for (name, value) in ALWAYS {
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    fields.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    if is_encrypted {
        let year = HeaderValue::from_static("max-age=31536000");
        fields.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}
