//! Who else gets a notice: watchers, and a team whose engineer is gone. It is decided when a notice
//! has settled, from what the records say by then; a row that tacdrop did not write names nobody.

use crate::model::{Identifier, NoticeId};
use crate::records::notices::{self, NoticeRow};
use crate::records::proofs::{Proved, Prover};
use crate::records::{Conn, people, teams, ticket_people};
use crate::repo::{Error, Repo};
use crate::vault;

/// A notice has settled, in this transaction.
pub(super) async fn settled(conn: &mut Conn, repo: &Repo, notice: &NoticeRow) -> Result<(), Error> {
    let prover = &**repo.keys.proofs();
    to_team(conn, prover, notice).await?;
    for watcher in ticket_people::watchers(conn, &notice.ticket).await? {
        if holds(&watcher, prover) {
            copy(conn, prover, notice, (&notice.recipient, &watcher.address)).await?;
        }
    }
    Ok(())
}

/// Where the engineer may no longer log in, the ticket's team is told: at its own address, or else
/// each member.
async fn to_team(conn: &mut Conn, prover: &dyn Prover, notice: &NoticeRow) -> Result<(), Error> {
    let engineer = people::engineers(conn, Some(notice.recipient.as_str())).await?.into_iter().next();
    if notice.address.is_some() || engineer.is_none_or(|engineer| engineer.disabled_at.is_none()) {
        return Ok(());
    }
    let row = ticket_people::of(conn, &notice.ticket).await?.filter(|row| holds(row, prover));
    let Some(team) = row.and_then(|row| row.team) else { return Ok(()) };
    let Some(team) = teams::by_id(conn, &team).await?.filter(|team| holds(team, prover)) else { return Ok(()) };
    let to = (notice.id, &notice.ticket);
    if let Some(email) = &team.email {
        return Ok(notices::readdress(conn, prover, to, &notice.recipient, Some(email)).await?);
    }
    let mut told = false;
    for member in teams::members(conn, &team.id).await? {
        let row = people::engineers(conn, Some(member.engineer.as_str())).await?.into_iter().next();
        let Some(row) = row.filter(|row| holds(&member, prover) && holds(row, prover) && row.disabled_at.is_none())
        else {
            continue;
        };
        if told {
            copy(conn, prover, notice, (&row.id, &row.email)).await?;
        } else {
            notices::readdress(conn, prover, to, &row.id, None).await?;
            told = true;
        }
    }
    Ok(())
}

async fn copy(conn: &mut Conn, prover: &dyn Prover, notice: &NoticeRow, to: (&Identifier, &str)) -> Result<(), Error> {
    let id = NoticeId::from_bytes(vault::random::array()?);
    Ok(notices::copy(conn, prover, notice, id, to).await?)
}

/// Whether tacdrop wrote this row; one that it did not write is told of.
pub(super) fn holds<T: Proved>(row: &T, prover: &dyn Prover) -> bool {
    let checked = row.check(prover);
    if let Err(error) = &checked {
        tracing::error!(%error, "nobody is told of a notice by way of this row");
    }
    checked.is_ok()
}
