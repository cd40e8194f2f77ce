//! The second listener, for old devices (`[legacy]`): opened if it is set and its last day is not
//! over.

use std::net::TcpListener;
use std::sync::Arc;

use russh::keys::PrivateKey;

use super::{Error, bind, door_limits, legacy_host_key};
use crate::admission::AdmissionControl;
use crate::app::{App, PublicAddress};
use crate::config::Config;
use crate::model::Time;
use crate::ssh;

/// The door for old devices, before it opens.
pub(super) struct Legacy {
    listener: TcpListener,
    host_key: PrivateKey,
    rules: ssh::LegacyRules,
}

impl Legacy {
    /// Binds its address and writes it down where commands find it. None if no such door is set, or
    /// its last day is over: then the rest of the house goes on without it.
    pub(super) async fn open(config: &Config, app: &App) -> Result<Option<Self>, Error> {
        let Some(settings) = &config.legacy else {
            app.set_legacy_address(None).await?;
            return Ok(None);
        };
        if settings.until.is_over(Time::now()) {
            app.set_legacy_address(None).await?;
            tracing::error!(
                until = %settings.until,
                "the legacy listener does not start: its last day is over; set another legacy.until, or remove legacy.listen"
            );
            return Ok(None);
        }
        let host_key = legacy_host_key(app).await?;
        let listener = bind(settings.listen, "legacy.listen").await?;
        let (host, port) = settings.public_address(&config.server, listener.local_addr()?);
        app.set_legacy_address(Some(&PublicAddress { host, port })).await?;
        let rules = ssh::LegacyRules { allow: settings.allow.clone(), until: settings.until };
        Ok(Some(Self { listener, host_key, rules }))
    }

    pub(super) fn start(self, config: &Config, app: &App) -> Result<ssh::Door, Error> {
        let Self { listener, host_key, rules } = self;
        let (address, until) = (listener.local_addr()?, rules.until);
        let fingerprint = ssh::fingerprint(&host_key);
        let limits = door_limits(config);
        // A few old devices need no thread for each core, and no window that grows: all that is
        // granted is the main door's.
        let limits = ssh::Limits { shards: 1, window_most: limits.window, ..limits };
        let words = super::door_words(config);
        let admissions = AdmissionControl::new(limits.admissions);
        let settings = ssh::Settings {
            profile: ssh::Profile::Legacy(rules),
            host_keys: vec![host_key],
            limits,
            words,
            admissions,
        };
        let door = ssh::start(listener, settings, Arc::clone(app.access()))?;
        tracing::warn!(%until, fingerprint, "the legacy listener takes old devices with weak encryption at {address}");
        Ok(door)
    }
}
