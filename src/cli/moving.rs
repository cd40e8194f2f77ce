//! `tacdrop artifact move | show`, `ticket merge | split`: files that go from one ticket to another.

use serde::Serialize;

use super::Desk;
use super::block::TicketView;
use super::failure::Failure;
use super::output::size;
use super::ticket::Door;
use crate::app::{App, MoveWish, Moved, NotMoved, Split, TicketEnd};
use crate::model::{ArtifactId, Identifier, Reference, sanitize};

/// `artifact move`.
pub(crate) async fn move_to(
    app: &App,
    desk: &Desk,
    id: ArtifactId,
    ticket: &Identifier,
    wish: MoveWish,
) -> Result<(), Failure> {
    let done = app.moving().move_artifact(id, ticket, &wish).await?;
    desk.output.answer(&done, || {
        let count = if done.versions == 1 { "1 version".to_owned() } else { format!("{} versions", done.versions) };
        let journal = if done.journal_owed {
            "; somebody reads the records, so the server will wipe the last trace of the old keys within minutes"
        } else {
            ""
        };
        format!(
            "{} went from ticket {} to {} with {count}, {} sealed anew. Its id is {} now{journal}",
            sanitize::line(&done.path),
            done.from,
            done.to,
            size(done.bytes),
            done.new_id
        )
    })
}

/// `artifact show`.
pub(crate) async fn show(app: &App, desk: &Desk, id: ArtifactId) -> Result<(), Failure> {
    let found = app.moving().artifact(id).await?;
    desk.output.answer(&found, || {
        let mut lines = vec![
            format!("Ticket:    {}", found.ticket),
            format!("Path:      {}", sanitize::line(&found.path)),
            format!("Id:        {}", found.current_id),
            format!("Version:   {}, {}, {}", found.version, found.state, size(found.size)),
            format!("SHA-256:   {}", found.sha256.as_deref().unwrap_or("-")),
            format!("Sent by:   {}", sanitize::line(&found.uploaded_by)),
        ];
        lines.extend(found.received_at.map(|at| format!("Received:  {at}")));
        lines.extend(
            found.moves.iter().map(|one| {
                format!("Moved:     {} from ticket {} (id {}) to {}", one.moved_at, one.from, one.id, one.to)
            }),
        );
        lines.join("\n")
    })
}

/// What was moved and what was not, one a line.
fn lines(moved: &[Moved], left: &[NotMoved]) -> String {
    let moved = moved.iter().map(|one| format!("moved      {}\n", sanitize::line(&one.path)));
    let left = left.iter().map(|one| format!("NOT MOVED  {}: {}\n", one.id, sanitize::line(&one.why)));
    moved.chain(left).collect()
}

fn check_left(left: &[NotMoved]) -> Result<(), Failure> {
    if left.is_empty() {
        return Ok(());
    }
    let count = left.len();
    Err(Failure::new(format!(
        "{count} of the artifacts could not be moved and lie where they were; put right what is said of each, and move \
         them by 'tacdrop artifact move', or all by the same command again"
    )))
}

/// `ticket merge`.
pub(crate) async fn merge(
    app: &App,
    desk: &Desk,
    from: &Identifier,
    into: &Identifier,
    yes: bool,
) -> Result<(), Failure> {
    let done = app.moving().merge(from, into, yes).await?;
    desk.output.answer(&done, || {
        let end = if done.closed {
            format!("Ticket {from} is closed, and points to {into}")
        } else {
            format!("Ticket {from} stays open, as something lies in it")
        };
        lines(&done.moved, &done.left) + &end
    })?;
    check_left(&done.left)
}

/// A new ticket with what was moved into it.
#[derive(Serialize)]
struct SplitView<'a> {
    #[serde(flatten)]
    ticket: &'a TicketView<'a>,
    moved: &'a [Moved],
    left: &'a [NotMoved],
}

/// `ticket split`.
pub(crate) async fn split(
    app: &App,
    desk: &Desk,
    from: &Identifier,
    new: &Reference,
    artifacts: &[ArtifactId],
) -> Result<(), Failure> {
    // Whatever can fail comes first: the token is shown this once.
    let door = Door::find(app, desk).await?;
    let Split { ticket, token, moved, left } = app.moving().split(from, new, artifacts).await?;
    let ticket = door.view(ticket, new.name(), TicketEnd::default(), Some(&token));
    let view = SplitView { ticket: &ticket, moved: &moved, left: &left };
    desk.output.answer(&view, || format!("{}\n{}", lines(&moved, &left), ticket.block()))?;
    check_left(&left)
}
