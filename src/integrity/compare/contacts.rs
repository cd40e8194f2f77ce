//! Contacts against the trail.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Compared;
use super::house::text;
use crate::audit::{Kind, told};
use crate::records::compare::{self, ContactSide};
use crate::records::{Conn, customer_settings};
use crate::repo::{Error, Repo};

/// What the trail tells of a contact.
#[derive(Default)]
struct Known {
    organisation: String,
    address: Option<String>,
    until: Option<String>,
    keys: BTreeSet<String>,
    disabled: bool,
    password: bool,
    settings: Settings,
}

/// What is set for a contact, of which the trail tells.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Settings {
    mail: bool,
    receipts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mail: true, receipts: false }
    }
}

/// What the trail tells of all contacts that were not removed.
#[derive(Default)]
pub(super) struct Told(BTreeMap<String, Known>);

impl Told {
    pub(super) fn tell(&mut self, kind: Kind, detail: &Value) {
        let Some(id) = text(detail, "contact") else { return };
        if kind == Kind::ContactRemoved {
            self.0.remove(&id);
            return;
        }
        let known = match kind {
            Kind::ContactAdded => self.0.entry(id).or_default(),
            _ => match self.0.get_mut(&id) {
                Some(known) => known,
                None => return,
            },
        };
        match kind {
            Kind::ContactAdded | Kind::ContactChanged => {
                known.address = text(detail, "address");
                known.until = text(detail, "until");
                // Entries of before these could be set say nothing of them.
                let flag = |name, without| detail.get(name).and_then(Value::as_bool).unwrap_or(without);
                known.settings = Settings { mail: flag("mail", true), receipts: flag("receipts", false) };
                if kind == Kind::ContactAdded {
                    known.organisation = text(detail, "organisation").unwrap_or_default();
                    let keys = detail.get("keys").and_then(Value::as_array).into_iter().flatten();
                    known.keys.extend(keys.filter_map(Value::as_str).map(str::to_owned));
                }
            }
            Kind::ContactDisabled => known.disabled = true,
            Kind::ContactEnabled => known.disabled = false,
            Kind::ContactKeyAdded => known.keys.extend(text(detail, "key")),
            Kind::ContactKeyRemoved => {
                known.keys.remove(&text(detail, "key").unwrap_or_default());
            }
            Kind::ContactPasswordSet => {
                known.password = detail.get("password").and_then(Value::as_bool).unwrap_or_default();
            }
            _ => {}
        }
    }

    /// All passwords ended with the key that hashed them.
    pub(super) fn passwords_ended(&mut self) {
        self.0.values_mut().for_each(|known| known.password = false);
    }
}

/// The rows of contacts and of their keys.
pub(super) struct Rows {
    contacts: Vec<compare::Found<ContactSide>>,
    keys: Vec<compare::Found<(String, String)>>,
    settings: BTreeMap<String, Settings>,
}

pub(super) async fn gather(conn: &mut Conn) -> Result<Rows, Error> {
    let set = customer_settings::contacts(conn).await?.into_iter();
    let set = set.map(|row| {
        let settings = Settings { mail: row.mail, receipts: row.receipts };
        (row.contact.to_string(), settings)
    });
    Ok(Rows {
        contacts: compare::contacts(conn).await?,
        keys: compare::contact_keys(conn).await?,
        settings: set.collect(),
    })
}

pub(super) fn judge(repo: &Repo, rows: Rows, mut told_of: Told, outcome: &mut Compared) {
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in rows.keys {
        match key {
            Ok((contact, fingerprint)) => _ = there.entry(contact).or_default().insert(fingerprint),
            Err((contact, error)) => {
                outcome.add("contact", contact, None, format!("has a key that cannot be read: {error}"));
            }
        }
    }
    for row in rows.contacts {
        outcome.people += 1;
        let row = match row {
            Ok(row) => row,
            Err((id, error)) => {
                outcome.add("contact", id, None, format!("cannot be read: {error}"));
                continue;
            }
        };
        let mut differs = |what: String| outcome.add("contact", row.id.clone(), None, what);
        let Some(known) = told_of.0.remove(&row.id) else {
            differs("was never added, as the trail tells".to_owned());
            continue;
        };
        if known.organisation != row.organisation {
            let (is, was) = (&row.organisation, &known.organisation);
            differs(format!("has the organisation {is}, and the trail says {was}"));
        }
        if known.disabled != row.disabled {
            let what = if known.disabled { "was disabled, and is not" } else { "is disabled, and nobody did that" };
            differs(what.to_owned());
        }
        if known.password != row.has_password {
            let what = if known.password { "lacks its password" } else { "has a password that nobody set" };
            differs(what.to_owned());
        }
        if known.until != row.valid_until {
            differs("is valid until another day than was set".to_owned());
        }
        if known.settings != rows.settings.get(&row.id).copied().unwrap_or_default() {
            differs("is told something else by mail than was set".to_owned());
        }
        let address = told::address(repo.keys.trail(), &row.id, &row.email);
        if known.address.is_some_and(|known| known != address) {
            differs("has another mail address than was set".to_owned());
        }
        let keys = there.remove(&row.id).unwrap_or_default();
        for key in keys.difference(&known.keys) {
            differs(format!("has the key {key}, which nobody added"));
        }
        for key in known.keys.difference(&keys) {
            differs(format!("lacks the key {key}, which nobody removed"));
        }
    }
    for (id, _) in told_of.0 {
        outcome.add("contact", id, None, "was added, as the trail tells, and has no row");
    }
    for (id, _) in there {
        outcome.add("contact", id, None, "has keys and no row");
    }
}
