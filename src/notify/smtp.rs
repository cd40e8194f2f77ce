//! Hands mails to a mail server by SMTP (RFC 5321), one connection for each.
//!
//! lettre's connection is used and not its transport: a refusal of the message ends its delivery for good, a refused
//! login does not; a server without 8BITMIME gets another encoding; and a message that was taken counts as taken even
//! when the goodbye fails.

use std::error::Error as _;
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::notify::carrier::{Carrier, DeliveryError};
use crate::notify::inert;
use crate::notify::mail::Mail;
use crate::notify::outbox::Channel;

/// How long the goodbye may take. Nothing depends on it.
const GOODBYE: Duration = Duration::from_secs(2);
/// The most of a server's reply that is kept, in characters.
const REPLY: usize = 200;

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
    /// The longest that each of two steps may take: connecting up to the login; handing over.
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

/// A mail server.
pub struct Smtp {
    settings: SmtpSettings,
    hello: ClientId,
    tls: Option<TlsParameters>,
}

impl Smtp {
    /// Takes the settings and reads the machine's certificate authorities.
    ///
    /// # Errors
    /// A sentence when TLS cannot be set up for this host.
    pub fn new(settings: SmtpSettings) -> Result<Self, String> {
        let tls = match settings.tls {
            Tls::None => None,
            Tls::StartTls | Tls::Implicit => Some(TlsParameters::new(settings.host.clone()).map_err(|why| {
                format!("TLS to the mail server {} cannot be set up ({why}); check notify.smtp.host.", settings.host)
            })?),
        };
        let hello = settings.helo.clone().map(ClientId::Domain).unwrap_or_default();
        Ok(Self { settings, hello, tls })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let settings = &self.settings;
        let server = (settings.host.as_str(), settings.port);
        let wrapper = self.tls.clone().filter(|_| settings.tls == Tls::Implicit);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(settings.timeout), &self.hello, wrapper, None)
                .await
                .map_err(|why| self.temporary("cannot be reached", &why, "check notify.smtp.{host,port,tls}"))?;
        if let (Tls::StartTls, Some(tls)) = (settings.tls, &self.tls) {
            connection
                .starttls(tls.clone(), &self.hello)
                .await
                .map_err(|why| self.temporary("did not start TLS", &why, "check notify.smtp.tls"))?;
        }
        if let Some(login) = &settings.login {
            let credentials = Credentials::new(login.user.clone(), login.password.to_string());
            let accepted = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            if let Err(why) = accepted {
                connection.abort().await;
                return Err(self.temporary(
                    "refused the login",
                    &why,
                    "check notify.smtp.user and notify.smtp.password",
                ));
            }
        }
        Ok(connection)
    }

    async fn hand_over(&self, connection: &mut AsyncSmtpConnection, mail: &Mail) -> Result<(), DeliveryError> {
        let server = connection.server_info();
        let ascii = mail.envelope().to().iter().all(|address| AsRef::<str>::as_ref(address).is_ascii());
        if !ascii && !server.supports_feature(Extension::SmtpUtfEight) {
            return Err(DeliveryError::Permanent(format!(
                "{} does not know SMTPUTF8, so it cannot reach an address that is not ASCII; give the engineer another.",
                self.name()
            )));
        }
        let bytes = if server.supports_feature(Extension::EightBitMime) { mail.bytes() } else { mail.seven_bit() };
        let Err(why) = connection.send(mail.envelope(), bytes).await else { return Ok(()) };
        // A server may quote the mail in its reply; what it quotes must not reach the records.
        let reply = reply(&why);
        let reply = if mail.is_named_in(&reply) { status(&why) } else { reply };
        // 530: the server wants a login first (RFC 4954). That is a matter of settings, not of this mail.
        let for_good = why.is_permanent() && why.status().is_none_or(|code| u16::from(code) != 530);
        Err(if for_good {
            DeliveryError::Permanent(format!(
                "{} refused the mail for good ({reply}); check the engineer's address and notify.smtp.from.",
                self.name()
            ))
        } else {
            DeliveryError::Temporary(format!("{} did not take the mail ({reply}).", self.name()))
        })
    }

    fn name(&self) -> String {
        format!("The mail server {}:{}", self.settings.host, self.settings.port)
    }

    fn temporary(&self, what: &str, why: &SmtpError, advice: &str) -> DeliveryError {
        DeliveryError::Temporary(format!("{} {what} ({}); {advice}.", self.name(), reply(why)))
    }

    fn too_slow(&self, what: &str) -> DeliveryError {
        let seconds = self.settings.timeout.as_secs();
        DeliveryError::Temporary(format!("{} {what} within {seconds} s (notify.smtp.timeout_seconds).", self.name()))
    }
}

impl Carrier for Smtp {
    fn channel(&self) -> Channel {
        Channel::Mail
    }

    async fn carry(&self, mail: &Mail) -> Result<(), DeliveryError> {
        let limit = self.settings.timeout;
        let mut connection = timeout(limit, self.connect()).await.map_err(|_| self.too_slow("was not ready"))??;
        timeout(limit, self.hand_over(&mut connection, mail))
            .await
            .map_err(|_| self.too_slow("did not take the mail"))??;
        // Taken is taken: whatever comes of the goodbye, the mail must not be sent again.
        let _ = timeout(GOODBYE, connection.quit()).await;
        Ok(())
    }
}

/// What went wrong, on one line: the server's code and words, or the machine's.
fn reply(why: &SmtpError) -> String {
    let words = why.source().map(ToString::to_string).unwrap_or_else(|| why.to_string());
    let words = match why.status() {
        Some(code) => format!("{code} {words}"),
        None => words,
    };
    inert::short_line(words.trim(), REPLY)
}

fn status(why: &SmtpError) -> String {
    why.status().map_or_else(|| "its words are not kept: they name a file".to_owned(), |code| code.to_string())
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
        let cases: [(Script, bool, &str); 10] = [
            (&[("RCPT", "550 no such user")], true, "refused the mail for good (550 no such user)"),
            (&[("MAIL", "501 bad sender")], true, "(501 bad sender)"),
            (&[("end", "554 spam")], true, "(554 spam)"),
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
