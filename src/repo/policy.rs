//! What the house has agreed on with its customers: how long a closed ticket is kept, and who
//! closes one. `config` reads it from its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::checklist::Item;
use crate::model::rights::Denied;
use crate::model::{Identifier, Time};
use crate::records::tickets::Ticket;

/// What becomes of tickets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long tickets of a kind are kept. A kind that is not there is kept for ever.
    pub retention: BTreeMap<String, Rule>,
    /// Who closes a ticket.
    pub close: Closing,
    /// What customers may not do in tickets of a kind, unless it is said of the ticket.
    pub rights: BTreeMap<String, RightsRule>,
    /// What tickets of a kind need.
    pub checklists: BTreeMap<String, Vec<Item>>,
}

/// What customers may not do in tickets of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RightsRule {
    /// In all of them.
    pub all: CustomerRights,
    /// In those of some organisations instead.
    pub organisations: BTreeMap<Identifier, CustomerRights>,
}

/// What a rule says of customers' rights; what is none is not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CustomerRights {
    /// What they may not do.
    pub denied: Option<Denied>,
    /// Whether they see only what their own session has sent.
    pub drop_box: Option<bool>,
}

/// How long tickets of one kind are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// From when on.
    pub start: Start,
    /// For how long.
    pub period: Period,
    /// For how long those of some organisations are kept instead.
    pub organisations: BTreeMap<Identifier, Period>,
}

/// From when on a ticket's time is counted. It never ends before the ticket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// From when it was closed.
    Closed,
    /// From when it was opened.
    Opened,
}

impl FromStr for Start {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "closed" => Ok(Self::Closed),
            "opened" => Ok(Self::Opened),
            _ => Err("the start is \"closed\" or \"opened\""),
        }
    }
}

/// Who closes a ticket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Closing {
    /// Whoever wants to.
    #[default]
    One,
    /// The engineer and a contact, both.
    Both,
}

impl FromStr for Closing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "one" => Ok(Self::One),
            "both" => Ok(Self::Both),
            _ => Err("who closes a ticket is \"one\" or \"both\""),
        }
    }
}

/// A time as people write one: `12h`, `90d`, `6w`, `10y`; a year has 365 days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    text: String,
    length: Duration,
}

/// The longest period: 100 years.
const LONGEST: u64 = 100 * 365 * 24;

impl Period {
    /// How long it is.
    pub const fn length(&self) -> Duration {
        self.length
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a period is a number with h, d, w or y behind it, from 1h to 100y, as \"90d\"";
        let unit = text.bytes().last().ok_or(FORM)?;
        let hours = match unit {
            b'h' => 1,
            b'd' => 24,
            b'w' => 7 * 24,
            b'y' => 365 * 24,
            _ => return Err(FORM),
        };
        let digits = text.get(..text.len() - 1).unwrap_or_default();
        // `+8` and `08` are numbers for Rust, and mistakes here.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.starts_with('0') {
            return Err(FORM);
        }
        let hours = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(hours)).ok_or(FORM)?;
        if hours > LONGEST {
            return Err(FORM);
        }
        Ok(Self { text: text.to_owned(), length: Duration::from_secs(hours * 3600) })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rule that holds for one ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleOf<'a> {
    kind: &'a str,
    organisation: Option<&'a Identifier>,
    start: Start,
    period: &'a Period,
}

/// The words of a rule, as the deletion log has them.
impl fmt::Display for RuleOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retention.{}", self.kind)?;
        if let Some(organisation) = self.organisation {
            write!(f, ".organisation.{organisation}")?;
        }
        let start = match self.start {
            Start::Closed => "closed",
            Start::Opened => "opened",
        };
        write!(f, ": {} after {start}", self.period)
    }
}

impl RuleOf<'_> {
    /// When the time of a ticket is over that was opened and closed then.
    fn end(&self, opened_at: Time, closed_at: Time) -> Time {
        match self.start {
            Start::Closed => closed_at.plus(self.period.length),
            Start::Opened => opened_at.plus(self.period.length).max(closed_at),
        }
    }
}

/// What stands under a name. Upper and lower case are the same in names of kinds and of organisations.
fn named<'a, K: AsRef<str>, T>(rules: &'a BTreeMap<K, T>, name: &str) -> Option<(&'a K, &'a T)> {
    rules.iter().find(|(own, _)| own.as_ref().eq_ignore_ascii_case(name))
}

