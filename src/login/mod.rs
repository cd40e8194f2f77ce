//! Who may come in: a ticket by its token, an engineer by a key, a contact by a key or a password.
//! And who must go again.

pub(crate) mod contacts;
mod kept;
mod now;
mod passwords;
pub(crate) mod rights;
pub(crate) mod sent;
mod standing;
pub(crate) mod tokens;
mod words;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::contacts::Credential;
use self::kept::Kept;
use self::passwords::Passwords;
use self::rights::Grants;
use self::sent::Sent;
use crate::audit::aggregate::EventKey;
use crate::audit::{Actor, AuditWriter, Kind, Note};
use crate::model::rights::Rights;
use crate::model::{
    Door, Identifier, Language, Locked, LockedGuard, Network, Refusal, Role, ShareId, TicketStatus, Time, TokenId,
    TokenKind, Transport,
};
use crate::records::contacts::Contact;
use crate::records::people::{self, Engineer};
use crate::records::proofs::{Proof, Proved, unproved};
use crate::records::tickets::{self, Ticket};
use crate::records::{deletions, moves};
use crate::repo::checklist;
use crate::repo::proofs::Proofs;
use crate::repo::tickets::logins_changed;
use crate::repo::{Error, Policy, Repo};
use crate::vault;

/// How often open logins are compared with the records.
const WATCH: Duration = Duration::from_millis(300);
/// After a change, logins are compared this many times: one may have been checked just before it
/// and opened just after.
const ROUNDS: u32 = 4;
/// Shares whose keys are forgotten then, the newest that were shredded.
const FORGOTTEN: u32 = 1000;

/// Who logged in, and by what.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// A customer with the token of a ticket.
    Ticket {
        share: ShareId,
        /// The token that was typed: once it has ended, this login ends.
        token: TokenId,
        /// Whether it sends, and sees nothing: by its token, or as the ticket is for devices.
        upload_only: bool,
    },
    /// A contact of an organisation.
    Contact {
        /// What it logged in with: once that is no longer valid, this login ends.
        by: contacts::Credential,
    },
    /// An engineer with a key.
    Engineer {
        /// The key: once it is removed, this login ends.
        fingerprint: String,
    },
}

/// Where a login comes from. An address alone is one by the main listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// How strongly the connection is encrypted.
    pub transport: Transport,
    /// The door that took the connection.
    pub door: Door,
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self { address, transport: Transport::Modern, door: Door::Ssh }
    }
}

/// A credential that was checked; `access` opens a session by it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Login(pub(crate) Arc<LoginState>);

#[derive(Debug)]
pub(crate) struct LoginState {
    pub(crate) user: Identifier,
    pub(crate) who: Who,
    pub(crate) from: IpAddr,
    pub(crate) transport: Transport,
    pub(crate) door: Door,
    /// Names this login in the audit trail.
    pub(crate) id: [u8; 16],
    pub(crate) since: Instant,
    pub(crate) trail: Arc<AuditWriter>,
    proofs: Arc<Proofs>,
    /// The proof and the generation of the last row of its ticket that held, and said that the ticket
    /// was open.
    open_ticket: Locked<(Proof, i64)>,
    /// The proof of the last row of its ticket with which its token and its organisation were looked
    /// at.
    seen: Locked<Proof>,
    /// Whether one of these no longer lets it in. It never comes back from that.
    over: AtomicBool,
    /// From this moment on the login must be looked at although nobody changed anything, in
    /// milliseconds since 1970; the last one that there is if that never comes.
    until: AtomicI64,
    language: Language,
    policy: Option<Arc<Policy>>,
    /// Until when its closed ticket can be read, in milliseconds since 1970; [`words::NEVER`] if that
    /// has no end.
    kept_until: AtomicI64,
    greeting: Option<String>,
    ended: CancellationToken,
    pub(crate) grants: Grants,
    /// What it may in the ticket that it is the login of, as the records said last.
    own: AtomicU32,
    sent: Sent,
    /// What an engineer is to the house, as the records said last: a place in [`Role::ALL`].
    office: AtomicU8,
}

impl Login {
    /// The name that logged in: a ticket's reference, or the id of a contact or an engineer. Safe to
    /// log.
    pub fn user(&self) -> &Identifier {
        &self.0.user
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &Identifier {
        &self.0.user
    }

    /// Who it is in the audit trail.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Login(self.0.user.clone())
    }

