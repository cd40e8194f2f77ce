//! Hands mails to a mail server by SMTP (RFC 5321), one connection for each.
//!
//! The conversation is our own (`session`), since what matters here is what a library hides:
//! replies are bytes of which the code decides (`reply`); a refusal that a setting caused is told
//! from one of the recipient; and behind the final dot an answer that does not come means that
//! nobody knows whether the mail was taken.

mod reply;
mod session;
mod trust;

use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::mailer::{DeliveryError, Mailer, Permission};
use crate::message::Mail;
use crate::notice::Channel;
use reply::{NoReply, Reply};
use session::{Encryption, Session};
use trust::Distrust;

/// How long the goodbye may take. Nothing depends on it.
const GOODBYE: Duration = Duration::from_secs(2);
/// The longest that connecting, and TLS, may take: a machine that is there has answered by then,
/// however busy it is.
const CONNECTING: Duration = Duration::from_secs(30);
/// The least time that sending one block of a mail's text may take (RFC 5321, section 4.5.3.2.5).
const DATA_BLOCK: Duration = Duration::from_secs(3 * 60);
/// The longest that sending the whole text may take. Notices are small: more than a few blocks they
/// never are.
const WHOLE_TEXT: Duration = Duration::from_secs(10 * 60);
/// The least time that the server may take to answer the final dot: who gives up earlier sends
/// twice (RFC 5321, section 4.5.3.2.6).
const FINAL_DOT: Duration = Duration::from_secs(10 * 60);
/// The most answers that one delivery waits for: the greeting, EHLO and HELO twice, STARTTLS, three
/// for the login, MAIL, RCPT, DATA, and the time to say the final dot.
const MOST_STEPS: u32 = 13;

/// Which mail server, and how to speak to it.
pub struct SmtpSettings {
    /// Host name or address. With TLS, the certificate must be for it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether and how the connection is encrypted.
    pub tls: Tls,
    /// The login; `None`: the server takes mails without one.
    pub login: Option<Login>,
    /// The name for EHLO; `None`: the address literal of the loopback, which every server takes.
    pub helo: Option<String>,
    /// The longest that the greeting and the answer to each command may take; RFC 5321, section
    /// 4.5.3.2, wants five minutes. Connecting has thirty seconds at most, each block of the text
    /// three minutes at least, and the final dot ten.
    pub timeout: Duration,
}

/// A login on a mail server.
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Zeroizing<String>,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all. Only for a server on the same machine or net.
    None,
    /// By STARTTLS (RFC 3207); a server that does not offer it gets nothing.
    StartTls,
    /// From the first byte (RFC 8314).
    Implicit,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
struct Patience {
    connecting: Duration,
    command: Duration,
    block: Duration,
    text: Duration,
    final_dot: Duration,
}

impl Patience {
    /// For a server that has `command` to answer each command (RFC 5321, section 4.5.3.2).
    fn of(command: Duration) -> Self {
        Self {
            connecting: command.min(CONNECTING),
            command,
            block: command.max(DATA_BLOCK),
            text: WHOLE_TEXT,
            final_dot: command.max(FINAL_DOT),
        }
    }
}

/// Where in a conversation a server said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Mail,
    Recipient,
    Data,
    FinalDot,
}

/// A mail server.
pub struct Smtp {
    settings: SmtpSettings,
    patience: Patience,
    tls: Option<Encryption>,
}

impl Smtp {
    /// Takes the settings and reads the machine's certificate authorities.
    ///
    /// # Errors
    /// A sentence when TLS cannot be set up for this host.
    pub fn new(settings: SmtpSettings) -> Result<Self, String> {
        let tls = match settings.tls {
            Tls::None => None,
            Tls::StartTls | Tls::Implicit => Some(Encryption::to(&settings.host).map_err(|why| {
                format!("TLS to the mail server {} cannot be set up ({why}); check notify.smtp.host.", settings.host)
            })?),
        };
        Ok(Self { patience: Patience::of(settings.timeout), settings, tls })
    }

    /// The longest that one delivery takes, if every answer comes at the last moment.
    pub fn longest_delivery(&self) -> Duration {
        let Patience { connecting, command, text, final_dot, .. } = self.patience;
        connecting * 2 + command * MOST_STEPS + text + final_dot + GOODBYE
    }

