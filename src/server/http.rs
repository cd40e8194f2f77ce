//! The HTTP door (`[http]`): opened if it is set, with its certificate, which is read again when its
//! files change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Error, bind};
use crate::admission::AdmissionControl;
use crate::app::App;
use crate::config::{self, Config, HttpTls};
use crate::http;

/// How often is looked whether the certificate has changed.
const LOOK: Duration = Duration::from_secs(10);
/// The largest file of a certificate or a key, in bytes.
const LARGEST: u64 = 1 << 20;
/// What may be spoken, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The HTTP door, before it opens.
pub(super) struct Http {
    listener: TcpListener,
    settings: config::Http,
    tls: Option<Arc<ServerConfig>>,
}

impl Http {
    /// Binds its address and reads its certificate. None if no such door is set.
    pub(super) async fn open(config: &Config) -> Result<Option<Self>, Error> {
        let Some(settings) = config.http.clone() else { return Ok(None) };
        let tls = settings.tls.as_ref().map(read).transpose().map_err(Error::Setting)?;
        let listener = bind(settings.listen, "http.listen").await?;
        Ok(Some(Self { listener, settings, tls }))
    }

    /// Opens it. What re-reads the certificate runs here until `stop`.
    pub(super) fn start(
        self,
        config: &Config,
        app: &App,
        admissions: AdmissionControl,
        stop: &CancellationToken,
    ) -> Result<(http::Door, SocketAddr), Error> {
        let Self { listener, settings, tls } = self;
        let address = listener.local_addr()?;
        let limits = http::Limits {
            failures: config.limits.failures_per_connection,
            rejection_delay: Duration::from_millis(config.limits.rejection_milliseconds),
            stall: Duration::from_secs(config.limits.stalled_seconds),
            slowest: settings.slowest_kib_per_minute << 10,
            ..http::Limits::default()
        };
        let host = settings.public_host().map(str::to_owned);
        let tls = match (tls, settings.tls) {
            (Some(first), Some(files)) => {
                let (sender, receiver) = watch::channel(first);
                tokio::spawn(keep_read(files, sender, stop.clone()));
                Some(receiver)
            }
            _ => None,
        };
        let door_settings = http::Settings { tls, proxies: settings.trusted_proxies, host, limits, admissions };
        let door = http::start(listener, door_settings, Arc::clone(app.access()))?;
        Ok((door, address))
    }
}

/// Reads the certificate and its key; a sentence if they cannot be used.
fn read(files: &HttpTls) -> Result<Arc<ServerConfig>, String> {
    let unfit = |setting: &str, path: &Path, why: &dyn std::fmt::Display| {
        format!("{setting}: {} cannot be used: {why}", path.display())
    };
    let (certificate, key) = ("http.tls.certificate", "http.tls.key");
    let text = text_of(&files.certificate).map_err(|why| unfit(certificate, &files.certificate, &why))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|why| unfit(certificate, &files.certificate, &why))?;
    if chain.is_empty() {
        return Err(unfit(certificate, &files.certificate, &"there is no certificate in it, as PEM"));
    }
    let text = text_of(&files.key).map_err(|why| unfit(key, &files.key, &why))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|why| unfit(key, &files.key, &why))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|why| unfit(certificate, &files.certificate, &why))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn text_of(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(64 << 10));
    File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// When a file was last written, and how long it is.
fn mark(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

/// Reads the certificate again whenever its files have changed. What cannot be used is told of, and
/// the old one stays.
async fn keep_read(files: HttpTls, sender: watch::Sender<Arc<ServerConfig>>, stop: CancellationToken) {
    let marks = || (mark(&files.certificate), mark(&files.key));
    let mut known = marks();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let now = marks();
        if now == known {
            continue;
        }
        known = now;
        match read(&files) {
            Ok(config) => {
                sender.send_replace(config);
                tracing::info!("the certificate of the HTTP door was read again");
            }
            Err(why) => tracing::error!(why, "the HTTP door goes on with its old certificate"),
        }
    }
}
