//! Collects values from the file and the environment under dotted names, and hands them out typed
//! and checked.
//!
//! What is asked for is what is known: the list of known keys cannot differ from the code that
//! reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{ConfigError, PREFIX, Secret};

/// The least likeness (0 to 1) at which a key's last word alone speaks for it.
const SAME_WORD: f64 = 0.8;

/// All that was set, and all that was asked for.
#[derive(Default)]
pub(super) struct Reader {
    values: BTreeMap<String, Entry>,
    asked: Vec<&'static str>,
}

struct Entry {
    value: Value,
    origin: Origin,
}

#[derive(Clone, PartialEq)]
enum Origin {
    File(PathBuf),
    /// The name of the variable.
    Environment(String),
}

impl Reader {
    /// Takes the text of a settings file.
    pub(super) fn add_file(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|why| {
            // The parser's own report would quote the line, and with it perhaps a secret.
            let before = why.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            ConfigError::Syntax { file: file.to_owned(), line, why: why.message().to_owned() }
        })?;
        self.flatten(String::new(), Value::Table(table), &Origin::File(file.to_owned()));
        Ok(())
    }

    /// Takes an environment variable; `words`: its name without the prefix. It replaces what the
    /// file says.
    pub(super) fn add_variable(&mut self, name: &str, words: &str, value: String) {
        let key = words.to_lowercase().replace("__", ".");
        self.values.insert(key, Entry { value: Value::String(value), origin: Origin::Environment(name.to_owned()) });
    }

    fn flatten(&mut self, name: String, value: Value, origin: &Origin) {
        match value {
            Value::Table(table) if !table.is_empty() || name.is_empty() => {
                for (key, value) in table {
                    let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                    self.flatten(name, value, origin);
                }
            }
            value => {
                self.values.insert(name, Entry { value, origin: origin.clone() });
            }
        }
    }

    /// Refuses what is not among the known keys.
    pub(super) fn refuse_unknown(&self, known: &[&str]) -> Result<(), ConfigError> {
        for (key, entry) in &self.values {
            // Whatever is below a key (`{ file = ... }`, or nonsense) is judged by who reads that
            // key.
            let is_known = known.iter().any(|k| key == k || key.strip_prefix(k).is_some_and(|r| r.starts_with('.')));
            let is_section = known.iter().any(|k| k.strip_prefix(key.as_str()).is_some_and(|r| r.starts_with('.')));
            if is_section && !matches!(entry.value, Value::Table(_)) {
                let problem = format!("this is a section; write its keys as [{key}], then one on each line");
                return Err(ConfigError::Value { place: place(key, &entry.origin), problem });
            }
            if !is_known && !is_section {
                let nearest = nearest(key, known).unwrap_or_default();
                let nearest = match &entry.origin {
                    Origin::File(_) => format!("'{nearest}'"),
                    Origin::Environment(_) => variable(nearest),
                };
                return Err(ConfigError::Unknown { place: place(key, &entry.origin), nearest });
            }
        }
        Ok(())
    }

    /// All keys that were asked for.
    pub(super) fn into_asked(self) -> Vec<&'static str> {
        self.asked
    }

    /// The place of a key, or of what is below it, for a sentence about it.
    fn place(&self, key: &str) -> String {
        let below = || self.values.range(format!("{key}.")..format!("{key}/")).next().map(|(_, entry)| entry);
        self.values.get(key).or_else(below).map_or_else(|| key.to_owned(), |entry| place(key, &entry.origin))
    }

    /// An error about a key.
    pub(super) fn refuse(&self, key: &str, problem: impl fmt::Display) -> ConfigError {
        ConfigError::Value { place: self.place(key), problem: problem.to_string() }
    }

    /// A whole number within a range.
    pub(super) fn whole<T>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        range: RangeInclusive<u64>,
    ) -> Result<(), ConfigError>
    where
        T: TryFrom<u64>,
    {
        let Some(entry) = self.ask(key)? else { return Ok(()) };
        let number = match (&entry.value, &entry.origin) {
            (Value::Integer(number), _) => u64::try_from(*number).ok(),
            (Value::String(text), Origin::Environment(_)) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        *slot = number.ok_or_else(|| {
            let problem = format!("this must be a whole number from {} to {}", range.start(), range.end());
            ConfigError::Value { place: place(key, &entry.origin), problem }
        })?;
        Ok(())
    }

    /// A text that is not empty and has no control characters.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(entry) = self.ask(key)? else { return Ok(None) };
        match &entry.value {
            Value::String(text) if !text.is_empty() && !text.chars().any(char::is_control) => Ok(Some(text.clone())),
            _ => Err(ConfigError::Value {
                place: place(key, &entry.origin),
                problem: "this must be a text that is not empty, on one line".to_owned(),
            }),
        }
    }

    /// A date as a text. TOML has a form of its own for dates, which is as good.
    pub(super) fn date(&mut self, key: &'static str) -> Result<Option<String>, ConfigError> {
        if let Some(Value::Datetime(date)) = self.values.get(key).map(|entry| &entry.value) {
            let text = date.to_string();
            self.asked.push(key);
            return Ok(Some(text));
        }
        self.text(key)
    }

    /// A text that a type can parse.
    pub(super) fn parsed<T: std::str::FromStr>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        must_be: &str,
    ) -> Result<(), ConfigError> {
        if let Some(text) = self.text(key)? {
            *slot = text.parse().map_err(|_| self.refuse(key, format!("this must be {must_be}")))?;
        }
        Ok(())
    }

    /// One word of a list.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        slot: &mut T,
        choices: &[(&str, T)],
    ) -> Result<(), ConfigError> {
        if let Some(text) = self.text(key)? {
            *slot = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                self.refuse(key, format!("this must be one of {}", words.join(", ")))
            })?;
        }
        Ok(())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, slot: &mut bool) -> Result<(), ConfigError> {
        let Some(entry) = self.ask(key)? else { return Ok(()) };
        *slot = match (&entry.value, &entry.origin) {
            (Value::Boolean(flag), _) => *flag,
            (Value::String(text), Origin::Environment(_)) if text == "true" => true,
            (Value::String(text), Origin::Environment(_)) if text == "false" => false,
            _ => return Err(self.refuse(key, "this must be true or false")),
        };
        Ok(())
    }

    /// A list of texts; in the environment separated by commas.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(entry) = self.ask(key)? else { return Ok(None) };
        let texts = match (&entry.value, &entry.origin) {
            (Value::Array(values), _) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
            (Value::String(text), Origin::Environment(_)) => {
                Some(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
            }
            _ => None,
        };
        texts.map(Some).ok_or_else(|| ConfigError::Value {
            place: place(key, &entry.origin),
            problem: "this must be a list of texts, as [\"one\", \"two\"]".to_owned(),
        })
    }

    /// A path; in a file it starts at the file's directory.
    pub(super) fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let text = self.text(key)?;
        Ok(text.map(|text| self.resolve(key, &text)))
    }

    /// A reference to a secret.
    pub(super) fn secret(&mut self, key: &'static str) -> Result<Option<Secret>, ConfigError> {
        self.asked.push(key);
        if let Some(entry) = self.values.get(key) {
            let advice = match &entry.origin {
                Origin::File(_) => {
                    let word = key.rsplit('.').next().unwrap_or(key);
                    format!("write {word} = {{ file = \"...\" }} or {word} = {{ env = \"...\" }}")
                }
                Origin::Environment(name) => {
                    format!("set {name}__FILE to the path of a file, or {name}__ENV to the name of a variable")
                }
            };
            return Err(ConfigError::InlineSecret { place: place(key, &entry.origin), advice });
        }
        let forms: Vec<(String, Origin)> = self
            .values
            .range(format!("{key}.")..format!("{key}/"))
            .map(|(name, entry)| (name.clone(), entry.origin.clone()))
            .collect();
        // The environment replaces the file, also where it chooses the other form.
        let from_environment = forms.iter().any(|(_, origin)| matches!(origin, Origin::Environment(_)));
        let mut found = None;
        for (name, origin) in forms {
            if from_environment && matches!(origin, Origin::File(_)) {
                continue;
            }
            let form = name.strip_prefix(key).unwrap_or_default().trim_start_matches('.').to_owned();
            let value = match self.values.get(&name).map(|entry| &entry.value) {
                Some(Value::String(text)) if !text.is_empty() => text.clone(),
                _ => return Err(ConfigError::Value { place: place(&name, &origin), problem: TWO_FORMS.to_owned() }),
            };
            let secret = match form.as_str() {
                "file" => Secret::File(self.resolve(&name, &value)),
                "env" => Secret::Env(value),
                _ => return Err(ConfigError::Value { place: place(&name, &origin), problem: TWO_FORMS.to_owned() }),
            };
            if found.replace(secret).is_some() {
                return Err(ConfigError::Value { place: place(&name, &origin), problem: TWO_FORMS.to_owned() });
            }
        }
        Ok(found)
    }

    fn ask(&mut self, key: &'static str) -> Result<Option<&Entry>, ConfigError> {
        self.asked.push(key);
        let below = self.values.range(format!("{key}.")..format!("{key}/")).next();
        if let Some((name, entry)) = below {
            let problem = format!("'{key}' is one value and has nothing below it");
            return Err(ConfigError::Value { place: place(name, &entry.origin), problem });
        }
        Ok(self.values.get(key))
    }

    fn resolve(&self, key: &str, path: &str) -> PathBuf {
        match self.values.get(key).map(|entry| &entry.origin) {
            Some(Origin::File(file)) => file.parent().unwrap_or(Path::new("")).join(path),
            _ => PathBuf::from(path),
        }
    }
}

const TWO_FORMS: &str = "a secret is either { file = \"PATH\" } or { env = \"NAME\" }, nothing else and not both";

fn place(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(file) => format!("{}, '{key}'", file.display()),
        Origin::Environment(name) => name.clone(),
    }
}

/// The environment variable of a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The known key that is most like an unknown one: as a whole, or by its last word where the
/// section is missing or wrong.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, candidate);
        let word = strsim::normalized_damerau_levenshtein(&last(key), &last(candidate));
        if word >= SAME_WORD { whole.max(word * SAME_WORD) } else { whole }
    };
    known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}