    async fn connect(&self) -> Result<Session, DeliveryError> {
        let settings = &self.settings;
        let hello = settings.helo.as_deref().unwrap_or("[127.0.0.1]");
        let unreachable =
            |why: &dyn std::fmt::Display| self.temporary("cannot be reached", why, "check notify.smtp.{host,port,tls}");
        let tls = self.tls.as_ref().filter(|_| settings.tls == Tls::Implicit);
        let connected = Session::connect(&settings.host, settings.port, self.patience, tls).await;
        let mut session = connected.map_err(|why| match why {
            NoReply::Distrusted(why) => self.distrusted(why),
            why => unreachable(&why),
        })?;
        let greeting = session.greeting().await.map_err(|why| match why {
            // A server that expects TLS from the first byte is silent, too.
            NoReply::Late(limit) => self.too_slow("was not ready", limit),
            why => unreachable(&why),
        })?;
        for reply in [Ok(greeting), session.hello(hello).await] {
            positive(reply).map_err(|why| unreachable(&why))?;
        }
        if let (Tls::StartTls, Some(tls)) = (settings.tls, &self.tls) {
            session = self.start_tls(session, tls, hello).await?;
        }
        if let Some(login) = &settings.login {
            positive(session.log_in(login).await).map_err(|why| {
                self.temporary("refused the login", &why, "check notify.smtp.user and notify.smtp.password")
            })?;
        }
        Ok(session)
    }

    async fn start_tls(&self, mut session: Session, tls: &Encryption, hello: &str) -> Result<Session, DeliveryError> {
        let refused = |why: &dyn std::fmt::Display| {
            self.temporary("did not start TLS", why, "check notify.smtp.{host,port,tls}, and who is on the way to it")
        };
        if !session.knows("STARTTLS") {
            return Err(refused(&"it does not offer STARTTLS"));
        }
        positive(session.command("STARTTLS").await).map_err(|why| refused(&why))?;
        let mut session = session.encrypt(tls).await.map_err(|why| match why {
            NoReply::Distrusted(why) => self.distrusted(why),
            why => refused(&why),
        })?;
        positive(session.hello(hello).await).map_err(|why| refused(&why))?;
        Ok(session)
    }

    async fn hand_over(
        &self,
        session: &mut Session,
        mail: &Mail,
        permission: &impl Permission,
    ) -> Result<(), DeliveryError> {
        let envelope = mail.envelope();
        let from = envelope.from().map_or("", AsRef::as_ref);
        let to: Vec<&str> = envelope.to().iter().map(AsRef::as_ref).collect();
        let ascii = from.is_ascii() && to.iter().all(|address| address.is_ascii());
        if !ascii && !session.knows("SMTPUTF8") {
            return Err(DeliveryError::Permanent(format!(
                "{} does not know SMTPUTF8, so it cannot context an address that is not ASCII; send the notice to \
                 another one with 'tacdrop notice readdress'.",
                self.name()
            )));
        }
        let bytes = if session.knows("8BITMIME") { mail.bytes() } else { mail.seven_bit() };
        let mut hello = format!("MAIL FROM:<{from}>");
        if !ascii {
            hello.push_str(" SMTPUTF8");
        }
        if !bytes.is_ascii() {
            hello.push_str(" BODY=8BITMIME");
        }
        self.step(session.command(&hello).await, Step::Mail, mail)?;
        for address in to {
            self.step(session.command(&format!("RCPT TO:<{address}>")).await, Step::Recipient, mail)?;
        }
        let go_on = self.step(session.command("DATA").await, Step::Data, mail)?;
        if go_on.code() != 354 {
            return Err(self.not_taken(&go_on, mail));
        }
        session.send(bytes).await.map_err(|why| self.not_taken_because(&why))?;
        permission.ask().await?;
        // From here on the server may have the mail.
        match session.end().await {
            Ok(reply) if (400..600).contains(&reply.code()) => self.step(Ok(reply), Step::FinalDot, mail).map(|_| ()),
            Ok(reply) if (200..300).contains(&reply.code()) => Ok(()),
            Ok(reply) => Err(self.unknown(&self.words(&reply, mail))),
            Err(NoReply::NotUnderstood(_)) => Err(self.unknown("the answer has no code")),
            Err(why) => Err(self.unknown(&why.to_string())),
        }
    }

    /// What a reply before the mail was taken means.
    fn step(&self, reply: Result<Reply, NoReply>, step: Step, mail: &Mail) -> Result<Reply, DeliveryError> {
        let reply = reply.map_err(|why| self.not_taken_because(&why))?;
        if reply.is_positive() {
            return Ok(reply);
        }
        let words = self.words(&reply, mail);
        Err(match fault(step, &reply) {
            Fault::Passing => self.not_taken(&reply, mail),
            Fault::Settings => DeliveryError::Temporary(format!(
                "{} refused the mail because of a setting ({words}); check notify.smtp.from, notify.smtp.user, the mail \
                 server's rules for this machine, and the engineer's address. It is tried again.",
                self.name()
            )),
            Fault::Recipient => DeliveryError::Permanent(format!(
                "{} refused the mail for good ({words}); send the notice elsewhere with 'tacdrop notice readdress', or assign the \
                 ticket to another engineer.",
                self.name()
            )),
            Fault::Content => DeliveryError::Permanent(format!(
                "{} refused the mail for good ({words}); once it takes such mails, send it with 'tacdrop notice retry'.",
                self.name()
            )),
        })
    }

