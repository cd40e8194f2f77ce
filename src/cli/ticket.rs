//! `tacdrop ticket`: opening, showing, assigning and closing tickets, and their tokens.

use clap::Subcommand;

use super::Desk;
use super::block::TicketView;
use super::checklist::{self, ChecklistArgs};
use super::devices::Devices;
use super::failure::Failure;
use super::moving;
use super::people;
use super::retention;
use super::ticket_edit::{self, Details, Edit};
use super::ticket_list::TicketList;
use super::ticket_token::Tokens;
use crate::app::{
    App, Checklist, LEGACY_HOST_KEY, NewTicket, PeopleLine, PublicAddress, TicketEnd, TicketLine, TokenLine,
};
use crate::model::{ArtifactId, Identifier, Language, Priority, Reference, Side, TicketStatus, TokenKind};
use crate::server;
use crate::ssh;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open a ticket with a share of its own, and show its token once
    Open {
        /// The reference as the ticket system writes it; each run of '#', '.', '/' and blanks in it
        /// is a '-' in the customer's user name, and none at either end
        #[arg(value_name = "REF")]
        reference: Reference,
        /// Whose problem it is
        #[arg(long, value_name = "ID")]
        organisation: Identifier,
        /// Who works on it and is told what comes
        #[arg(long, value_name = "ID")]
        engineer: Identifier,
        /// What it is about
        #[arg(long)]
        title: Option<String>,
        /// 1 (critical) to 4 (low)
        #[arg(long, value_name = "1..4", default_value_t = Priority::MEDIUM)]
        priority: Priority,
        /// The customer's language
        #[arg(long, value_name = "de|en")]
        language: Option<Language>,
        /// The token is typed on network devices: it can only send, also by the listener for old
        /// devices
        #[arg(long)]
        device: bool,
        #[command(flatten)]
        details: Details,
    },
    /// Change what is said of a ticket, who sees it, and who is told; '' takes a thing away
    Edit {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        #[command(flatten)]
        edit: Edit,
    },
    /// List tickets, with what lies in them
    List(TicketList),
    /// Show the block to paste into a ticket system
    Show(Which),
    /// Make a new token in the place of the old one, or keep several
    Token(Tokens),
    /// Give a ticket, and the notices that wait, to another engineer
    Assign {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        /// Who works on it from now on
        engineer: Identifier,
    },
    /// Show what a ticket needs by its kind and what of that is there, or tick it
    Checklist(ChecklistArgs),
    /// Close a ticket: its share can be read, and takes no uploads
    Close {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        /// For which side; the policy may want both
        #[arg(long, value_name = "engineer|contact")]
        by: Option<Side>,
    },
    /// Move all artifacts of a ticket into another one, and close it with a pointer to that
    Merge {
        /// The ticket whose artifacts go
        #[arg(value_name = "REF")]
        reference: Reference,
        /// The ticket that they go into
        #[arg(value_name = "INTO")]
        into: Reference,
        /// Also into a ticket of another organisation, which then sees the files
        #[arg(long)]
        yes: bool,
    },
    /// Open a ticket with the people of another one, and move some of its artifacts there
    Split {
        /// The ticket that is split
        #[arg(value_name = "REF")]
        reference: Reference,
        /// The new ticket
        #[arg(value_name = "NEW")]
        new: Reference,
        /// An artifact's id, as 'artifact list REF --json' shows it; can be given several times
        #[arg(long = "artifact", value_name = "ID", required = true)]
        artifacts: Vec<ArtifactId>,
    },
    /// Open a closed ticket again
    Reopen(Which),
    /// Destroy the keys of a ticket and remove everything of it, for good
    Shred {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        /// Do it; without this it is only said what would be done
        #[arg(long)]
        yes: bool,
    },
    /// Keep everything of a ticket until it is released: nothing is removed, by no rule and nobody
    Hold {
        /// The ticket
        #[arg(value_name = "REF")]
        reference: Reference,
        /// Why, on one line
        #[arg(long)]
        reason: Option<String>,
    },
    /// End a hold
    Release(Which),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The ticket
    #[arg(value_name = "REF")]
    reference: Reference,
}

/// A ticket with its people.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    ticket: &'a TicketView<'a>,
    people: &'a PeopleLine,
    checklist: &'a Checklist,
    /// The ticket that this one was merged into when it was closed.
    merged_into: Option<String>,
}

