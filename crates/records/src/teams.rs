//! Teams of engineers, and who is a member of which.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::proofs::{Proof, Proved, Prover, proof};
use super::{Conn, RecordsError, text_as};
use tacdrop_model::{Identifier, Time};

/// Engineers who work on tickets together.
#[derive(Debug, Clone)]
pub struct Team {
    /// Its id.
    pub id: Identifier,
    /// Its name, for people.
    pub name: String,
    /// Where the team reads its mail together, if it does.
    pub email: Option<String>,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for Team {
    const TABLE: &'static str = "team";
    const LABEL: &'static str = "proof of team, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.id.as_str().as_bytes(), self.email.as_deref().unwrap_or_default().as_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// An engineer of a team.
#[derive(Debug, Clone)]
pub struct Member {
    /// The team.
    pub team: Identifier,
    /// Who is in it.
    pub engineer: Identifier,
    /// The proof that the row carries.
    pub proof: Proof,
}

impl Proved for Member {
    const TABLE: &'static str = "team_member";
    const LABEL: &'static str = "proof of team's member, 1";

    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T {
        read(&[self.team.as_str().as_bytes(), self.engineer.as_str().as_bytes()])
    }

    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn name(&self) -> String {
        format!("{} {}", self.team, self.engineer)
    }
}

fn team(row: &SqliteRow) -> Result<Team, RecordsError> {
    Ok(Team {
        id: text_as(row, "team", "id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        proof: proof(row, "proof"),
    })
}

fn member(row: &SqliteRow) -> Result<Member, RecordsError> {
    Ok(Member {
        team: text_as(row, "team_member", "team")?,
        engineer: text_as(row, "team_member", "engineer")?,
        proof: proof(row, "proof"),
    })
}

/// Adds a team, with the row's proof.
pub async fn add(conn: &mut Conn, prover: &dyn Prover, new: &Team, now: Time) -> Result<(), RecordsError> {
    let text = "INSERT INTO team (id, name, email, created_at, proof) VALUES ($1, $2, $3, $4, $5)";
    ask!(text, &new.id, &new.name, new.email.as_deref(), now, new.prove(prover)).run(conn).await
}

/// The team of this id. It is not checked.
pub async fn by_id(conn: &mut Conn, id: &Identifier) -> Result<Option<Team>, RecordsError> {
    ask!("SELECT id, name, email, proof FROM team WHERE id = $1", id).maybe(conn, team).await
}

/// All teams that can be read.
pub async fn list(conn: &mut Conn) -> Result<Vec<Team>, RecordsError> {
    ask!("SELECT id, name, email, proof FROM team ORDER BY id").readable(conn, "team", team).await
}

/// Writes down what a team's row says, with its proof. Whoever calls has checked the one that it
/// had.
pub async fn put(conn: &mut Conn, prover: &dyn Prover, row: &Team) -> Result<(), RecordsError> {
    let text = "UPDATE team SET name = $2, email = $3, proof = $4 WHERE id = $1";
    ask!(text, &row.id, &row.name, row.email.as_deref(), row.prove(prover)).run(conn).await
}

/// Removes a team and its members' rows. Its name stays taken.
pub async fn remove(conn: &mut Conn, id: &Identifier) -> Result<(), RecordsError> {
    ask!("DELETE FROM team_member WHERE team = $1", id).run(conn).await?;
    ask!("DELETE FROM team WHERE id = $1", id).run(conn).await
}

/// The members of a team.
pub async fn members(conn: &mut Conn, id: &Identifier) -> Result<Vec<Member>, RecordsError> {
    ask!("SELECT team, engineer, proof FROM team_member WHERE team = $1 ORDER BY engineer", id)
        .readable(conn, "team_member", member)
        .await
}

/// An engineer's row in a team, if there is one. It is not checked.
pub async fn member_of(
    conn: &mut Conn,
    id: &Identifier,
    engineer: &Identifier,
) -> Result<Option<Member>, RecordsError> {
    ask!("SELECT team, engineer, proof FROM team_member WHERE team = $1 AND engineer = $2", id, engineer)
        .maybe(conn, member)
        .await
}

/// The ids of the teams that an engineer is in, as they stand there.
pub async fn of_engineer(conn: &mut Conn, engineer: &Identifier) -> Result<Vec<String>, RecordsError> {
    ask!("SELECT team FROM team_member WHERE engineer = $1 ORDER BY team", engineer)
        .all(conn, |row| Ok(row.try_get("team")?))
        .await
}

/// All members of all teams.
pub async fn all_members(conn: &mut Conn) -> Result<Vec<Member>, RecordsError> {
    ask!("SELECT team, engineer, proof FROM team_member ORDER BY team, engineer")
        .readable(conn, "team_member", member)
        .await
}

/// Makes an engineer a member, or gives the row its proof again.
pub async fn put_member(conn: &mut Conn, prover: &dyn Prover, row: &Member) -> Result<(), RecordsError> {
    let text = "INSERT INTO team_member (team, engineer, proof) VALUES ($1, $2, $3) \
         ON CONFLICT (team, engineer) DO UPDATE SET proof = $3";
    ask!(text, &row.team, &row.engineer, row.prove(prover)).run(conn).await
}

/// Takes an engineer out of a team. Whether the engineer was in it.
pub async fn remove_member(conn: &mut Conn, id: &Identifier, engineer: &Identifier) -> Result<bool, RecordsError> {
    ask!("DELETE FROM team_member WHERE team = $1 AND engineer = $2", id, engineer).changed(conn).await
}