    /// Whether it may only send: the login of a device's ticket, or by a token for that.
    pub(crate) fn is_upload_only(&self) -> bool {
        matches!(self.0.who, Who::Ticket { upload_only: true, .. })
    }

    /// The language in which refusals are said.
    pub fn language(&self) -> Language {
        self.0.language
    }

    /// One line that says where a customer is: the ticket, and whether it can only be read.
    pub fn greeting(&self) -> Option<&str> {
        self.0.greeting.as_deref()
    }

    /// Cancelled when the login is no longer valid: its door must end the connection.
    pub fn ended(&self) -> CancellationToken {
        self.0.ended.clone()
    }
}

/// Whose key it is.
enum Bearer {
    Engineer(Engineer),
    Contact(Contact),
}

/// Logins that are remembered before it is looked which of them are over.
const REMEMBERED: usize = 64;

/// The logins that are open, and some that are over: at most as many as are open, and
/// [`REMEMBERED`].
pub struct Logins {
    repo: Arc<Repo>,
    trail: Arc<AuditWriter>,
    passwords: Passwords,
    open: Locked<Vec<Weak<LoginState>>>,
    kept: Kept,
}

impl Logins {
    pub(crate) fn of(repo: &Arc<Repo>, trail: &Arc<AuditWriter>) -> Self {
        let passwords = Passwords::on(repo.worker_runtime.clone());
        Self {
            repo: Arc::clone(repo),
            trail: Arc::clone(trail),
            passwords,
            open: Locked::default(),
            kept: Kept::default(),
        }
    }

    fn add(&self, login: &Arc<LoginState>) {
        let mut logins = self.lock();
        // What is over keeps its memory while it is remembered. To look each time the list is full
        // costs each login little, as there is room for as many again then.
        if logins.len() == logins.capacity() {
            logins.retain(|login| login.strong_count() > 0);
            let more = logins.len().max(REMEMBERED);
            logins.reserve_exact(more);
        }
        logins.push(Arc::downgrade(login));
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.lock().len()
    }

    fn all_open(&self) -> Vec<Arc<LoginState>> {
        let mut logins = self.lock();
        logins.retain(|login| login.strong_count() > 0);
        logins.iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> LockedGuard<'_, Vec<Weak<LoginState>>> {
        self.open.lock()
    }
}

impl Logins {
    /// Checks a ticket's token, or a contact's password. None for a wrong one, an unknown user,
    /// anything: from outside they are all the same, and the same work is done for each. By the
    /// listener for old devices only tickets of devices get in.
    ///
    /// # Errors
    /// [`Refusal::Storage`] if the records do not answer.
    pub async fn by_token(&self, user: &str, secret: &str, from: impl Into<Origin>) -> Result<Option<Login>, Refusal> {
        let origin: Origin = from.into();
        let from = origin.address;
        let written = self.written(user).await?;
        let user = written.as_ref().map_or(user, |written| &written.name);
        let ticket = async { tickets::by_reference(&mut *self.repo.records.read().await?, user).await }
            .await
            .map_err(Error::from)?;
        let token = self.typed(user, secret).await?;
        let is_welcome = |device: bool| device || !origin.transport.is_weak();
        let both = ticket.zip(token).filter(|(ticket, token)| {
            is_welcome(ticket.device || token.kind == TokenKind::Device) && token.is_valid(Time::now())
        });
        let Some((ticket, token)) = both else {
            return self.by_password(user, secret, origin).await;
        };
        let people = self.people_of(&ticket).await?;
        let hold = self.holds(&ticket, from) && self.holds(&token, from);
        if !hold || !people.as_ref().is_none_or(|people| self.holds(people, from)) {
            return self.by_password(user, secret, origin).await;
        }
        let Some(organisation) = self.admitting(&ticket, from).await? else {
            tracing::info!(%from, ticket = %ticket.reference, "a token was refused: its organisation admits nobody");
            self.refuse(user, "token", from).await;
            return Ok(None);
        };
        let upload_only = ticket.device || token.kind != TokenKind::Plain;
        let who = Who::Ticket { share: ticket.share, token: token.id, upload_only };
        let language = ticket.language.unwrap_or_default();
        let policy = self.repo.settings.policy.as_ref();
        let until = policy.and_then(|policy| policy.end_of(&ticket)?.1);
        let words = async {
            let mut conn = self.repo.records.read().await?;
            let merged = moves::merged_into_own(&mut conn, ticket.share).await?;
            let missing = checklist::missing(&mut conn, &self.repo, &ticket).await?;
            Ok::<_, Error>(words::greeting(&ticket, until, &missing, merged.as_ref(), language))
        };
        let greeting = words.await?;
        let login = self.admit(ticket.reference.clone(), who, language, Some(greeting), origin).await?;
        self.note_use(&ticket, &token, from).await;
        login.0.see(&ticket, standing::until(&organisation, &token));
        login.0.remember(&ticket);
        rights::begins(&ticket, people.as_ref(), &login.0);
        Ok(Some(login))
    }

