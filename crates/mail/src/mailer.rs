//! What takes a finished mail to where people (or their mail server) find it.

use std::future::Future;

use crate::message::Mail;
use crate::notice::Channel;
use crate::smtp::Smtp;
use crate::spool::Spool;

/// A way to hand over mails. Handing over the same mail twice must do no harm.
pub trait Mailer: Send + Sync + 'static {
    /// What the records call this way.
    fn channel(&self) -> Channel;

    /// Hands the mail over, if it may at the last moment. `Ok` means that the other side has it for
    /// good. May be dropped at any await.
    fn send(&self, mail: &Mail, permission: &impl Permission)
    -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// Asked before the step behind which the other side may have a mail: a notice may have been ended
/// or sent elsewhere since its mail was written, and what is handed over must be known also after a
/// crash.
pub trait Permission: Send + Sync {
    /// Whether the mail may be handed over.
    ///
    /// # Errors
    /// Why it may not; the carrier hands nothing over then, and gives this error on.
    fn ask(&self) -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// Why a mail was not handed over. The sentence is in English, on one line, and names no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It may go better later.
    #[error("{0}")]
    Temporary(String),
    /// It was handed over, and the other side did not say whether it took it: it may have it.
    #[error("{0}")]
    Unknown(String),
    /// It will never go: trying again would only annoy the other side.
    #[error("{0}")]
    Permanent(String),
    /// It was not handed over, because by now it need not be, or goes elsewhere.
    #[error("The notice was ended, or goes elsewhere by now.")]
    Overtaken,
}

/// The carrier that the settings ask for.
pub enum AnyMailer {
    /// A mail server.
    Mail(Box<Smtp>),
    /// A spool directory.
    Spool(Spool),
}

impl Mailer for AnyMailer {
    fn channel(&self) -> Channel {
        match self {
            Self::Mail(smtp) => smtp.channel(),
            Self::Spool(spool) => spool.channel(),
        }
    }

    async fn send(&self, mail: &Mail, permission: &impl Permission) -> Result<(), DeliveryError> {
        match self {
            Self::Mail(smtp) => smtp.send(mail, permission).await,
            Self::Spool(spool) => spool.send(mail, permission).await,
        }
    }
}
