//! Hands mails to a mail server by SMTP (RFC 5321), one connection for each.
//!
//! The conversation is our own (`session`), since what matters here is what a library hides: replies are bytes of which
//! the code decides (`reply`); a refusal that a setting caused is told from one of the recipient; and behind the final dot
//! an answer that does not come means that nobody knows whether the mail was taken.

mod reply;
mod session;

use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::notify::carrier::{Carrier, DeliveryError};
use crate::notify::mail::Mail;
use crate::notify::outbox::Channel;
use reply::{NoReply, Reply};
use session::{Encryption, Session};

/// How long the goodbye may take. Nothing depends on it.
const GOODBYE: Duration = Duration::from_secs(2);
/// The least time that sending a mail's text may take (RFC 5321, section 4.5.3.2.5, for each block).
const DATA_BLOCK: Duration = Duration::from_secs(3 * 60);
/// The least time that the server may take to answer the final dot: who gives up earlier sends twice (RFC 5321, section 4.5.3.2.6).
const FINAL_DOT: Duration = Duration::from_secs(10 * 60);
/// The most commands of one delivery, with connecting and TLS.
const MOST_STEPS: u32 = 12;

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
    /// The longest that connecting, the greeting, and the answer to each command may take. The final dot has ten minutes
    /// at least.
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
    command: Duration,
    data: Duration,
    final_dot: Duration,
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
        let command = settings.timeout;
        let patience = Patience { command, data: command.max(DATA_BLOCK), final_dot: command.max(FINAL_DOT) };
        Ok(Self { settings, patience, tls })
    }

    /// The longest that one delivery takes, if every answer comes at the last moment.
    pub fn longest_delivery(&self) -> Duration {
        self.patience.command * MOST_STEPS + self.patience.data + self.patience.final_dot + GOODBYE
    }

    async fn connect(&self) -> Result<Session, DeliveryError> {
        let settings = &self.settings;
        let hello = settings.helo.as_deref().unwrap_or("[127.0.0.1]");
        let unreachable =
            |why: &dyn std::fmt::Display| self.temporary("cannot be reached", why, "check notify.smtp.{host,port,tls}");
        let tls = self.tls.as_ref().filter(|_| settings.tls == Tls::Implicit);
        let connected = Session::connect(&settings.host, settings.port, self.patience, tls).await;
        let mut session = connected.map_err(|why| unreachable(&why))?;
        let greeting = session.greeting().await.map_err(|why| match why {
            NoReply::Late(limit) => self.too_slow("was not ready", limit),
            why => unreachable(&why),
        })?;
        for reply in [Ok(greeting), session.hello(hello).await] {
            positive(reply).map_err(|why| unreachable(&why))?;
        }
        if let (Tls::StartTls, Some(tls)) = (settings.tls, &self.tls) {
            session = self
                .start_tls(session, tls, hello)
                .await
                .map_err(|why| self.temporary("did not start TLS", &why, "check notify.smtp.tls"))?;
        }
        if let Some(login) = &settings.login {
            positive(session.log_in(login).await).map_err(|why| {
                self.temporary("refused the login", &why, "check notify.smtp.user and notify.smtp.password")
            })?;
        }
        Ok(session)
    }

    async fn start_tls(&self, mut session: Session, tls: &Encryption, hello: &str) -> Result<Session, String> {
        if !session.knows("STARTTLS") {
            return Err("it does not offer STARTTLS".to_owned());
        }
        positive(session.command("STARTTLS").await)?;
        let mut session = session.encrypt(tls).await.map_err(|why| why.to_string())?;
        positive(session.hello(hello).await)?;
        Ok(session)
    }

    async fn hand_over(&self, session: &mut Session, mail: &Mail) -> Result<(), DeliveryError> {
        let envelope = mail.envelope();
        let from = envelope.from().map_or("", AsRef::as_ref);
        let to: Vec<&str> = envelope.to().iter().map(AsRef::as_ref).collect();
        let ascii = from.is_ascii() && to.iter().all(|address| address.is_ascii());
        if !ascii && !session.knows("SMTPUTF8") {
            return Err(DeliveryError::Permanent(format!(
                "{} does not know SMTPUTF8, so it cannot reach an address that is not ASCII; give the engineer another.",
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
                "{} refused the mail for good ({words}); correct the engineer's address, or send the notice elsewhere with \
                 'tacdrop notice readdress'.",
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
            why @ NoReply::Gone(_) => {
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

    fn too_slow(&self, what: &str, limit: Duration) -> DeliveryError {
        let seconds = limit.as_secs();
        DeliveryError::Temporary(format!("{} {what} within {seconds} s (notify.smtp.timeout_seconds).", self.name()))
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
    /// Who may send what from where: relay, sender, login, policy. It goes away when somebody changes a setting, here or there.
    Settings,
    /// There is no such recipient.
    Recipient,
    /// The mail itself: too large, not wanted.
    Content,
}

/// What a refusal is about. In doubt a setting: a notice that is tried again costs little, one that is lost costs a file that nobody
/// is told of.
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
        // The recipient's mailbox or domain (RFC 3463, section 3.2; 5.1.10: RFC 7505), or a mailbox that is disabled.
        (Step::Recipient | Step::Data | Step::FinalDot, Some((1, 1..=3 | 6 | 10) | (2, 1))) => Fault::Recipient,
        (Step::Recipient, Some((1, 0)) | None) if matches!(reply.code(), 550 | 551 | 553) && !about_us() => {
            Fault::Recipient
        }
        (Step::FinalDot, Some((3 | 6, _))) => Fault::Content,
        (Step::FinalDot, None) if !about_us() => Fault::Content,
        _ => Fault::Settings,
    }
}

impl Carrier for Smtp {
    fn channel(&self) -> Channel {
        Channel::Mail
    }

    async fn carry(&self, mail: &Mail) -> Result<(), DeliveryError> {
        let mut session = self.connect().await?;
        let outcome = self.hand_over(&mut session, mail).await;
        // Whatever comes of the goodbye, it changes nothing: what was taken must not be sent again.
        if !matches!(outcome, Err(DeliveryError::Unknown(_))) {
            let _ = timeout(GOODBYE, session.command("QUIT")).await;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::model::Language;
    use crate::notify::fixtures::notice;
    use crate::notify::mail::Letterhead;

    /// A mail server that follows a script: the reply to each command that begins with a word; all else gets `250 ok`.
    struct Sink {
        port: u16,
        heard: Arc<Mutex<Vec<String>>>,
        mails: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    type Script = &'static [(&'static str, &'static str)];

    async fn sink(script: Script) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, mails) = (Arc::default(), Arc::default());
        let sink = Sink { port, heard: Arc::clone(&heard), mails: Arc::clone(&mails) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = converse(stream, script, &heard, &mails).await;
            }
        });
        sink
    }

    async fn converse(
        stream: TcpStream,
        script: Script,
        heard: &Mutex<Vec<String>>,
        mails: &Mutex<Vec<Vec<u8>>>,
    ) -> std::io::Result<()> {
        let answer = |word: &str, usual: &str| {
            let scripted = script.iter().find(|(key, _)| *key == word).map(|(_, reply)| *reply);
            format!("{}\r\n", scripted.unwrap_or(usual))
        };
        let mut stream = BufReader::new(stream);
        stream.write_all(answer("greeting", "220 sink").as_bytes()).await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            let word = line.split([' ', ':']).next().unwrap_or_default().to_owned();
            heard.lock().unwrap().push(line);
            match word.as_str() {
                "EHLO" => stream.write_all(answer("EHLO", "250-sink\r\n250 8BITMIME").as_bytes()).await?,
                "DATA" => {
                    let go_on = answer("DATA", "354 go on");
                    stream.write_all(go_on.as_bytes()).await?;
                    if !go_on.starts_with("354") {
                        continue;
                    }
                    let mut mail = Vec::new();
                    while !mail.ends_with(b"\r\n.\r\n") {
                        if stream.read_until(b'\n', &mut mail).await? == 0 {
                            return Ok(());
                        }
                    }
                    mails.lock().unwrap().push(mail);
                    stream.write_all(answer("end", "250 taken").as_bytes()).await?;
                }
                "QUIT" => {
                    // Says nothing and hangs up: a goodbye that fails.
                    return Ok(());
                }
                word => stream.write_all(answer(word, "250 ok").as_bytes()).await?,
            }
        }
    }

    fn settings(port: u16) -> SmtpSettings {
        SmtpSettings {
            host: "127.0.0.1".into(),
            port,
            tls: Tls::None,
            login: None,
            helo: None,
            timeout: Duration::from_secs(5),
        }
    }

    fn mail() -> Mail {
        Mail::of(&notice(Language::De), &Letterhead::new("support@example.org").unwrap()).unwrap()
    }

    async fn carry(settings: SmtpSettings) -> Result<(), DeliveryError> {
        Smtp::new(settings).unwrap().carry(&mail()).await
    }

    #[tokio::test]
    async fn a_mail_arrives_as_it_was_written_although_the_goodbye_fails() {
        let sink = sink(&[]).await;
        carry(settings(sink.port)).await.unwrap();
        assert_eq!(
            *sink.heard.lock().unwrap(),
            [
                "EHLO [127.0.0.1]",
                "MAIL FROM:<support@example.org> BODY=8BITMIME",
                "RCPT TO:<anna@example.org>",
                "DATA",
                "QUIT"
            ]
        );
        let mails = sink.mails.lock().unwrap();
        assert!(*mails == [[mail().bytes(), b"\r\n.\r\n"].concat()]);
    }

    #[tokio::test]
    async fn a_server_without_8bitmime_gets_seven_bits() {
        let sink = sink(&[("EHLO", "250 sink")]).await;
        let mut settings = settings(sink.port);
        settings.helo = Some("tacdrop.example.org".into());
        carry(settings).await.unwrap();
        assert_eq!(sink.heard.lock().unwrap()[0], "EHLO tacdrop.example.org");
        let mails = sink.mails.lock().unwrap();
        assert!(mails[0].is_ascii() && mails[0].starts_with(mail().seven_bit()));
    }

    #[tokio::test]
    async fn only_a_refusal_of_the_mail_is_for_good() {
        let cases: [(Script, bool, &str); 18] = [
            (&[("RCPT", "550 no such user")], true, "refused the mail for good (550 no such user)"),
            (&[("RCPT", "550 5.1.1 <anna@example.org>: unknown")], true, "'tacdrop notice readdress'"),
            (&[("RCPT", "550 5.7.1 Relaying denied")], false, "because of a setting (550 5.7.1 Relaying denied)"),
            (&[("RCPT", "550 relay not permitted")], false, "because of a setting"),
            (&[("RCPT", "553 not in my rcpthosts (#5.7.1)")], false, "because of a setting"),
            (&[("RCPT", "550 5.1.8 Sender address rejected")], false, "because of a setting"),
            (&[("RCPT", "554 5.7.1 Relay access denied")], false, "because of a setting"),
            (&[("MAIL", "501 bad sender")], false, "(501 bad sender)"),
            (&[("MAIL", "553 5.7.1 not owned by user")], false, "(553 5.7.1 not owned by user)"),
            (&[("end", "554 spam")], true, "(554 spam)"),
            (&[("end", "552 5.3.4 too large")], true, "'tacdrop notice retry'"),
            (&[("RCPT", "450 mailbox busy")], false, "did not take the mail (450 mailbox busy)"),
            (&[("end", "451 later")], false, "(451 later)"),
            (&[("MAIL", "530 authentication required")], false, "(530 authentication required)"),
            (&[("greeting", "554 no service")], false, "cannot be reached (554 no service)"),
            (&[("greeting", "421 too busy")], false, "(421 too busy)"),
            (&[("RCPT", "what?")], false, "did not take the mail"),
            (&[("DATA", "452 disk full")], false, "(452 disk full)"),
        ];
        for (script, for_good, words) in cases {
            let error = carry(settings(sink(script).await.port)).await.unwrap_err();
            assert_eq!(matches!(error, DeliveryError::Permanent(_)), for_good, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().starts_with("The mail server 127.0.0.1:"), "{error}");
        }
    }

    #[tokio::test]
    async fn behind_the_final_dot_the_code_decides_and_silence_is_no_refusal() {
        for taken in ["250", "250-one\r\n250-two\r\n250 three", "251 \u{fc}bernommen", "250 ok\n"] {
            let script: Script = Box::leak(Box::new([("end", taken)]));
            carry(settings(sink(script).await.port)).await.unwrap();
        }
        for lost in ["what?", "354 go on", ""] {
            let script: Script = Box::leak(Box::new([("end", lost)]));
            let error = carry(settings(sink(script).await.port)).await.unwrap_err();
            assert!(matches!(error, DeliveryError::Unknown(_)), "{lost}: {error}");
        }
    }

    #[tokio::test]
    async fn who_does_not_know_ehlo_hears_helo() {
        let sink = sink(&[("EHLO", "502 what?")]).await;
        carry(settings(sink.port)).await.unwrap();
        assert_eq!(sink.heard.lock().unwrap()[1], "HELO [127.0.0.1]");
    }

    #[tokio::test]
    async fn r60_a_reply_that_quotes_a_file_name_or_acts_is_not_kept() {
        let port = sink(&[("end", "554 rejected because of core.gz")]).await.port;
        let error = carry(settings(port)).await.unwrap_err().to_string();
        assert!(error.contains("(554)") && !error.contains("core.gz"), "{error}");
        let port = sink(&[("RCPT", "550 \x1b[31mred")]).await.port;
        let error = carry(settings(port)).await.unwrap_err().to_string();
        assert!(error.contains("red") && !error.contains('\x1b'), "{error}");
    }

    #[tokio::test]
    async fn a_closed_port_is_temporary() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = carry(settings(port)).await.unwrap_err();
        assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("cannot be reached")), "{error}");
    }

    #[tokio::test]
    async fn a_silent_server_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings(listener.local_addr().unwrap().port());
        settings.timeout = Duration::from_millis(50);
        let error = carry(settings).await.unwrap_err();
        assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("was not ready")), "{error}");
    }

    #[tokio::test]
    async fn a_login_is_shown_and_its_refusal_is_temporary() {
        let login = || Some(Login { user: "u".into(), password: Zeroizing::new("p".into()) });
        let taken = sink(&[("EHLO", "250-sink\r\n250 AUTH PLAIN"), ("AUTH", "235 welcome")]).await;
        let mut with_login = settings(taken.port);
        with_login.login = login();
        carry(with_login).await.unwrap();
        // base64 of NUL u NUL p (RFC 4616).
        assert_eq!(taken.heard.lock().unwrap()[1], "AUTH PLAIN AHUAcA==");

        let refused = sink(&[("EHLO", "250-sink\r\n250 AUTH PLAIN"), ("AUTH", "535 wrong")]).await;
        let mut with_login = settings(refused.port);
        with_login.login = login();
        let error = carry(with_login).await.unwrap_err();
        assert!(
            matches!(&error, DeliveryError::Temporary(s) if s.contains("refused the login (535 wrong)")),
            "{error}"
        );
        assert!(refused.mails.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn without_starttls_nothing_is_sent() {
        let sink = sink(&[]).await;
        let mut settings = settings(sink.port);
        settings.tls = Tls::StartTls;
        let error = carry(settings).await.unwrap_err();
        assert!(matches!(&error, DeliveryError::Temporary(s) if s.contains("did not start TLS")), "{error}");
        assert!(!sink.heard.lock().unwrap().iter().any(|line| line.starts_with("MAIL")));
    }
}
