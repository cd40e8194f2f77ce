//! The policy's file: how long tickets are kept, who closes them, what customers may not do in them,
//! and what they need. It is a file of its own, as
//! other people than the machine's operators agree on what stands in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use super::ConfigError;
use crate::app::{ChecklistItem as Item, Closing, CustomerRights, Period, Policy, RightsRule, Rule, Start};
use crate::model::Identifier;
use crate::model::rights::{Denied, Right};

/// The longest file, in bytes.
const LONGEST: u64 = 1 << 20;
/// The longest text of an item of a checklist, in characters.
const LONGEST_ITEM: usize = 120;
/// The most items of a checklist.
const MOST_ITEMS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    retention: BTreeMap<Parsed<Identifier>, Retention>,
    #[serde(default)]
    rights: Rights,
    #[serde(default)]
    checklist: BTreeMap<Parsed<Identifier>, Checklist>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retention {
    start: Parsed<Start>,
    period: Parsed<Period>,
    #[serde(default)]
    organisation: BTreeMap<Parsed<Identifier>, Organisation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Organisation {
    period: Parsed<Period>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rights {
    close: Option<Parsed<Closing>>,
    #[serde(default)]
    customers: BTreeMap<Parsed<Identifier>, Customers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Customers {
    deny: Option<Parsed<Deny>>,
    drop_box: Option<bool>,
    #[serde(default)]
    organisation: BTreeMap<Parsed<Identifier>, CustomersOf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomersOf {
    deny: Option<Parsed<Deny>>,
    drop_box: Option<bool>,
}

/// What `--deny` takes as well.
struct Deny(Denied);

impl FromStr for Deny {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "nothing" {
            return Ok(Self(Denied::default()));
        }
        let denied: Denied = text.parse()?;
        if denied.has(Right::Others) {
            return Err("for that there is drop_box".to_owned());
        }
        if denied == Denied::default() { Err("to deny nothing, say \"nothing\"".to_owned()) } else { Ok(Self(denied)) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checklist {
    items: Vec<ItemOf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemOf {
    id: Parsed<Identifier>,
    en: Parsed<ItemText>,
    de: Parsed<ItemText>,
    #[serde(default)]
    required: bool,
}

/// What an item is, for people: on one line, and nothing that makes a program around a client wait
/// for a prompt, as it is said after the login.
struct ItemText(String);

impl FromStr for ItemText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let folded = text.to_lowercase();
        if text.trim().is_empty() || text.chars().count() > LONGEST_ITEM || text.chars().any(char::is_control) {
            return Err("an item's text is 1 to 120 characters on one line");
        }
        if ["password", "passphrase", "denied"].iter().any(|word| folded.contains(word)) {
            return Err(
                "an item's text says neither 'password', 'passphrase' nor 'denied': programs look for these words",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// A value that is a text in the file. Its error names the line.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Parsed<T>(T);

impl<'de, T: std::str::FromStr<Err: std::fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Reads a policy.
///
/// # Errors
/// If it cannot be read, or says what no policy says: with its line.
pub(super) fn read(file: &Path) -> Result<Arc<Policy>, ConfigError> {
    let unreadable = |why| ConfigError::Unreadable { file: file.to_owned(), why };
    if std::fs::metadata(file).map_err(unreadable)?.len() > LONGEST {
        return Err(ConfigError::Syntax {
            file: file.to_owned(),
            line: 1,
            why: "this is too long for a policy".into(),
        });
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let File { retention, rights, checklist } = parse(file, &text)?;
    for (section, names) in [
        ("retention", retention.keys().map(|kind| &kind.0).collect::<Vec<_>>()),
        ("rights.customers", rights.customers.keys().map(|kind| &kind.0).collect()),
        ("checklist", checklist.keys().map(|kind| &kind.0).collect()),
    ]
    .into_iter()
    .chain(retention.values().map(|rule| ("organisation", rule.organisation.keys().map(|id| &id.0).collect())))
    .chain(rights.customers.values().map(|rule| ("organisation", rule.organisation.keys().map(|id| &id.0).collect())))
    {
        if let Some(name) = twice(&names) {
            let why = format!("{section}.{name} is there twice: upper and lower case are the same in names");
            let header = format!("{section}.{name}]");
            let line = text.lines().position(|line| line.contains(&header)).map_or(1, |before| before + 1);
            return Err(ConfigError::Syntax { file: file.to_owned(), line, why });
        }
    }
    let rule = |Retention { start, period, organisation }| Rule {
        start: start.0,
        period: period.0,
        organisations: organisation.into_iter().map(|(id, own)| (id.0, own.period.0)).collect(),
    };
    let said = |deny: Option<Parsed<Deny>>, drop_box| CustomerRights { denied: deny.map(|deny| deny.0.0), drop_box };
    let customers = |Customers { deny, drop_box, organisation }| RightsRule {
        all: said(deny, drop_box),
        organisations: organisation.into_iter().map(|(id, own)| (id.0, said(own.deny, own.drop_box))).collect(),
    };
    let mut checklists = BTreeMap::new();
    for (kind, list) in checklist {
        let items = items_of(&kind.0, list).map_err(|why| ConfigError::Syntax {
            file: file.to_owned(),
            line: line_of(&text, &format!("[checklist.{}]", kind.0)),
            why,
        })?;
        checklists.insert(kind.0.to_string(), items);
    }
    Ok(Arc::new(Policy {
        rights: rights.customers.into_iter().map(|(kind, own)| (kind.0.to_string(), customers(own))).collect(),
        checklists,
        retention: retention.into_iter().map(|(kind, own)| (kind.0.to_string(), rule(own))).collect(),
        close: rights.close.map_or(Closing::One, |close| close.0),
    }))
}

/// The name that differs from another one only in case, if there is one.
fn twice<'a>(names: &[&'a Identifier]) -> Option<&'a Identifier> {
    let is_same = |at: usize, name: &Identifier| {
        names.iter().take(at).any(|before| before.as_str().eq_ignore_ascii_case(name.as_str()))
    };
    names.iter().enumerate().find_map(|(at, name)| is_same(at, name).then_some(*name))
}

/// The items of a checklist, each once.
fn items_of(kind: &Identifier, list: Checklist) -> Result<Vec<Item>, String> {
    let mut items: Vec<Item> = Vec::new();
    for ItemOf { id, en, de, required } in list.items {
        if items.iter().any(|item| item.id == id.0) {
            return Err(format!("checklist.{kind} has the item {} twice", id.0));
        }
        items.push(Item { id: id.0, en: en.0.0, de: de.0.0, required });
    }
    if items.len() > MOST_ITEMS {
        return Err(format!("checklist.{kind} has more than {MOST_ITEMS} items"));
    }
    Ok(items)
}

/// The number of the first line that begins so; 1 if none does.
fn line_of(text: &str, beginning: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(beginning)).map_or(1, |before| before + 1)
}

fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|why: toml::de::Error| {
        let before = why.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ConfigError::Syntax { file: file.to_owned(), line, why: why.message().to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Policy, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        let place = format!("{}/", directory.path().display());
        read(&file).map(Arc::unwrap_or_clone).map_err(|why| why.to_string().replace(&place, ""))
    }

    #[test]
    fn the_shipped_policy_says_what_its_comments_say_and_removes_nothing() {
        let example = include_str!("../../config/policy.toml");
        let shipped = load(example).unwrap();
        assert_eq!(Policy { checklists: BTreeMap::new(), ..shipped.clone() }, Policy::default());
        let required = |kind: &str| shipped.checklists[kind].iter().filter(|item| item.required).count();
        assert_eq!((required("incident"), required("rma")), (4, 4));
        assert!(shipped.checklists.values().flatten().all(|item| item.en != item.de));
        let is_key = |line: &str| {
            (line.starts_with("# [") && line.ends_with(']'))
                || (line.starts_with("# ") && (line.contains(" = \"") || line.starts_with("# drop_box = ")))
        };
        let all: Vec<_> = example.lines().map(|line| if is_key(line) { &line[2..] } else { line }).collect();
        let policy = load(&all.join("\n")).unwrap();
        assert_eq!(policy.close, Closing::Both);
        let (said, rule) = policy.rights_of("rma", &"ACME".parse().unwrap()).unwrap();
        assert_eq!((said.denied, said.drop_box), ("read,delete".parse().ok(), Some(false)));
        assert_eq!(rule, "rights.customers.rma.organisation.ACME");
        let (said, rule) = policy.rights_of("rma", &"OTHER".parse().unwrap()).unwrap();
        assert_eq!(
            (said.denied, said.drop_box, &*rule),
            ("read,delete".parse().ok(), Some(true), "rights.customers.rma")
        );
        assert_eq!(policy.rights_of("incident", &"ACME".parse().unwrap()), None);
        // Upper and lower case are the same in names.
        let acme = "acme".parse().unwrap();
        assert_eq!(policy.rights_of("RMA", &acme).unwrap().0.drop_box, Some(false));
        let other = "OTHER".parse().unwrap();
        let period = |kind, organisation| policy.rule(kind, organisation).unwrap().to_string();
        assert_ne!(period("Incident", &acme), period("Incident", &other));
        assert_eq!(policy.checklist_of("RMA").map(<[_]>::len), policy.checklist_of("rma").map(<[_]>::len));
        assert_eq!(policy.organisations().iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["ACME"]);
        let kinds: Vec<_> = policy.retention.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["incident", "rma"]);
        assert_eq!(policy.retention["incident"].period.to_string(), "90d");
        assert_eq!(policy.retention["incident"].organisations.len(), 1);
        assert!(example.lines().all(|line| line.len() <= 120));
    }

    #[test]
    fn what_no_policy_says_is_refused_with_its_line() {
        for (text, sentence) in [
            (
                "[retention.rma]\nstart = \"closed\"\nperiod = \"90d\"\n[retention.RMA]\nstart = \"closed\"\nperiod = \"9d\"",
                "policy.toml, line 1: retention.rma is there twice",
            ),
            ("\n[retentoin.incident]", "policy.toml, line 2: unknown field `retentoin`"),
            (
                "[retention.incident]\nstart = \"closed\"\nperiod = \"90d\"\nend = 1",
                "policy.toml, line 4: unknown field `end`",
            ),
            ("[retention.incident]\nstart = \"closed\"", "policy.toml, line 1: missing field `period`"),
            ("[retention.incident]\nstart = \"close\"\nperiod = \"90d\"", "policy.toml, line 2: the start is"),
            ("[retention.incident]\nstart = \"closed\"\nperiod = \"90\"", "policy.toml, line 3: a period is a number"),
            ("[retention.incident]\nstart = \"closed\"\nperiod = 90", "policy.toml, line 3: invalid type"),
            ("[retention.\"a b\"]\nstart = \"closed\"\nperiod = \"9d\"", "policy.toml, line 1: it must begin with"),
            ("[rights.customers.rma]\ndeny = \"others\"", "policy.toml, line 2: for that there is drop_box"),
            ("[rights.customers.rma]\ndeny = \"all\"", "policy.toml, line 2: 'all' is no right of customers"),
            ("[rights.customers.rma]\ndeny = \"\"", "policy.toml, line 2: to deny nothing, say"),
            ("[rights.customers.rma]\nallow = \"list\"", "policy.toml, line 2: unknown field `allow`"),
            ("[checklist.rma]\nitems = [{ id = \"a\", en = \"a\" }]", "policy.toml, line 2: missing field `de`"),
            (
                "[checklist.rma]\nitems = [{ id = \"a\", en = \"Your password\", de = \"b\" }]",
                "policy.toml, line 2: an item's text says neither",
            ),
            (
                "[checklist.rma]\nitems = [{ id = \"a\", en = \"\", de = \"b\" }]",
                "policy.toml, line 2: an item's text is 1",
            ),
            (
                "\n[checklist.rma]\nitems = [{ id = \"a\", en = \"a\", de = \"b\" }, { id = \"a\", en = \"a\", de = \"b\" }]",
                "policy.toml, line 2: checklist.rma has the item a twice",
            ),
            ("[rights]\nclose = \"all\"", "policy.toml, line 2: who closes a ticket is"),
            ("[rights\n", "policy.toml, line 1: "),
        ] {
            let said = load(text).unwrap_err();
            assert!(said.starts_with(sentence), "{text}: {said}");
        }
        assert!(read(Path::new("/nowhere/policy.toml")).is_err());
    }
}
