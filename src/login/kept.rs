//! Logins of doors whose requests each bring the secret along, kept for a while: so that the next
//! request neither hashes a password again nor is a login of its own in the trail.
//!
//! A login that is kept is as open as one of a connection: what ends that ends this, and what it
//! opens asks its grants. It is found by the keyed hash of name, address and secret; the secret
//! itself is not kept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Login, Logins};
use crate::model::{Locked, Time};

/// Logins that are kept. More: the one that was unused for longest goes.
const MOST: usize = 4096;
/// For how long one is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(600);

/// Keyed hashes of what somebody showed, and the logins that were opened by it.
#[derive(Default)]
pub(super) struct Kept(Locked<HashMap<[u8; 32], KeptLogin>>);

struct KeptLogin {
    login: Login,
    used: Instant,
}

impl KeptLogin {
    fn is_over(&self, now: Instant) -> bool {
        let state = &self.login.0;
        now.saturating_duration_since(self.used) >= IDLE
            || state.ended.is_cancelled()
            || state.has_ended()
            || state.is_past(Time::now())
    }
}

impl Logins {
    /// The login that was opened by the same name, secret and address, if it is still valid.
    pub fn kept(&self, user: &str, secret: &str, from: IpAddr) -> Option<Login> {
        let (key, now) = (self.shown(user, secret, from), Instant::now());
        let mut gone = None;
        let mut kept = self.kept.0.lock();
        let found = match kept.get_mut(&key) {
            Some(one) if one.is_over(now) => {
                gone = kept.remove(&key);
                None
            }
            Some(one) => {
                one.used = now;
                Some(one.login.clone())
            }
            None => None,
        };
        drop(kept);
        // Its last drop writes to the trail, which has a lock of its own.
        drop(gone);
        found
    }

    /// Keeps a login. If another request has opened one by the same meanwhile, gives that.
    pub fn keep(&self, user: &str, secret: &str, from: IpAddr, login: Login) -> Login {
        let (key, now) = (self.shown(user, secret, from), Instant::now());
        let mut kept = self.kept.0.lock();
        if let Some(one) = kept.get_mut(&key).filter(|one| !one.is_over(now)) {
            one.used = now;
            let (there, rest) = (one.login.clone(), login);
            drop(kept);
            drop(rest);
            return there;
        }
        let replaced = kept.insert(key, KeptLogin { login: login.clone(), used: now });
        let oldest = kept.iter().min_by_key(|(_, one)| one.used).map(|(key, _)| *key);
        let crowded_out = oldest.filter(|_| kept.len() > MOST).and_then(|oldest| kept.remove(&oldest));
        drop(kept);
        drop((replaced, crowded_out));
        login
    }

    /// Lets those go that nobody uses any more, or that have ended. To be called every now and then.
    pub fn let_go(&self) {
        let now = Instant::now();
        let over: Vec<KeptLogin> = {
            let mut kept = self.kept.0.lock();
            let keys: Vec<_> = kept.iter().filter(|(_, one)| one.is_over(now)).map(|(key, _)| *key).collect();
            keys.iter().filter_map(|key| kept.remove(key)).collect()
        };
        drop(over);
    }

    /// Lets all of them go: their door closes.
    pub fn let_all_go(&self) {
        let all = std::mem::take(&mut *self.kept.0.lock());
        drop(all);
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn kept_count(&self) -> usize {
        self.kept.0.lock().len()
    }

    fn shown(&self, user: &str, secret: &str, from: IpAddr) -> [u8; 32] {
        // No address holds a blank, so no name and address run into each other.
        self.repo.keys.token().hash(&format!("http {from} {user}"), secret)
    }
}
