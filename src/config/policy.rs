//! The policy's file: how long tickets are kept, and who closes them. It is a file of its own, as
//! other people than the machine's operators agree on what stands in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use super::ConfigError;
use crate::app::{Closing, Period, Policy, Rule, Start};
use crate::model::Identifier;

/// The longest file, in bytes.
const LONGEST: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    retention: BTreeMap<Parsed<Identifier>, Retention>,
    #[serde(default)]
    rights: Rights,
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
    let File { retention, rights } = parse(file, &text)?;
    let rule = |Retention { start, period, organisation }| Rule {
        start: start.0,
        period: period.0,
        organisations: organisation.into_iter().map(|(id, own)| (id.0, own.period.0)).collect(),
    };
    Ok(Arc::new(Policy {
        retention: retention.into_iter().map(|(kind, own)| (kind.0.to_string(), rule(own))).collect(),
        close: rights.close.map_or(Closing::One, |close| close.0),
    }))
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
        assert_eq!(load(example), Ok(Policy::default()));
        let is_key = |line: &str| {
            (line.starts_with("# [") && line.ends_with(']')) || (line.starts_with("# ") && line.contains(" = \""))
        };
        let all: Vec<_> = example.lines().map(|line| if is_key(line) { &line[2..] } else { line }).collect();
        let policy = load(&all.join("\n")).unwrap();
        assert_eq!(policy.close, Closing::Both);
        let kinds: Vec<_> = policy.retention.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["incident", "rma"]);
        assert_eq!(policy.retention["incident"].period.to_string(), "90d");
        assert_eq!(policy.retention["incident"].organisations.len(), 1);
        assert!(example.lines().all(|line| line.len() <= 120));
    }

    #[test]
    fn what_no_policy_says_is_refused_with_its_line() {
        for (text, sentence) in [
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
            ("[rights]\nclose = \"all\"", "policy.toml, line 2: who closes a ticket is"),
            ("[rights\n", "policy.toml, line 1: "),
        ] {
            let said = load(text).unwrap_err();
            assert!(said.starts_with(sentence), "{text}: {said}");
        }
        assert!(read(Path::new("/nowhere/policy.toml")).is_err());
    }
}