    /// Whether a key with this fingerprint (`SHA256:...`) may try to log in as `user`. Logs nobody
    /// in.
    ///
    /// # Errors
    /// [`Refusal::Storage`] if the records do not answer.
    pub async fn is_known_key(&self, user: &str, fingerprint: &str, from: IpAddr) -> Result<bool, Refusal> {
        Ok(self.bearer_of_key(user, fingerprint, from).await?.is_some())
    }

    /// Logs an engineer or a contact in by a key whose signature the door has verified.
    ///
    /// # Errors
    /// [`Refusal::Storage`] if the records do not answer.
    pub async fn by_key(&self, user: &str, fingerprint: &str, from: IpAddr) -> Result<Option<Login>, Refusal> {
        match self.bearer_of_key(user, fingerprint, from).await? {
            Some(Bearer::Engineer(engineer)) => {
                let who = Who::Engineer { fingerprint: fingerprint.to_owned() };
                let (role, language) = (engineer.role, engineer.language.unwrap_or_default());
                let login = self.admit(engineer.id, who, language, None, from.into()).await?;
                login.0.set_office(role);
                Ok(Some(login))
            }
            Some(Bearer::Contact(contact)) => {
                let by = Credential::Key { fingerprint: fingerprint.to_owned() };
                self.admit_contact(contact, by, from.into()).await.map(Some)
            }
            None => {
                tracing::info!(%from, "a key was refused");
                Ok(None)
            }
        }
    }

    /// Who may log in as `user` with this key; whoever may not is counted. Nobody's name is looked
    /// for like an engineer's.
    async fn bearer_of_key(&self, user: &str, fingerprint: &str, from: IpAddr) -> Result<Option<Bearer>, Refusal> {
        let written = self.written(user).await?;
        let user = written.as_ref().map_or(user, |written| &written.name);
        let bearer = if written.as_ref().is_some_and(|written| written.kind == "contact") {
            self.contact_with_key(user, fingerprint, from).await?.map(Bearer::Contact)
        } else {
            self.engineer_with_key(user, fingerprint, from).await?.map(Bearer::Engineer)
        };
        if bearer.is_none() {
            self.refuse(user, "key", from).await;
        }
        Ok(bearer)
    }

    /// The engineer who may log in as `user` with this key.
    async fn engineer_with_key(
        &self,
        user: &str,
        fingerprint: &str,
        from: IpAddr,
    ) -> Result<Option<Engineer>, Refusal> {
        let found = async { people::with_key(&mut *self.repo.records.read().await?, user, fingerprint).await };
        let found = found.await.map_err(Error::from)?;
        Ok(found.and_then(|(engineer, key)| {
            let holds = engineer.disabled_at.is_none() && self.holds(&engineer, from) && self.holds(&key, from);
            holds.then_some(engineer)
        }))
    }

    /// Whether a row says what tacdrop wrote; one that does not is told of.
    fn holds<T: Proved>(&self, row: &T, from: IpAddr) -> bool {
        let holds = row.is_proved(&**self.repo.keys.proofs());
        if !holds {
            tell_of_unproved(&self.trail, row, from);
        }
        holds
    }