impl Command {
    pub(crate) async fn run(self, app: &App, desk: &Desk) -> Result<(), Failure> {
        let output = desk.output;
        match self {
            Self::Open { reference, organisation, engineer, title, priority, language, device, details } => {
                let (shown, reference) = (reference.clone(), reference.name().clone());
                let new = NewTicket { reference, organisation, engineer, title, priority, language, device };
                let reference = new.reference.clone();
                // Whatever can fail comes first: the token is shown this once.
                let door = Door::find(app, desk).await?;
                let (ticket, token) = app.tickets().open_ticket_with(new, details.of(shown)).await?;
                let ticket = door.view(ticket, &reference, TicketEnd::default(), Some(&token));
                output.answer(&ticket, || ticket.block())
            }
            Self::Edit { reference, edit } => {
                let reference = app.tickets().named(&reference).await?;
                let done = app.tickets().edit(&reference, edit.into()).await?;
                changed(app, desk, &reference, ticket_edit::said(&reference, &done)).await
            }
            Self::List(list) => list.run(app, desk).await,
            Self::Show(Which { reference }) => {
                let reference = app.tickets().named(&reference).await?;
                let ticket = app.tickets().ticket(&reference).await?;
                let people = app.tickets().people(&reference).await?;
                let checklist = app.tickets().checklist(&reference).await?;
                let end = app.retention().end_of(&reference).await?;
                let merged_into = app.moving().merged_into(&reference).await?;
                let pointer =
                    merged_into.as_ref().map_or_else(String::new, |into| format!("Merged into ticket {into}\n"));
                let ticket = Door::find(app, desk).await?.view(ticket, &reference, end, None);
                let shown = Shown { ticket: &ticket, people: &people, checklist: &checklist, merged_into };
                output.answer(&shown, || {
                    let missing = checklist::missing(&checklist).map_or_else(String::new, |line| line + "\n");
                    format!("{pointer}{}\n{}\n{missing}\n{}", ticket.facts(), people::shown(&people), ticket.block())
                })
            }
            Self::Checklist(list) => list.run(app, desk).await,
            Self::Token(tokens) => tokens.run(app, desk).await,
            Self::Assign { reference, engineer } => {
                let reference = app.tickets().named(&reference).await?;
                app.tickets().assign(&reference, &engineer).await?;
                changed(app, desk, &reference, format!("Ticket {reference} belongs to {engineer} now.")).await
            }
            Self::Close { reference, by } => {
                let reference = app.tickets().named(&reference).await?;
                if !app.tickets().close(&reference, by).await? {
                    let other = if by == Some(Side::Engineer) { Side::Contact } else { Side::Engineer };
                    let text = format!(
                        "Ticket {reference} stays open until the other side wants it closed, too: 'tacdrop ticket close \
                         {reference} --by {other}'."
                    );
                    return changed(app, desk, &reference, text).await;
                }
                let end = app.retention().end_of(&reference).await?;
                let until =
                    end.readable_until.map_or_else(String::new, |until| format!(" until {}", until.to_the_minute()));
                let text = format!(
                    "Ticket {reference} is closed and can be read{until}; 'tacdrop ticket reopen {reference}' opens it again."
                );
                changed(app, desk, &reference, text).await
            }
            Self::Merge { reference, into, yes } => {
                let (from, into) = (app.tickets().named(&reference).await?, app.tickets().named(&into).await?);
                moving::merge(app, desk, &from, &into, yes).await
            }
            Self::Split { reference, new, artifacts } => {
                let from = app.tickets().named(&reference).await?;
                moving::split(app, desk, &from, &new, &artifacts).await
            }
            Self::Reopen(Which { reference }) => {
                let reference = app.tickets().named(&reference).await?;
                app.tickets().set_status(&reference, TicketStatus::Open).await?;
                changed(app, desk, &reference, format!("Ticket {reference} is open again.")).await
            }
            Self::Shred { reference, yes } => {
                retention::shred(app, desk, &app.tickets().named(&reference).await?, yes).await
            }
            Self::Hold { reference, reason } => {
                retention::hold(app, desk, &app.tickets().named(&reference).await?, reason).await
            }
            Self::Release(Which { reference }) => {
                let reference = app.tickets().named(&reference).await?;
                app.retention().release(&reference).await?;
                changed(app, desk, &reference, format!("Ticket {reference} is no longer held.")).await
            }
        }
    }
}

async fn changed(app: &App, desk: &Desk, reference: &Identifier, text: String) -> Result<(), Failure> {
    let ticket = app.tickets().ticket(reference).await?;
    let end = app.retention().end_of(reference).await?;
    let ticket = Door::find(app, desk).await?.view(ticket, reference, end, None);
    desk.output.answer(&ticket, || text)
}

/// Where customers come in, and how they know the place.
pub(super) struct Door {
    address: PublicAddress,
    fingerprint: String,
    /// The listener for old devices, if there is one, and its host key, if that is made.
    legacy: Option<(PublicAddress, Option<String>)>,
}

impl Door {
    pub(super) async fn find(app: &App, desk: &Desk) -> Result<Self, Failure> {
        let fingerprint = ssh::fingerprint(&server::host_key(app).await?);
        let legacy = match desk.legacy_address(app).await? {
            Some(address) => Some((address, app.fact(LEGACY_HOST_KEY).await?)),
            None => None,
        };
        Ok(Self { address: desk.address(app).await?, fingerprint, legacy })
    }

    pub(super) fn view<'a>(
        self,
        ticket: TicketLine,
        reference: &Identifier,
        end: TicketEnd,
        token: Option<&'a str>,
    ) -> TicketView<'a> {
        self.view_with(ticket, reference, end, token, None)
    }

    /// The same with what is known of the token that was made.
    pub(super) fn view_with<'a>(
        self,
        ticket: TicketLine,
        reference: &Identifier,
        end: TicketEnd,
        token: Option<&'a str>,
        made: Option<&'a TokenLine>,
    ) -> TicketView<'a> {
        let for_devices = made.map_or(ticket.device, |made| made.kind == TokenKind::Device);
        let devices = for_devices.then(|| match self.legacy {
            Some((address, key)) => Devices::new(address, true, key, reference.as_str(), token),
            None => {
                let key = Some(self.fingerprint.clone());
                Devices::new(self.address.clone(), false, key, reference.as_str(), token)
            }
        });
        TicketView {
            device: ticket.device,
            end,
            kind: ticket.kind,
            serial: ticket.serial,
            deadline: ticket.deadline,
            devices,
            user: ticket.reference.clone(),
            reference: ticket.reference,
            shown: ticket.shown,
            token,
            token_made: made,
            url: self.address.url(reference),
            host: self.address.host,
            port: self.address.port,
            host_key_fingerprint: self.fingerprint,
            organisation: ticket.organisation,
            engineer: ticket.engineer,
            priority: ticket.priority,
            status: ticket.status,
            language: ticket.language,
            title: ticket.title,
            opened_at: ticket.opened_at,
        }
    }
}
