//! What `tacdrop ticket open` and `tacdrop ticket edit` take about a ticket's people, and how that
//! is shown.

use clap::Args;

use super::engineer::address;
use super::given::switched;
use crate::app::{PeopleChanges, PeopleLine};
use crate::model::Identifier;
use crate::model::rights::{Denied, Right, Visibility};

const PEOPLE: &str = "Who sees it, and what customers may do";

/// What both commands take.
#[derive(Debug, Args)]
#[command(next_help_heading = PEOPLE)]
pub(crate) struct PeopleArgs {
    /// Which contacts see it: the one named first, those named, or all
    #[arg(long, value_name = "only|named|organisation")]
    visibility: Option<Visibility>,
    /// Name a contact; can be given several times
    #[arg(long = "contact", value_name = "ID")]
    contacts: Vec<Identifier>,
    /// The organisation that the ticket's own one acts for
    #[arg(long, value_name = "ORG")]
    affected: Option<Identifier>,
    /// The team whose members work on it, too
    #[arg(long, value_name = "TEAM")]
    team: Option<Identifier>,
    /// A mail address that gets a copy of each notice, and no access; can be given several times
    #[arg(long = "watcher", value_name = "ADDRESS", value_parser = address)]
    watchers: Vec<String>,
    /// Customers see only what their own session has sent
    #[arg(long)]
    drop_box: bool,
    /// What customers may not do: 'list', 'read', 'overwrite', 'delete', with commas, or 'nothing'
    #[arg(long, value_name = "RIGHTS", value_parser = denied)]
    deny: Option<Denied>,
}

/// What `edit` takes beside.
#[derive(Debug, Args)]
#[command(next_help_heading = PEOPLE)]
pub(crate) struct PeopleEditArgs {
    #[command(flatten)]
    people: PeopleArgs,
    /// Take a contact off; can be given several times
    #[arg(long = "no-contact", value_name = "ID")]
    without_contacts: Vec<Identifier>,
    /// The ticket's organisation acts for nobody
    #[arg(long, conflicts_with = "affected")]
    no_affected: bool,
    /// The ticket belongs to no team
    #[arg(long, conflicts_with = "team")]
    no_team: bool,
    /// An address that gets no copies any more; can be given several times
    #[arg(long = "no-watcher", value_name = "ADDRESS", value_parser = address)]
    without_watchers: Vec<String>,
    /// Customers see what other sessions have sent
    #[arg(long, conflicts_with = "drop_box")]
    no_drop_box: bool,
    /// Customers are told by mail what support hands back; that is so unless it is taken away
    #[arg(long)]
    mail: bool,
    /// Customers are told nothing of this ticket by mail
    #[arg(long, conflicts_with = "mail")]
    no_mail: bool,
}

fn denied(text: &str) -> Result<Denied, String> {
    if text == "nothing" {
        return Ok(Denied::default());
    }
    let denied: Denied = text.parse()?;
    if denied.has(Right::Others) { Err("for that there is --drop-box".to_owned()) } else { Ok(denied) }
}

impl PeopleArgs {
    pub(crate) fn changes(self) -> PeopleChanges {
        let Self { visibility, contacts, affected, team, watchers, drop_box, deny } = self;
        PeopleChanges {
            visibility,
            contacts,
            affected: affected.map(Some),
            team: team.map(Some),
            watchers,
            drop_box: drop_box.then_some(true),
            denied: deny,
            ..PeopleChanges::default()
        }
    }
}

impl PeopleEditArgs {
    pub(crate) fn changes(self) -> PeopleChanges {
        let mut changes = self.people.changes();
        changes.without_contacts = self.without_contacts;
        changes.without_watchers = self.without_watchers;
        if self.no_affected {
            changes.affected = Some(None);
        }
        if self.no_team {
            changes.team = Some(None);
        }
        if self.no_drop_box {
            changes.drop_box = Some(false);
        }
        changes.mail = switched(self.mail, self.no_mail);
        changes
    }
}

/// A ticket's people, as lines.
pub(crate) fn shown(people: &PeopleLine) -> String {
    let mut text = format!(
        "Seen by:      {}",
        match people.visibility {
            Visibility::Only => "the contact named first",
            Visibility::Named => "the contacts named",
            Visibility::Organisation => "all contacts of its organisation",
        }
    );
    let mut line = |heading: &str, value: String| {
        if !value.is_empty() {
            text += &format!("\n{heading:<13} {value}");
        }
    };
    line("Contacts:", people.contacts.join(", "));
    line("Affected:", people.affected.clone().unwrap_or_default());
    line("Team:", people.team.clone().unwrap_or_default());
    line("Watchers:", people.watchers.join(", "));
    if people.drop_box {
        line("Drop box:", "customers see only what their own session has sent".to_owned());
    }
    let denied: Vec<_> = people.denied.iter().map(|right| right.as_str()).collect();
    line("Denied:", denied.join(", "));
    line("Rights by:", people.rights_from.as_ref().map(|rule| format!("the policy, {rule}")).unwrap_or_default());
    if !people.mail {
        line("Mail:", "its customers are told nothing".to_owned());
    }
    text
}
