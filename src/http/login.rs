//! Who asks: a ticket's reference and token, or a contact's name and password, in `Authorization`.
//! Whatever is wrong, the answer is the same and comes after the same time, as at the other doors.

use std::time::Instant;

use axum::http::{HeaderMap, header};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::peer::Peer;
use super::problem::{Problem, Trouble};
use super::{DoorContext, fields};
use crate::access::{Login, Origin};
use crate::model::{Door, Language, Transport};

/// The longest `Authorization`, in bytes.
const LONGEST: usize = 4 * 1024;

/// What somebody showed.
struct Shown {
    user: String,
    secret: Zeroizing<String>,
}

impl Shown {
    /// Basic (RFC 7617) names its user; a Bearer (RFC 6750) is a token of the ticket that the
    /// request is about.
    fn of(headers: &HeaderMap, ticket: &str) -> Option<Self> {
        let field = fields::text(headers, header::AUTHORIZATION).ok()??;
        if field.len() > LONGEST {
            return None;
        }
        let (scheme, value) = field.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self { user: ticket.to_owned(), secret: Zeroizing::new(value.to_owned()) });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(Base64::decode_vec(value).ok()?);
        let (user, secret) = str::from_utf8(&pair).ok()?.split_once(':')?;
        Some(Self { user: user.to_owned(), secret: Zeroizing::new(secret.to_owned()) })
    }
}

/// The login by which a request about a ticket comes.
pub(super) async fn login(
    context: &DoorContext,
    peer: &Peer,
    headers: &HeaderMap,
    ticket: &str,
    language: Language,
) -> Result<Login, Problem> {
    let Some(shown) = Shown::of(headers, ticket) else { return Err(Problem::of(Trouble::NoLogin, language)) };
    let (logins, now) = (context.access.logins(), Instant::now());
    if let Some(login) = logins.kept(&shown.user, &shown.secret, peer.address) {
        peer.admission.authenticated();
        return Ok(login);
    }
    if let Some(left) = context.admissions.shut_for(peer.address, now) {
        let seconds = left.as_secs() + 1;
        return Err(Problem::of(Trouble::TooManyFailures, language).with(header::RETRY_AFTER, seconds));
    }
    let origin = Origin { address: peer.address, transport: Transport::Modern, door: Door::Http };
    match logins.by_token(&shown.user, &shown.secret, origin).await {
        Ok(Some(login)) => {
            tracing::info!(from = %peer.address, user = %login.user(), door = "http", "logged in");
            peer.admission.authenticated();
            Ok(logins.keep(&shown.user, &shown.secret, peer.address, login))
        }
        Ok(None) => {
            // No user name: people type their passwords there.
            if context.strangers.failed(peer.address) {
                tracing::info!(from = %peer.address, door = "http", "login failed");
            }
            peer.admission.failed(Instant::now());
            let is_last = peer.failed(context.limits.failures);
            tokio::time::sleep_until((now + context.limits.rejection_delay).into()).await;
            let problem = Problem::of(Trouble::LoginFailed, language);
            Err(if is_last { problem.with(header::CONNECTION, "close") } else { problem })
        }
        Err(refusal) => {
            tracing::warn!(from = %peer.address, %refusal, "a login could not be checked");
            tokio::time::sleep_until((now + context.limits.rejection_delay).into()).await;
            Err(Problem::refused(refusal, language))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, field.parse().unwrap());
        Shown::of(&headers, "XT-1").map(|shown| (shown.user, shown.secret.to_string()))
    }

    #[test]
    fn a_user_is_named_or_is_the_ticket() {
        let pair = |user: &str, secret: &str| Some((user.to_owned(), secret.to_owned()));
        let basic = |text: &str| shown(&format!("Basic {}", Base64::encode_string(text.as_bytes())));
        assert_eq!(basic("XT-2:a:b"), pair("XT-2", "a:b"));
        assert_eq!(shown("bearer abc"), pair("XT-1", "abc"));
        for wrong in ["Basic !", "Digest x", "Bearer", ""] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        assert_eq!(basic("no colon"), None);
        assert_eq!(shown(&format!("Bearer {}", "x".repeat(LONGEST))), None);
    }
}