    async fn admit(
        &self,
        user: Identifier,
        who: Who,
        language: Language,
        greeting: Option<String>,
        origin: Origin,
    ) -> Result<Login, Refusal> {
        self.trail.room().await?;
        let detail = match &who {
            Who::Ticket { token, .. } => json!({ "by": "token", "token": token.to_string() }),
            Who::Contact { by } => by.detail(),
            Who::Engineer { fingerprint } => json!({ "by": "key", "key": fingerprint }),
        };
        let id = vault::random::array().map_err(Error::from)?;
        let (trail, ended) = (Arc::clone(&self.trail), CancellationToken::new());
        let (Origin { address: from, transport, door }, since) = (origin, Instant::now());
        let (grants, proofs) = (Grants::default(), Arc::clone(self.repo.keys.proofs()));
        let (open_ticket, until) = (Locked::default(), AtomicI64::new(i64::MAX));
        let (seen, over) = (Locked::default(), AtomicBool::new(false));
        let (policy, kept_until) = (self.repo.settings.policy.clone(), AtomicI64::new(words::NEVER));
        let login = Arc::new(LoginState {
            user,
            who,
            from,
            transport,
            door,
            id,
            since,
            trail,
            proofs,
            open_ticket,
            seen,
            over,
            until,
            language,
            policy,
            kept_until,
            greeting,
            ended,
            grants,
            own: AtomicU32::new(Rights::NONE.to_bits()),
            sent: Sent::default(),
            office: AtomicU8::new(0),
        });
        login.enqueue(Kind::LoginAccepted, login.ticket(), Some(id), detail);
        self.add(&login);
        Ok(Login(login))
    }

    /// Ends logins that the records no longer allow, until `stop`: a new token, a removed key, a
    /// disabled engineer or organisation, a contract's end. Of an engineer's login who has lost a ticket only what is open there
    /// ends. The command line may change any of this in another process, so the records are asked
    /// several times a second.
    pub async fn watch(&self, stop: CancellationToken) {
        let (mut seen, mut rounds) = (None, 0);
        while stop.run_until_cancelled(tokio::time::sleep(WATCH)).await.is_some() {
            match self.changed().await {
                Ok(now) if now != seen => (seen, rounds) = (now, ROUNDS),
                Ok(_) => rounds = rounds.saturating_sub(1),
                // Then every login is asked about, in case this one was about one of them.
                Err(_) => rounds = ROUNDS,
            }
            let now = Time::now();
            if rounds == 0 && !self.all_open().iter().any(|login| login.is_past(now)) {
                continue;
            }
            // A command may have destroyed the keys of a share: nobody uses them here any more.
            if let Err(error) = self.forget_destroyed().await {
                tracing::warn!(%error, "keys that were destroyed are forgotten a little later");
            }
            for login in self.all_open() {
                match self.is_still_valid(&login).await {
                    Ok(true) => {}
                    Ok(false) => {
                        tracing::info!(user = %login.user, "a login was ended: it is no longer valid");
                        login.ended.cancel();
                    }
                    // The records being busy is no reason to throw anybody out; they are asked
                    // again soon.
                    Err(error) => tracing::warn!(%error, "open logins could not be checked"),
                }
            }
        }
    }

    /// A login that is refused is counted: by user if the records know that name, and by network.
    /// What only a stranger typed is not kept: people type passwords there.
    async fn refuse(&self, user: &str, by: &'static str, from: IpAddr) {
        let kind = async { people::login_kind(&mut *self.repo.records.read().await?, user).await }.await;
        let kind = kind.ok().flatten();
        let known: Option<Identifier> = kind.as_ref().and_then(|_| user.parse().ok());
        let ticket = known.clone().filter(|_| kind.as_deref() == Some("ticket"));
        let actor = known.map_or(Actor::Unknown, Actor::Login);
        let more = Some(("by", by.to_owned()));
        let from = Network::source(from).to_string();
        self.trail.count_refusal(EventKey { kind: Kind::LoginRefused, actor, ticket, id: None, from, more });
    }

    async fn forget_destroyed(&self) -> Result<(), Error> {
        let destroyed = deletions::newest_shares(&mut *self.repo.records.read().await?, FORGOTTEN).await?;
        self.repo.keys.forget_shares(&destroyed);
        Ok(())
    }

    async fn changed(&self) -> Result<Option<String>, Error> {
        logins_changed(&mut *self.repo.records.read().await?).await
    }

    async fn is_still_valid(&self, login: &LoginState) -> Result<bool, Error> {
        if login.ended.is_cancelled() {
            return Ok(true);
        }
        rights::review(&mut *self.repo.records.read().await?, login).await
    }
}

