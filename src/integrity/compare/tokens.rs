//! The tokens of tickets against the trail: an older row that was put back shows, as the trail names
//! each token that was made and that ended.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Compared;
use super::house::text;
use crate::audit::Kind;
use crate::model::TokenKind;
use crate::records::compare::{Found, TokenSide};

/// What the trail tells of a token.
struct Token {
    ticket: String,
    kind: Option<String>,
    ended: bool,
    until: Option<i64>,
    /// Whether it is of before tokens had rows of their own: no entry names it.
    moved: bool,
}

/// What the trail tells of all tokens.
#[derive(Default)]
pub(super) struct Told {
    tokens: BTreeMap<String, Token>,
    /// Tickets of which the trail knows neither a token nor the share.
    unnamed: BTreeSet<String>,
}

impl Told {
    fn add(&mut self, ticket: &str, id: String, kind: Option<String>, until: Option<i64>) {
        self.tokens.insert(id, Token { ticket: ticket.to_owned(), kind, ended: false, until, moved: false });
    }

    fn end(&mut self, id: &str) {
        if let Some(token) = self.tokens.get_mut(id) {
            token.ended = true;
        }
    }

    /// The server's key for hashing tokens was replaced: all have ended.
    pub(super) fn all_ended(&mut self) {
        self.tokens.values_mut().for_each(|token| token.ended = true);
    }

    /// What an entry about a ticket tells of its tokens.
    pub(super) fn tell(&mut self, kind: Kind, ticket: &str, detail: &Value) {
        let (id, word) = (text(detail, "token"), text(detail, "kind"));
        match (kind, id) {
            (Kind::TicketOpened, id) => {
                let device = detail.get("device").and_then(Value::as_bool) == Some(true);
                let of_ticket = if device { TokenKind::Device } else { TokenKind::Plain };
                // Entries of before name no token: the one that was moved bears the id of the share,
                // and stands for all that took its place until then.
                let moved = id.is_none();
                let Some(id) = id.or_else(|| text(detail, "share")) else {
                    self.unnamed.insert(ticket.to_owned());
                    return;
                };
                let kind = Some(of_ticket.to_string());
                self.tokens.insert(id, Token { ticket: ticket.to_owned(), kind, ended: false, until: None, moved });
            }
            (Kind::TicketTokenReplaced, None) => {
                for token in self.tokens.values_mut().filter(|token| token.moved && token.ticket == ticket) {
                    token.ended = false;
                }
            }
            (Kind::TicketTokenAdded, Some(id)) => {
                self.add(ticket, id, word, detail.get("until").and_then(Value::as_i64));
            }
            (Kind::TicketTokenReplaced, Some(id)) => {
                let ended = detail.get("ended").and_then(Value::as_array).into_iter().flatten();
                ended.filter_map(Value::as_str).for_each(|ended| self.end(ended));
                self.add(ticket, id, word, None);
            }
            (Kind::TicketTokenEnded, Some(id)) => self.end(&id),
            // Its reference may be another ticket's by now.
            (Kind::TicketShredBegun | Kind::TicketShredded, _) => {
                self.tokens.retain(|_, token| token.ticket != ticket);
                self.unnamed.remove(ticket);
            }
            _ => {}
        }
    }

    pub(super) fn compare(mut self, rows: Vec<Found<TokenSide>>, outcome: &mut Compared) {
        for row in rows {
            let row = match row {
                Ok(row) => row,
                Err((id, error)) => {
                    self.tokens.remove(&id);
                    outcome.add("token", id, None, format!("cannot be read: {error}"));
                    continue;
                }
            };
            let ticket = Some(row.ticket.as_str());
            let Some(known) = self.tokens.remove(&row.id) else {
                if row.moved && self.unnamed.contains(&row.ticket) {
                    continue;
                }
                outcome.add("token", row.id, ticket, "was never made, as the trail tells");
                continue;
            };
            let mut differs = |what: &str| outcome.add("token", row.id.clone(), ticket, what);
            if known.ticket != row.ticket {
                differs("belongs to another ticket than it was made for");
            }
            if known.kind.is_some_and(|known| known != row.kind) {
                differs("is of another kind than it was made for");
            }
            if known.until != row.until {
                differs("has another end than was set");
            }
            if known.ended != row.ended {
                differs(if known.ended { "was ended, and is not" } else { "has ended, and nobody did that" });
            }
        }
        // One that had ended before it could be moved has no row.
        for (id, token) in self.tokens.into_iter().filter(|(_, token)| !(token.moved && token.ended)) {
            outcome.add("token", id, Some(&token.ticket), "was made, as the trail tells, and has no row");
        }
    }
}
