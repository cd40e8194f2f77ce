//! Why a mail server is not trusted, in words that an operator can act on.

use std::io;

use tokio_rustls::rustls::{CertificateError, Error, InvalidMessage};

/// Why TLS with a mail server did not begin. Nothing but greetings was said by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    /// The certificate is somebody else's.
    #[error("its certificate is for other names than {{host}}; set notify.smtp.host to a name that stands in it")]
    Name,
    /// Nobody vouches for it whom this machine trusts.
    #[error(
        "its certificate is from an authority that this machine does not know; add that to the machine's certificate \
         authorities and start tacdrop again"
    )]
    Authority,
    /// It was valid once.
    #[error("its certificate has expired; have it renewed, and check this machine's clock")]
    Expired,
    /// It will be valid.
    #[error("its certificate is not valid yet; check this machine's clock, and the mail server's certificate")]
    Early,
    /// It is not to be used any more.
    #[error("its certificate was revoked; have it replaced")]
    Revoked,
    /// It is no certificate of a server that TLS could use.
    #[error("its certificate is not one for a TLS server; have it replaced")]
    Unfit,
    /// What answers is no TLS.
    #[error(
        "it does not speak TLS there; notify.smtp.tls is \"tls\" for a port that encrypts from the first byte (465), \
         \"starttls\" for one that begins with a greeting (587)"
    )]
    NoTls,
    /// Something was put in before TLS began.
    #[error(
        "it, or somebody on the way to it, sent something between its answer to STARTTLS and TLS; look who that is"
    )]
    Injected,
}

impl Distrust {
    /// What a failed handshake is about; none: something else, as a connection that broke.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::InvalidCertificate(why) => match why {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Name,
                CertificateError::UnknownIssuer => Self::Authority,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::Early,
                CertificateError::Revoked => Self::Revoked,
                _ => Self::Unfit,
            },
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NoTls,
            _ => return None,
        })
    }

    /// The sentence for a mail server that is reached as `host`.
    pub(super) fn sentence(self, host: &str) -> String {
        self.to_string().replace("{host}", host)
    }
}