impl Policy {
    /// The rule for tickets of a kind of an organisation; none if they are kept for ever.
    pub fn rule<'a>(&'a self, kind: &'a str, organisation: &'a Identifier) -> Option<RuleOf<'a>> {
        let (_, rule) = named(&self.retention, kind)?;
        let own = named(&rule.organisations, organisation.as_str());
        let (organisation, period) = own.map_or((None, &rule.period), |(id, period)| (Some(id), period));
        Some(RuleOf { kind, organisation, start: rule.start, period })
    }

    /// What tickets of a kind need; none if nothing is said of that kind.
    pub fn checklist_of(&self, kind: &str) -> Option<&[Item]> {
        named(&self.checklists, kind).map(|(_, items)| &items[..])
    }

    /// The organisations that rules of their own are for.
    pub fn organisations(&self) -> BTreeSet<&Identifier> {
        let of_retention = self.retention.values().flat_map(|rule| rule.organisations.keys());
        of_retention.chain(self.rights.values().flat_map(|rule| rule.organisations.keys())).collect()
    }

    /// What customers may not do in tickets of a kind of an organisation, and the name of the rule
    /// that says so; none if no rule says anything. What a rule for an organisation leaves out is as
    /// in all tickets of the kind.
    pub fn rights_of(&self, kind: &str, organisation: &Identifier) -> Option<(CustomerRights, String)> {
        let (_, rule) = named(&self.rights, kind)?;
        let own = named(&rule.organisations, organisation.as_str()).map(|(_, own)| own);
        let said = CustomerRights {
            denied: own.and_then(|own| own.denied).or(rule.all.denied),
            drop_box: own.and_then(|own| own.drop_box).or(rule.all.drop_box),
        };
        let name = match own {
            Some(_) => format!("rights.customers.{kind}.organisation.{organisation}"),
            None => format!("rights.customers.{kind}"),
        };
        (said != CustomerRights::default()).then_some((said, name))
    }

    /// The rule for a ticket and when its time is over; no time while it is open.
    pub(crate) fn end_of<'a>(&'a self, ticket: &'a Ticket) -> Option<(RuleOf<'a>, Option<Time>)> {
        let rule = self.rule(ticket.kind.as_str(), &ticket.organisation)?;
        Some((rule, ticket.closed_at.map(|closed_at| rule.end(ticket.opened_at, closed_at))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_is_a_number_and_a_unit() {
        for (text, hours) in
            [("1h", 1), ("90d", 90 * 24), ("6w", 6 * 7 * 24), ("10y", 10 * 365 * 24), ("100y", LONGEST)]
        {
            assert_eq!(
                (period(text).length(), period(text).to_string()),
                (Duration::from_secs(hours * 3600), text.into())
            );
        }
        for text in [
            "",
            "d",
            "0d",
            "90",
            "90 d",
            "+9d",
            "09d",
            "-1d",
            "1m",
            "1s",
            "101y",
            "99999999999999999999d",
            "9ä",
            "1.5d",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_says_when_the_time_is_over_and_in_which_words() {
        let (acme, other): (Identifier, Identifier) = ("ACME".parse().unwrap(), "OTHER".parse().unwrap());
        let rule = |start| Rule { start, period: period("90d"), organisations: [(acme.clone(), period("30d"))].into() };
        let kinds = [("incident".to_owned(), rule(Start::Closed)), ("rma".to_owned(), rule(Start::Opened))];
        let policy = Policy { retention: kinds.into(), ..Policy::default() };
        let (opened, closed) = (Time::from_seconds(0), Time::from_seconds(86_400));
        let days = |days: u64| Time::from_seconds(0).plus(Duration::from_secs(days * 86_400));
        for (kind, organisation, end, words) in [
            ("incident", &other, 91, "retention.incident: 90d after closed"),
            ("incident", &acme, 31, "retention.incident.organisation.ACME: 30d after closed"),
            ("rma", &other, 90, "retention.rma: 90d after opened"),
        ] {
            let rule = policy.rule(kind, organisation).unwrap();
            assert_eq!((rule.end(opened, closed), rule.to_string()), (days(end), words.to_owned()));
        }
        assert_eq!(policy.rule("rma", &acme).unwrap().end(opened, days(80)), days(80), "not before it is closed");
        assert_eq!(policy.rule("question", &acme), None);
    }
}
