//! One conversation with a mail server: commands as lines, and a reply to each.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::reply::{NoReply, Reply};
use super::trust::Distrust;
use super::{Login, Patience};

/// How much of a mail's text is sent at a time, in bytes.
const BLOCK: usize = 32 * 1024;

/// TLS to one mail server.
#[derive(Clone)]
pub(super) struct Encryption {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Encryption {
    /// Trusts the machine's certificate authorities.
    pub(super) fn to(host: &str) -> Result<Self, String> {
        use tokio_rustls::rustls::crypto::aws_lc_rs;
        use tokio_rustls::rustls::{ClientConfig, RootCertStore};

        let name = ServerName::try_from(host.to_owned()).map_err(|why| why.to_string())?;
        let mut roots = RootCertStore::empty();
        // One that cannot be read trusts nobody; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| why.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Encrypts a connection, if the server is the one that it should be.
    async fn shake_hands(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, NoReply> {
        let shaken = self.connector.connect(self.name.clone(), stream).await;
        shaken.map_err(|error| Distrust::of(&error).map_or(NoReply::Closed(error), NoReply::Distrusted))
    }
}

/// A connection, encrypted or not.
enum Line {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, to),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, to),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A conversation.
pub(super) struct Session {
    line: BufReader<Line>,
    patience: Patience,
    /// What the server said behind EHLO, in upper case; nothing if it only knows HELO.
    extensions: Vec<String>,
    /// Whether what is said is a mail's text, or its end has not been answered.
    within_text: bool,
}

impl Session {
    /// Connects, encrypted from the first byte if `encryption` is given.
    pub(super) async fn connect(
        host: &str,
        port: u16,
        patience: Patience,
        encryption: Option<&Encryption>,
    ) -> Result<Self, NoReply> {
        let limit = patience.connecting;
        let connect = async {
            let stream = TcpStream::connect((host, port)).await?;
            Ok::<_, NoReply>(match encryption {
                None => Line::Plain(stream),
                Some(tls) => Line::Encrypted(Box::new(tls.shake_hands(stream).await?)),
            })
        };
        let line = timeout(limit, connect).await.map_err(|_| NoReply::Late(limit))??;
        Ok(Self { line: BufReader::new(line), patience, extensions: Vec::new(), within_text: false })
    }

    /// Encrypts from here on. What came unencrypted before is nothing to go by (RFC 3207, section
    /// 4.2).
    pub(super) async fn encrypt(mut self, tls: &Encryption) -> Result<Self, NoReply> {
        let limit = self.patience.connecting;
        // What is still under way ends the handshake, as it is no TLS.
        if !self.line.buffer().is_empty() {
            return Err(NoReply::Distrusted(Distrust::Injected));
        }
        let Line::Plain(stream) = self.line.into_inner() else {
            return Err(NoReply::NotUnderstood("it is encrypted already".to_owned()));
        };
        let shaken = timeout(limit, tls.shake_hands(stream)).await.map_err(|_| NoReply::Late(limit))?;
        let stream = shaken.map_err(|why| match why {
            NoReply::Distrusted(Distrust::NoTls) => NoReply::Distrusted(Distrust::Injected),
            why => why,
        })?;
        self.line = BufReader::new(Line::Encrypted(Box::new(stream)));
        self.extensions.clear();
        Ok(self)
    }

    /// The server's first words.
    pub(super) async fn greeting(&mut self) -> Result<Reply, NoReply> {
        Reply::read(&mut self.line, self.patience.command).await
    }

    /// Introduces itself; to a server that does not know EHLO in the old way (RFC 5321, section
    /// 3.2).
    pub(super) async fn hello(&mut self, name: &str) -> Result<Reply, NoReply> {
        let reply = self.command(&format!("EHLO {name}")).await?;
        if matches!(reply.code(), 500..=504 | 550) {
            return self.command(&format!("HELO {name}")).await;
        }
        self.extensions = reply.lines().iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(reply)
    }

    /// Whether the server knows an extension.
    pub(super) fn knows(&self, extension: &str) -> bool {
        self.extensions.iter().any(|line| line.split(' ').next() == Some(extension))
    }

    /// Logs in, by the first of PLAIN and LOGIN that the server takes.
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<Reply, NoReply> {
        let offered = |mechanism: &str| {
            let all = self.extensions.iter().filter_map(|line| line.strip_prefix("AUTH"));
            all.flat_map(|words| words.split([' ', '='])).any(|word| word == mechanism)
        };
        let password = login.password.as_str();
        if offered("PLAIN") {
            // RFC 4616.
            let secret = Zeroizing::new(format!("\0{}\0{password}", login.user));
            return self.secret_command("AUTH PLAIN ", secret.as_bytes()).await;
        }
        if offered("LOGIN") {
            let mut reply = self.command("AUTH LOGIN").await?;
            for secret in [login.user.as_bytes(), password.as_bytes()] {
                if reply.code() != 334 {
                    return Ok(reply);
                }
                reply = self.secret_command("", secret).await?;
            }
            return Ok(reply);
        }
        Err(NoReply::NotUnderstood("it offers neither AUTH PLAIN nor AUTH LOGIN".to_owned()))
    }

    async fn secret_command(&mut self, command: &str, secret: &[u8]) -> Result<Reply, NoReply> {
        let encoded = Zeroizing::new(Base64::encode_string(secret));
        let line = Zeroizing::new(format!("{command}{}", encoded.as_str()));
        self.command(&line).await
    }

    /// Says a line and hears the answer.
    pub(super) async fn command(&mut self, line: &str) -> Result<Reply, NoReply> {
        let bytes = Zeroizing::new(format!("{line}\r\n"));
        self.say(bytes.as_bytes(), self.patience.command).await?;
        Reply::read(&mut self.line, self.patience.command).await
    }

    /// Sends a mail behind DATA, without the final dot: until that is said, the server has nothing.
    pub(super) async fn send(&mut self, mail: &[u8]) -> Result<(), NoReply> {
        self.within_text = true;
        let Patience { block: each, text: limit, .. } = self.patience;
        let all = async {
            for block in with_dots(mail).chunks(BLOCK) {
                self.say(block, each).await?;
            }
            Ok(())
        };
        timeout(limit, all).await.map_err(|_| NoReply::Late(limit))?
    }

    /// Says the final dot and waits for what becomes of the mail. Whatever goes wrong from here on,
    /// the server may have it.
    pub(super) async fn end(&mut self) -> Result<Reply, NoReply> {
        self.say(b".\r\n", self.patience.command).await?;
        let reply = Reply::read(&mut self.line, self.patience.final_dot).await?;
        self.within_text = false;
        Ok(reply)
    }

    /// Whether a command would be taken for a mail's text.
    pub(super) fn is_within_text(&self) -> bool {
        self.within_text
    }

    async fn say(&mut self, bytes: &[u8], limit: Duration) -> Result<(), NoReply> {
        let said = timeout(limit, async {
            self.line.get_mut().write_all(bytes).await?;
            self.line.get_mut().flush().await
        });
        Ok(said.await.map_err(|_| NoReply::Late(limit))??)
    }
}

/// A mail as it goes over the line: a dot before each line that begins with one (RFC 5321, section
/// 4.5.2), ended by CRLF.
fn with_dots(mail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(mail.len() + 64);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(line);
    }
    // Whatever the mail ends with, the final dot begins a line.
    bytes.extend_from_slice(b"\r\n");
    bytes
}
