//! The tokens that customers log in with: which one somebody typed, what it allows, and whether it
//! still does.

use std::net::IpAddr;
use std::time::Duration;

use super::{LoginState, Logins, Who, standing};
use crate::model::{TicketStatus, Time};
use crate::records::people::LoginName;
use crate::records::tickets::Ticket;
use crate::records::tokens::{self, NO_TOKEN, Token};
use crate::records::{Conn, RecordsError, organisations, people};
use crate::repo::Error;
use crate::vault;

/// Tokens of one ticket that are in force, at most.
pub(crate) const MOST: usize = 100;
/// That somebody used a token from the same address is written down so often at most.
const NOTED_AFTER: Duration = Duration::from_secs(60);
/// A token that is renewed is written down when it gains at least so much.
const RENEWED_BY: Duration = Duration::from_secs(86_400);
/// So long a login waits for its use to be written down. It does not depend on that.
const PATIENCE: Duration = Duration::from_secs(2);

impl Logins {
    /// The login name that somebody typed in whatever case; none if nobody has it.
    pub(super) async fn written(&self, typed: &str) -> Result<Option<LoginName>, Error> {
        Ok(people::login_name(&mut *self.repo.records.read().await?, typed).await?)
    }

    /// Which of a ticket's tokens was typed: as it is, or in groups, with blanks, in capitals. The
    /// same work is done for a user whom nobody knows.
    pub(super) async fn typed(&self, user: &str, typed: &str) -> Result<Option<Token>, Error> {
        let rows = tokens::in_force(&mut *self.repo.records.read().await?, user, MOST).await?;
        let (key, folded) = (self.repo.keys.token(), vault::token::folded(typed));
        let as_typed = key.hash(user, typed);
        // What takes longer for what was typed in groups says nothing of whether it is a token.
        let hashes = [as_typed, if *folded == *typed { as_typed } else { key.hash(user, &folded) }];
        let mut found = None;
        // The hash of no token at all is never one of these, so who has no token fails like who
        // typed a wrong one.
        let nobody = rows.is_empty().then_some(NO_TOKEN);
        for verifier in rows.iter().map(|row| row.verifier).chain(nobody) {
            for hash in &hashes {
                let is_same = vault::token::is_same(hash, &verifier);
                found = found.or_else(|| rows.iter().find(|row| is_same && row.verifier == verifier));
            }
        }
        Ok(found.cloned())
    }

    /// Writes down that a token was used, and makes it valid for longer. A login is not refused
    /// because that fails.
    pub(super) async fn note_use(&self, ticket: &Ticket, token: &Token, from: IpAddr) {
        let (now, from) = (Time::now(), from.to_string());
        let renewed = now.plus(self.repo.settings.token_validity);
        let renews = token.renews && ticket.status != TicketStatus::Closed;
        let is_worth = renews && renewed >= token.valid_until.plus(RENEWED_BY);
        let is_known = token
            .last_used
            .as_ref()
            .is_some_and(|(at, known)| *known == from && now < at.plus(NOTED_AFTER) && *at <= now.plus(NOTED_AFTER));
        if is_known && !is_worth {
            return;
        }
        let noted = async {
            let mut tx = self.repo.records.begin().await?;
            // It may have been ended meanwhile.
            if let Some(row) = tokens::by_id(tx.conn(), token.id).await?.filter(|row| row.is_valid(now)) {
                let until = if is_worth { renewed.max(row.valid_until) } else { row.valid_until };
                tokens::used(tx.conn(), &**self.repo.keys.proofs(), &row, (now, &from), until).await?;
            }
            Ok::<_, Error>(tx.commit().await?)
        };
        match tokio::time::timeout(PATIENCE, noted).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "that a token was used could not be written down"),
            Err(_) => tracing::warn!("that a token was used could not be written down in time"),
        }
    }
}

/// Looks whether what let a customer in still does: the token, and the organisation. Whatever ends
/// one of them changes the ticket's row or comes with time, so nothing is asked while neither has.
pub(super) async fn look(conn: &mut Conn, login: &LoginState, ticket: &Ticket) -> Result<(), RecordsError> {
    let Who::Ticket { token: id, .. } = login.who else { return Ok(()) };
    if login.user != ticket.reference || login.has_ended() || login.has_seen(ticket) {
        return Ok(());
    }
    let now = Time::now();
    let token = tokens::by_id(conn, id).await?;
    let token = token.filter(|row| row.is_valid(now) && row.ticket == ticket.reference && login.holds(row));
    let organisation = organisations::by_id(conn, &ticket.organisation).await?;
    let organisation = organisation.filter(|row| row.admits(now) && login.holds(row));
    match (token, organisation) {
        (Some(token), Some(organisation)) => {
            login.see(ticket, standing::until(&organisation, &token));
        }
        _ => login.end(),
    }
    Ok(())
}
