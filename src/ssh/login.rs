//! Who may log in: passwords are tickets' tokens, keys are engineers'. Only `session` uses it.
//!
//! Whatever is wrong (no such user, wrong secret, disabled), the answer is the same and comes after the same time: russh
//! holds every rejection back until a fixed moment. A key that is not registered is refused when it is offered, which
//! shows whoever holds somebody's *public* key whether it is registered here; OpenSSH behaves the same, and clients with
//! many keys could not log in otherwise.

use std::sync::Arc;

use russh::keys::PublicKey;
use russh::server::{Auth, PublicKeyOffer, VerifiedPublicKey};
use russh::{Disconnect, MethodKind, MethodSet};

use super::gate::Admission;
use super::link::Link;
use super::pulse::Client;
use super::{Limits, algorithms, keys};
use crate::model::{Refusal, Transport};
use crate::share::{Login, Shares};

/// The attempts of one connection.
pub(crate) struct Attempts {
    shares: Shares,
    link: Arc<Link>,
    admission: Admission,
    failures_left: u32,
    probes_left: u32,
}

/// What a client may try. Always the same set: russh would otherwise take away each method that failed once. The listener
/// for old devices takes tokens only.
pub(crate) fn methods(transport: Transport) -> MethodSet {
    match transport {
        Transport::Modern => MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..]),
        Transport::Legacy => MethodSet::from(&[MethodKind::Password][..]),
    }
}

impl Attempts {
    pub(crate) fn new(shares: Shares, link: Arc<Link>, admission: Admission, limits: &Limits) -> Self {
        Self { shares, link, admission, failures_left: limits.failures, probes_left: limits.key_probes }
    }

    pub(crate) fn rejection(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(methods(self.link.transport)), partial_success: false }
    }

    pub(crate) async fn password(&mut self, user: &str, secret: &str) -> Auth {
        if self.are_spent() {
            return self.rejection();
        }
        let checked = self.shares.login_by_token(user, secret, self.link.origin()).await;
        self.conclude(checked)
    }

    /// A key that may or may not be signed with next. Never logs in, never counts as a failure (agents offer them all).
    pub(crate) async fn offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Auth {
        if self.are_spent() {
            return self.rejection();
        }
        let usable =
            self.takes_keys() && algorithms::accepts_signature(offer.algorithm) && keys::is_strong(offer.public_key);
        let fingerprint = keys::fingerprint_of(offer.public_key);
        if usable && self.known(user, &fingerprint).await {
            return Auth::Accept;
        }
        self.probes_left = self.probes_left.saturating_sub(1);
        if self.probes_left == 0 || self.link.pulse.client() == Client::Paramiko {
            self.part();
        }
        self.rejection()
    }

    /// A key whose signature russh has verified.
    pub(crate) async fn verified(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Auth {
        if self.are_spent() || !self.takes_keys() || !algorithms::accepts_signature(key.algorithm) {
            return self.rejection();
        }
        let checked = self.login_by_key(user, key.public_key).await;
        self.conclude(checked)
    }

    /// A method that is not offered, or a certificate: refused like a wrong password.
    pub(crate) fn refused(&mut self) -> Auth {
        self.conclude(Ok(None))
    }

    /// The login is complete.
    pub(crate) fn succeeded(&mut self) {
        self.admission.authenticated();
    }

    async fn known(&self, user: &str, fingerprint: &str) -> bool {
        self.shares.is_known_key(user, fingerprint, self.link.from).await.unwrap_or_else(|refusal| {
            tracing::warn!(from = %self.link.from, %refusal, "a key could not be looked up");
            false
        })
    }

    async fn login_by_key(&self, user: &str, key: &PublicKey) -> Result<Option<Login>, Refusal> {
        if !keys::is_strong(key) {
            return Ok(None);
        }
        self.shares.login_by_key(user, &keys::fingerprint_of(key), self.link.from).await
    }

    fn conclude(&mut self, checked: Result<Option<Login>, Refusal>) -> Auth {
        match checked {
            Ok(Some(login)) => {
                // The first one stays; russh asks for no other after a success.
                let _ = self.link.login.set(login);
                return Auth::Accept;
            }
            Ok(None) => {
                // No user name: people type their passwords there.
                tracing::info!(from = %self.link.from, "login failed");
                self.admission.failed(std::time::Instant::now());
            }
            Err(refusal) => tracing::warn!(from = %self.link.from, %refusal, "a login could not be checked"),
        }
        self.failures_left = self.failures_left.saturating_sub(1);
        if self.failures_left == 0 || self.link.pulse.client() == Client::Paramiko {
            self.part();
        }
        self.rejection()
    }

    /// A client may try what it was not offered.
    fn takes_keys(&self) -> bool {
        !self.link.transport.is_weak()
    }

    fn are_spent(&self) -> bool {
        self.failures_left == 0 || self.probes_left == 0
    }

    /// Ends the connection behind the rejection. paramiko is not let try again: it asks for the service
    /// `ssh-userauth` before each attempt, russh answers that only once, and paramiko would wait for ever.
    fn part(&self) {
        self.link.part(Disconnect::NoMoreAuthMethodsAvailable, "Login failed. Connect again to try again.");
    }
}