    fn not_taken(&self, reply: &Reply, mail: &Mail) -> DeliveryError {
        DeliveryError::Temporary(format!("{} did not take the mail ({}).", self.name(), self.words(reply, mail)))
    }

    fn not_taken_because(&self, why: &NoReply) -> DeliveryError {
        match why {
            NoReply::Late(limit) => self.too_slow("did not take the mail", *limit),
            // A server may quote the mail in what is no reply.
            NoReply::NotUnderstood(_) => DeliveryError::Temporary(format!(
                "{} did not take the mail (its answer was not understood).",
                self.name()
            )),
            NoReply::Distrusted(why) => self.distrusted(*why),
            why @ NoReply::Closed(_) => {
                DeliveryError::Temporary(format!("{} did not take the mail ({why}).", self.name()))
            }
        }
    }

    fn unknown(&self, why: &str) -> DeliveryError {
        DeliveryError::Unknown(format!("{} did not say whether it took the mail ({why}).", self.name()))
    }

    /// A server may quote the mail in its reply; what it quotes must not reach the records.
    fn words(&self, reply: &Reply, mail: &Mail) -> String {
        let shown = reply.shown();
        if mail.is_named_in(&shown) { reply.code().to_string() } else { shown }
    }

    fn name(&self) -> String {
        format!("The mail server {}:{}", self.settings.host, self.settings.port)
    }

    fn temporary(&self, what: &str, why: &dyn std::fmt::Display, advice: &str) -> DeliveryError {
        DeliveryError::Temporary(format!("{} {what} ({why}); {advice}.", self.name()))
    }

    /// Nothing was sent, and nothing will be until somebody has seen to it.
    fn distrusted(&self, why: Distrust) -> DeliveryError {
        let why = why.sentence(&self.settings.host);
        DeliveryError::Temporary(format!("{} was told nothing: {why}. It is tried again.", self.name()))
    }

    fn too_slow(&self, what: &str, limit: Duration) -> DeliveryError {
        let seconds = limit.as_secs();
        DeliveryError::Temporary(format!(
            "{} {what} within {seconds} s; check it, notify.smtp.timeout_seconds, and notify.smtp.tls: a port that wants TLS \
             from the first byte is silent without.",
            self.name()
        ))
    }
}

/// A positive reply, or what stands in its place for people.
fn positive(reply: Result<Reply, NoReply>) -> Result<Reply, String> {
    match reply {
        Ok(reply) if reply.is_positive() => Ok(reply),
        Ok(reply) => Err(reply.shown()),
        Err(why) => Err(why.to_string()),
    }
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The server says itself that it is temporary.
    Passing,
    /// Who may send what from where: relay, sender, login, policy. It goes away when somebody
    /// changes a setting, here or there.
    Settings,
    /// There is no such recipient.
    Recipient,
    /// The mail itself: too large, not wanted.
    Content,
}

/// What a refusal is about. In doubt a setting: a notice that is tried again costs little, one that
/// is lost costs a file that nobody is told of.
fn fault(step: Step, reply: &Reply) -> Fault {
    if !reply.is_refusal() {
        return Fault::Passing;
    }
    // Not in force, wrong order, login wanted (RFC 4954, section 6): never about this mail.
    if matches!(reply.code(), 500..=504 | 530..=539) {
        return Fault::Settings;
    }
    let about_us = || {
        let words = reply.lines().join(" ").to_ascii_lowercase();
        let all = [
            "relay",
            "sender",
            "authenti",
            "log in",
            "login",
            "rcpthosts",
            "client host",
            "helo",
            "spf",
            "blocked",
            "denied",
            "policy",
        ];
        all.iter().any(|word| words.contains(word))
    };
    match (step, reply.enhanced()) {
        // The recipient's mailbox or domain (RFC 3463, section 3.2; 5.1.10: RFC 7505), or a mailbox
        // that is disabled.
        (Step::Recipient | Step::Data | Step::FinalDot, Some((1, 1..=3 | 6 | 10) | (2, 1))) => Fault::Recipient,
        (Step::Recipient, Some((1, 0)) | None) if matches!(reply.code(), 550 | 551 | 553) && !about_us() => {
            Fault::Recipient
        }
        (Step::FinalDot, Some((3 | 6, _))) => Fault::Content,
        (Step::FinalDot, None) if !about_us() => Fault::Content,
        _ => Fault::Settings,
    }
}

impl Mailer for Smtp {
    fn channel(&self) -> Channel {
        Channel::Mail
    }

    async fn send(&self, mail: &Mail, permission: &impl Permission) -> Result<(), DeliveryError> {
        let mut session = self.connect().await?;
        let outcome = self.hand_over(&mut session, mail, permission).await;
        // Whatever comes of the goodbye, it changes nothing: what was taken must not be sent again.
        // In the middle of a mail there is none: without its final dot the server throws away what
        // it has (RFC 5321, section 4.1.1.4).
        if !session.is_within_text() {
            let _ = timeout(GOODBYE, session.command("QUIT")).await;
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
