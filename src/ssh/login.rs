//! Who may log in: passwords are tickets' tokens, keys are engineers'. Only `session` uses it.
//!
//! Whatever is wrong (no such user, wrong secret, disabled), the answer is the same and comes after
//! the same time: russh holds every rejection back until a fixed moment. A key that is not
//! registered is refused when it is offered, which shows whoever holds somebody's *public* key
//! whether it is registered here; OpenSSH behaves the same, and clients with many keys could not
//! log in otherwise.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::server::{Auth, PublicKeyOffer, VerifiedPublicKey};
use russh::{Disconnect, MethodKind, MethodSet};

use super::activity::Client;
use super::connection::DoorContext;
use super::shared::ConnectionShared;
use super::{Limits, algorithms, keys};
use crate::access::{Access, Login};
use crate::admission::{Admission, Stage, StrangerLog};
use crate::model::{Refusal, Transport};

/// How long paramiko has to understand that it was rejected.
const MOMENT: Duration = Duration::from_millis(500);

/// The attempts of one connection.
pub(crate) struct Attempts {
    access: Arc<Access>,
    shared: Arc<ConnectionShared>,
    admission: Arc<Admission>,
    strangers: StrangerLog,
    failures_left: u32,
    probes_left: u32,
    rejection_delay: Duration,
}

/// What a client may try. Always the same set: russh would otherwise take away each method that
/// failed once. The listener for old devices takes tokens only.
pub(crate) fn methods(transport: Transport) -> MethodSet {
    match transport {
        Transport::Modern => MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..]),
        Transport::Legacy => MethodSet::from(&[MethodKind::Password][..]),
    }
}

impl Attempts {
    pub(crate) fn new(shared: Arc<ConnectionShared>, admission: Arc<Admission>, context: &DoorContext) -> Self {
        let &Limits { failures: failures_left, key_probes: probes_left, rejection_delay, .. } = &context.limits;
        let (access, strangers) = (context.access.clone(), context.strangers.clone());
        Self { access, shared, admission, strangers, failures_left, probes_left, rejection_delay }
    }

    pub(crate) fn rejection(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(methods(self.shared.transport)), partial_success: false }
    }

    pub(crate) async fn password(&mut self, user: &str, secret: &str) -> Auth {
        if self.are_spent() {
            return self.rejection();
        }
        let checked = self.access.logins().by_token(user, secret, self.shared.origin()).await;
        self.conclude(checked)
    }

    /// A key that may or may not be signed with next. Never logs in, never counts as a failure
    /// (agents offer them all).
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
        self.part_if_spent();
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

    /// Keys are agreed on, and the client asks to be let in.
    pub(crate) fn began(&self) {
        self.admission.reached(Stage::Asking);
    }

    /// The login is complete.
    pub(crate) fn succeeded(&self) {
        self.admission.authenticated();
    }

    async fn known(&self, user: &str, fingerprint: &str) -> bool {
        self.access.logins().is_known_key(user, fingerprint, self.shared.from).await.unwrap_or_else(|refusal| {
            tracing::warn!(from = %self.shared.from, %refusal, "a key could not be looked up");
            false
        })
    }

    async fn login_by_key(&self, user: &str, key: &PublicKey) -> Result<Option<Login>, Refusal> {
        if !keys::is_strong(key) {
            return Ok(None);
        }
        self.access.logins().by_key(user, &keys::fingerprint_of(key), self.shared.from).await
    }

    fn conclude(&mut self, checked: Result<Option<Login>, Refusal>) -> Auth {
        match checked {
            Ok(Some(login)) => {
                // The first one stays; russh asks for no other after a success.
                let _ = self.shared.login.set(login);
                return Auth::Accept;
            }
            Ok(None) => {
                // No user name: people type their passwords there.
                if self.strangers.failed(self.shared.from) {
                    self.shared.log_opened();
                    tracing::info!(from = %self.shared.from, "login failed");
                }
                self.admission.failed(std::time::Instant::now());
            }
            Err(refusal) => tracing::warn!(from = %self.shared.from, %refusal, "a login could not be checked"),
        }
        self.failures_left = self.failures_left.saturating_sub(1);
        self.part_if_spent();
        self.rejection()
    }

    /// A client may try what it was not offered.
    fn takes_keys(&self) -> bool {
        !self.shared.transport.is_weak()
    }

    fn are_spent(&self) -> bool {
        self.failures_left == 0 || self.probes_left == 0
    }

    /// Ends the connection behind the last rejection. paramiko is not let try again: it asks for
    /// the service `ssh-userauth` before each attempt, russh answers that only once, and paramiko
    /// would wait for ever. It gets a moment more, as it reports an end that comes right behind a
    /// rejection instead of the rejection.
    fn part_if_spent(&self) {
        let moment = match self.shared.activity.client() {
            _ if self.are_spent() => Duration::ZERO,
            Client::Paramiko => self.rejection_delay + MOMENT,
            _ => return,
        };
        let sentence = "Login failed. Connect again to try again.";
        self.shared.disconnect_after(moment, Disconnect::NoMoreAuthMethodsAvailable, sentence);
    }
}