/// Tells the operator and the trail of a row that does not say what tacdrop wrote. Counted: whoever
/// changed one row may ask for it at any rate.
fn tell_of_unproved<T: Proved>(trail: &AuditWriter, row: &T, from: IpAddr) {
    let (table, name) = (T::TABLE, row.name().escape_debug().to_string());
    tracing::error!(table, row = name, "{}", unproved(row));
    let from = Network::source(from).to_string();
    let more = Some(("row", format!("{table} {name}")));
    trail.count_refusal(EventKey { kind: Kind::RowRefused, actor: Actor::Server, ticket: None, id: None, from, more });
}

impl LoginState {
    /// Whether a ticket, an engineer or a key says what tacdrop wrote there; one that does not is
    /// told of.
    pub(crate) fn holds<T: Proved>(&self, row: &T) -> bool {
        let holds = row.is_proved(&*self.proofs);
        if !holds {
            tell_of_unproved(&self.trail, row, self.from);
        }
        holds
    }

    /// Whether the moment has come at which it must be looked at although nobody changed anything.
    fn is_past(&self, now: Time) -> bool {
        now.millis() >= self.until.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn until(&self) -> Time {
        Time::from_millis(self.until.load(Ordering::Relaxed))
    }

    pub(crate) fn set_until(&self, until: Time) {
        self.until.store(until.millis(), Ordering::Relaxed);
    }

    /// Whether its token and its organisation were looked at with this row of its ticket, and time
    /// has changed nothing since.
    fn has_seen(&self, ticket: &Ticket) -> bool {
        !self.is_past(Time::now()) && *self.seen.lock() == ticket.proof
    }

    /// Its token and its organisation let it in until then, as long as the ticket's row is this one.
    fn see(&self, ticket: &Ticket, until: Time) {
        *self.seen.lock() = ticket.proof;
        self.set_until(until);
    }

    /// Whether its token or its organisation no longer let it in.
    pub(crate) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// What it may in the ticket that it is the login of, as the records said last; nothing if it is
    /// no ticket's.
    pub(crate) fn own_rights(&self) -> Rights {
        Rights::from_bits(self.own.load(Ordering::Acquire))
    }

    /// What an engineer is to the house, as the records said last.
    pub(crate) fn office(&self) -> Role {
        Role::ALL.get(usize::from(self.office.load(Ordering::Acquire))).copied().unwrap_or(Role::Engineer)
    }

    fn set_office(&self, role: Role) {
        self.office.store(role as u8, Ordering::Release);
    }

    /// It must be looked at again at this moment, although nobody changes anything then.
    fn look_again_at(&self, moment: Time) {
        self.until.fetch_min(moment.millis(), Ordering::Relaxed);
    }

    /// What it has sent into drop boxes.
    pub(crate) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Remembers what a row of its own ticket that holds is known by, if the ticket is open. An upload
    /// into one that waits has more to do than the short way does.
    pub(crate) fn remember(&self, ticket: &Ticket) {
        if self.user == ticket.reference && ticket.status == TicketStatus::Open {
            *self.open_ticket.lock() = (ticket.proof, ticket.token_generation);
        }
    }

    /// The proof and the generation that its ticket carried when it was last seen open and held; zeros
    /// if it never was.
    pub(crate) fn open_ticket(&self) -> (Proof, i64) {
        *self.open_ticket.lock()
    }

    /// Says in an event where it came from, and by which listener if that is the one with weak
    /// encryption, or by which door if that is not SSH.
    pub(crate) fn add_origin(&self, detail: &mut Value) {
        detail["from"] = Value::String(self.from.to_string());
        if self.transport.is_weak() {
            detail["transport"] = Value::String(self.transport.to_string());
        }
        if self.door == Door::Http {
            detail["door"] = Value::String(self.door.as_str().to_owned());
        }
    }

    /// An event of this login that waits to be written.
    pub(crate) fn enqueue(&self, kind: Kind, ticket: Option<&Identifier>, id: Option<[u8; 16]>, mut detail: Value) {
        self.add_origin(&mut detail);
        self.trail.enqueue(Note::new(kind, Actor::Login(self.user.clone()), ticket, id, detail));
    }

    /// The ticket that it is about, if it is about one only.
    pub(crate) fn ticket(&self) -> Option<&Identifier> {
        matches!(self.who, crate::login::Who::Ticket { .. }).then_some(&self.user)
    }
}

impl Drop for LoginState {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs();
        self.enqueue(Kind::LoginEnded, self.ticket(), Some(self.id), json!({ "seconds": seconds }));
    }
}
