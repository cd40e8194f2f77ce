//! Changes of what the ticket desk keeps: tokens, organisations, people, kinds.

use super::{Change, edit};

pub(super) const CHANGES: &[Change] = &[
    sql!(
        "a ticket gets another one's token",
        "records",
        "UPDATE ticket_token SET verifier = (SELECT verifier FROM ticket_token WHERE ticket = 'XT-2') \
         WHERE ticket = 'XT-4711'"
    ),
    sql!(
        "a token goes to another ticket",
        "records",
        "UPDATE ticket_token SET ticket = 'XT-4711' WHERE ticket = 'XT-2'"
    ),
    sql!("a token is valid for longer", "records", "UPDATE ticket_token SET valid_until = valid_until + 86400000000"),
    sql!("a device's token may read", "records", "UPDATE ticket_token SET kind = 'plain'"),
    sql!("a token is gone", "records", "DELETE FROM ticket_token WHERE ticket = 'XT-2'"),
    sql!("a ticket's logins begin anew", "records", "UPDATE ticket SET token_generation = 7"),
    sql!("an organisation's contract goes on", "records", "UPDATE organisation SET valid_until = '2999-12-31'"),
    sql!("an organisation is disabled", "records", "UPDATE organisation SET disabled_at = 7"),
    sql!("an engineer becomes a lead", "records", "UPDATE engineer SET role = 'lead' WHERE id = 'ben'"),
    sql!("a ticket is of another kind", "records", "UPDATE ticket SET kind = 'rma'"),
    sql!("who sees a ticket is another", "records", "UPDATE ticket_people SET visibility = 'only'"),
    sql!("what a ticket says of its people is gone", "records", "DELETE FROM ticket_people"),
];
