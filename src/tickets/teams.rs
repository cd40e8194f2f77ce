//! Teams of engineers, as operators keep them.

use serde::Serialize;
use serde_json::json;

use super::ticket_people::existing_team;
use super::{Tickets, claim, line, note};
use crate::audit::{Kind, told};
use crate::model::{Identifier, Time};
use crate::records::proofs::{Proof, Proved};
use crate::records::teams::{self, Member, Team};
use crate::records::{Conn, ticket_people};
use crate::repo::Error;
use crate::repo::tickets::{check_address, check_enabled, mark_logins_changed};

/// Tickets that are named in a sentence at most.
const NAMED: usize = 10;
/// The most engineers of one team.
const MOST: usize = 1000;

/// A team, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct TeamLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it reads its mail together.
    pub email: Option<String>,
    /// The engineers who are in it.
    pub members: Vec<String>,
}

/// What adding a team needs.
#[derive(Debug, Clone)]
pub struct NewTeam {
    /// Its id.
    pub id: Identifier,
    /// Its name; without one, the id.
    pub name: Option<String>,
    /// Where it reads its mail together.
    pub email: Option<String>,
    /// The engineers who are in it.
    pub members: Vec<Identifier>,
}

/// What is to be changed of a team; what is none or empty stays.
#[derive(Debug, Clone, Default)]
pub struct TeamChanges {
    /// Its name.
    pub name: Option<String>,
    /// Where it reads its mail together; the inner none takes it away.
    pub email: Option<Option<String>>,
    /// Engineers to take in.
    pub members: Vec<Identifier>,
    /// Engineers to take out.
    pub without_members: Vec<Identifier>,
}

impl Tickets {
    /// Adds a team.
    ///
    /// # Errors
    /// If the id is taken, the address is none, there is no such engineer, or the records fail.
    pub async fn add_team(&self, new: NewTeam) -> Result<(), Error> {
        new.email.as_deref().map_or(Ok(()), check_address)?;
        let mut tx = self.repo.records.begin().await?;
        claim(tx.conn(), &new.id, "team").await?;
        let name = line("name", new.name.unwrap_or_else(|| new.id.to_string()))?;
        let row = Team { id: new.id, name, email: new.email, proof: Proof::default() };
        teams::add(tx.conn(), self.prover(), &row, Time::now()).await?;
        self.take_in(tx.conn(), &row.id, &new.members).await?;
        self.note_team(tx.conn(), Kind::TeamAdded, &row).await?;
        Ok(tx.commit().await?)
    }

    /// Changes a team. What somebody who is taken out has open in its tickets ends within a second.
    ///
    /// # Errors
    /// If there is no such team or engineer, nothing is to be changed, or the records fail.
    pub async fn change_team(&self, id: &Identifier, changes: TeamChanges) -> Result<(), Error> {
        let TeamChanges { name, email, members, without_members } = changes;
        if name.is_none() && email.is_none() && members.is_empty() && without_members.is_empty() {
            return Err(Error::operator("nothing is to be changed; name an option, as --add-member"));
        }
        email.as_ref().and_then(Option::as_deref).map_or(Ok(()), check_address)?;
        let mut tx = self.repo.records.begin().await?;
        let mut row = existing_team(tx.conn(), id).await?;
        row.check(self.prover())?;
        row.name = name.map(|name| line("name", name)).transpose()?.unwrap_or(row.name);
        row.email = email.unwrap_or(row.email);
        teams::put(tx.conn(), self.prover(), &row).await?;
        for engineer in &without_members {
            if !teams::remove_member(tx.conn(), id, engineer).await? {
                return Err(Error::operator(format!("engineer {engineer} is not in team {id}")));
            }
        }
        self.take_in(tx.conn(), id, &members).await?;
        mark_logins_changed(tx.conn()).await?;
        self.note_team(tx.conn(), Kind::TeamChanged, &row).await?;
        Ok(tx.commit().await?)
    }

    async fn take_in(&self, conn: &mut Conn, team: &Identifier, members: &[Identifier]) -> Result<(), Error> {
        for engineer in members {
            check_enabled(conn, engineer).await?;
            let (team, engineer) = (team.clone(), engineer.clone());
            teams::put_member(conn, self.prover(), &Member { team, engineer, proof: Proof::default() }).await?;
        }
        if teams::members(conn, team).await?.len() > MOST {
            return Err(Error::operator(format!("a team has {MOST} members at most")));
        }
        Ok(())
    }

    async fn note_team(&self, conn: &mut Conn, kind: Kind, row: &Team) -> Result<(), Error> {
        let members = teams::members(conn, &row.id).await?;
        let members: Vec<_> = members.iter().map(|member| member.engineer.as_str()).collect();
        // Not the address: only what it can be compared with.
        let address = row.email.as_ref().map(|email| told::address(self.repo.keys.trail(), row.id.as_str(), email));
        let detail = json!({ "team": row.id.as_str(), "members": members, "address": address });
        note(conn, kind, None, detail).await
    }

    /// Removes a team. Its name is never given to anything else.
    ///
    /// # Errors
    /// If there is no such team, tickets belong to it, or the records fail.
    pub async fn remove_team(&self, id: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        let row = existing_team(tx.conn(), id).await?;
        let tickets = ticket_people::of_team(tx.conn(), id).await?;
        if !tickets.is_empty() {
            let first: Vec<_> = tickets.iter().take(NAMED).map(|row| row.ticket.as_str()).collect();
            let more = tickets.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(Error::operator(format!(
                "team {id} has {}{more}; give them to another one with 'tacdrop ticket edit REF --team', or to none with \
                 --no-team",
                first.join(", ")
            )));
        }
        teams::remove(tx.conn(), id).await?;
        self.note_team(tx.conn(), Kind::TeamRemoved, &row).await?;
        Ok(tx.commit().await?)
    }

    /// All teams with their members.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn teams(&self) -> Result<Vec<TeamLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let mut lines = Vec::new();
        for row in teams::list(&mut conn).await? {
            lines.push(team_line(&mut conn, row).await?);
        }
        Ok(lines)
    }

    /// One team.
    ///
    /// # Errors
    /// If there is no such team, or the records fail.
    pub async fn team(&self, id: &Identifier) -> Result<TeamLine, Error> {
        let mut conn = self.repo.records.read().await?;
        let row = existing_team(&mut conn, id).await?;
        team_line(&mut conn, row).await
    }
}

async fn team_line(conn: &mut Conn, row: Team) -> Result<TeamLine, Error> {
    let members = teams::members(conn, &row.id).await?;
    Ok(TeamLine {
        id: row.id.to_string(),
        name: row.name,
        email: row.email,
        members: members.into_iter().map(|member| member.engineer.to_string()).collect(),
    })
}
