//! Who may do what in a ticket's share: one table, which every door's requests come to. Whoever asks
//! says as what a login comes to the ticket, what it wants to do where, and how the ticket stands.

use std::fmt;
use std::str::FromStr;

use super::state::words;
use super::{Refusal, TicketStatus};

words!(
    /// As what a login comes to a ticket.
    Role, "role" {
        /// By the ticket's token.
        Ticket = "ticket",
        /// By the token of a ticket for devices.
        Device = "device",
        /// By a token that only sends.
        UploadOnly = "upload-only",
        /// A contact who may see the ticket.
        Contact = "contact",
        /// The assigned engineer.
        Engineer = "engineer",
        /// Who stands in for the assigned engineer.
        Deputy = "deputy",
        /// A member of the ticket's team.
        Member = "member",
        /// An engineer who sees all tickets.
        Lead = "lead",
        /// Who reads all tickets and changes none.
        Auditor = "auditor",
        /// Anybody else.
        Nobody = "nobody",
    }
);

words!(
    /// What is asked for.
    Operation, "operation" {
        /// STAT, and where a path leads.
        Look = "look",
        /// A directory's names.
        List = "list",
        /// A file's content or its digest.
        Read = "read",
        /// What the server states about a file.
        ReadReceipt = "read-receipt",
        /// Older versions of a file.
        ReadVersions = "read-versions",
        /// A new file, or more of one that is not whole yet.
        Create = "create",
        /// A newer version of a file that is whole.
        Overwrite = "overwrite",
        /// Taking a file out of sight.
        Delete = "delete",
        /// Another name or another place.
        Rename = "rename",
        /// A new directory.
        MakeDirectory = "make-directory",
        /// Removing an empty directory.
        RemoveDirectory = "remove-directory",
        /// Mode and times.
        SetAttributes = "set-attributes",
    }
);

words!(
    /// Where in a share.
    Side, "side of a share" {
        /// What the customer sends.
        Customer = "customer",
        /// `from-support/`: what engineers hand back.
        Support = "support",
    }
);

words!(
    /// Which contacts see a ticket. All of them belong to its organisation, or to the one that it
    /// acts for.
    Visibility, "visibility" {
        /// The contact who was named first.
        Only = "only",
        /// The contacts who are named.
        Named = "named",
        /// All contacts.
        Organisation = "organisation",
    }
);

words!(
    /// What can be denied to a ticket's customers.
    Right, "right of customers" {
        /// Listing what customers have sent.
        List = "list",
        /// Reading it back.
        Read = "read",
        /// Sending a newer version of what is whole.
        Overwrite = "overwrite",
        /// Removing files and directories.
        Delete = "delete",
        /// Seeing and changing what other sessions have sent: the share is a drop box.
        Others = "others",
    }
);

/// What customers may not do in a ticket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Denied(u8);

impl Denied {
    const fn bit(right: Right) -> u8 {
        1 << right as u8
    }

    /// Whether this is denied.
    pub const fn has(self, right: Right) -> bool {
        self.0 & Self::bit(right) != 0
    }

    /// The same with this denied, or not.
    #[must_use]
    pub const fn with(self, right: Right, denied: bool) -> Self {
        if denied { Self(self.0 | Self::bit(right)) } else { Self(self.0 & !Self::bit(right)) }
    }

    /// What is denied, in one order.
    pub fn rights(self) -> impl Iterator<Item = Right> {
        Right::ALL.iter().copied().filter(move |right| self.has(*right))
    }
}

/// The words with commas between them, in one order; nothing, if nothing is denied.
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, right) in self.rights().enumerate() {
            write!(f, "{}{right}", if number > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Denied {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(',').filter(|word| !word.is_empty());
        words.map(str::parse).try_fold(Self::default(), |all, right| Ok(all.with(right?, true)))
    }
}

/// As what a login comes to a ticket, and how the ticket stands. What is not said is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// As what.
    pub role: Role,
    /// What the ticket denies to its customers.
    pub denied: Denied,
    /// Whether the ticket takes anything.
    pub status: TicketStatus,
}

impl Rights {
    /// Nobody's.
    pub const NONE: Self = Self { role: Role::Nobody, denied: Denied(0), status: TicketStatus::Closed };

    /// Whether this may be done now.
    ///
    /// # Errors
    /// The refusal that the table says.
    pub const fn check(self, operation: Operation, side: Side) -> Result<(), Refusal> {
        allows(self.role, operation, side, self.status, self.denied)
    }

    /// Whether the login sees only what its own session has sent.
    pub const fn sees_own_only(self) -> bool {
        is_customer(self.role) && self.denied.has(Right::Others)
    }

    /// The same as a number, to be kept where it is asked for often.
    pub const fn to_bits(self) -> u32 {
        (self.role as u32) << 16 | (self.denied.0 as u32) << 8 | self.status as u32
    }

    /// From [`to_bits`](Self::to_bits).
    pub fn from_bits(bits: u32) -> Self {
        let [_, role, denied, status] = bits.to_be_bytes();
        let status = TicketStatus::ALL.get(usize::from(status)).copied().unwrap_or(TicketStatus::Closed);
        let role = Role::ALL.get(usize::from(role)).copied().unwrap_or(Role::Nobody);
        Self { role, denied: Denied(denied), status }
    }
}

/// Whether somebody of this role is on the customer's side.
pub const fn is_customer(role: Role) -> bool {
    matches!(role, Role::Ticket | Role::Device | Role::UploadOnly | Role::Contact)
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Always.
    Y,
    /// As long as the ticket is open; else [`Refusal::TicketClosed`].
    O,
    /// Only engineers: [`Refusal::FromSupportOnly`].
    S,
    /// Only customers: [`Refusal::CustomerOnly`].
    C,
    /// [`Refusal::UploadOnly`].
    U,
    /// [`Refusal::AuditorOnly`].
    A,
    /// There is no such thing: [`Refusal::NoSuchFile`].
    H,
}

use Cell::{A, C, H, O, S, U, Y};

/// A role, and what the operations are to it: those that look, and those that change something on each
/// side.
type Row = (Role, [Cell; 5], [Cell; 7], [Cell; 7]);

/// A row for each role, in the order of [`Role::ALL`]. The columns are those of [`Operation::ALL`]:
/// five that look, seven that change something on the customer's side, and the same seven in
/// `from-support/`.
#[rustfmt::skip]
const TABLE: [Row; 10] = [
    //                  Look List Read Receipt Versions
    //                                              Create Overwrite Delete Rename Mkdir Rmdir Attributes
    //                                                                       the same in from-support/
    (Role::Ticket,     [Y, Y, Y, Y, H],  [O, O, O, O, O, O, O],  [S, S, S, S, S, S, S]),
    (Role::Device,     [Y, U, U, U, H],  [O, O, U, U, O, U, O],  [S, S, U, U, S, U, S]),
    (Role::UploadOnly, [Y, U, U, U, H],  [O, O, U, U, O, U, O],  [S, S, U, U, S, U, S]),
    (Role::Contact,    [Y, Y, Y, Y, H],  [O, O, O, O, O, O, O],  [S, S, S, S, S, S, S]),
    (Role::Engineer,   [Y, Y, Y, Y, Y],  [C, C, C, C, C, C, C],  [O, O, O, O, O, O, O]),
    (Role::Deputy,     [Y, Y, Y, Y, Y],  [C, C, C, C, C, C, C],  [O, O, O, O, O, O, O]),
    (Role::Member,     [Y, Y, Y, Y, Y],  [C, C, C, C, C, C, C],  [O, O, O, O, O, O, O]),
    (Role::Lead,       [Y, Y, Y, Y, Y],  [C, C, C, C, C, C, C],  [O, O, O, O, O, O, O]),
    (Role::Auditor,    [Y, Y, Y, Y, Y],  [A, A, A, A, A, A, A],  [A, A, A, A, A, A, A]),
    (Role::Nobody,     [H, H, H, H, H],  [H, H, H, H, H, H, H],  [H, H, H, H, H, H, H]),
];

/// What a ticket can deny its customers of what the table allows them, on their own side.
const DENIABLE: [(Operation, Right, Refusal); 5] = [
    (Operation::List, Right::List, Refusal::NoListing),
    (Operation::Read, Right::Read, Refusal::NoReading),
    (Operation::Overwrite, Right::Overwrite, Refusal::NoOverwriting),
    (Operation::Delete, Right::Delete, Refusal::NoDeleting),
    (Operation::RemoveDirectory, Right::Delete, Refusal::NoDeleting),
];

const fn cell(role: Role, operation: Operation, side: Side) -> Cell {
    let (_, looks, customer, support) = &TABLE[role as usize];
    let column = operation as usize;
    if column < looks.len() {
        return looks[column];
    }
    match side {
        Side::Customer => customer[column - looks.len()],
        Side::Support => support[column - looks.len()],
    }
}

/// Whether somebody may do something in a ticket's share that stands so.
///
/// # Errors
/// The refusal that the table says.
pub const fn allows(
    role: Role,
    operation: Operation,
    side: Side,
    status: TicketStatus,
    denied: Denied,
) -> Result<(), Refusal> {
    match cell(role, operation, side) {
        Y => {}
        O if matches!(status, TicketStatus::Closed) => return Err(Refusal::TicketClosed),
        O => {}
        S => return Err(Refusal::FromSupportOnly),
        C => return Err(Refusal::CustomerOnly),
        U => return Err(Refusal::UploadOnly),
        A => return Err(Refusal::AuditorOnly),
        H => return Err(Refusal::NoSuchFile),
    }
    if is_customer(role) && matches!(side, Side::Customer) {
        let mut at = 0;
        while at < DENIABLE.len() {
            let (what, right, refusal) = DENIABLE[at];
            if what as u8 == operation as u8 && denied.has(right) {
                return Err(refusal);
            }
            at += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> impl Iterator<Item = (Role, Operation, Side, TicketStatus, Denied)> {
        let sides = Side::ALL.iter().flat_map(|side| TicketStatus::ALL.iter().map(move |status| (*side, *status)));
        let asked = sides
            .flat_map(|(side, status)| Operation::ALL.iter().map(move |operation| (*operation, side, status)))
            .flat_map(|(operation, side, status)| Role::ALL.iter().map(move |role| (*role, operation, side, status)));
        asked.flat_map(|(role, operation, side, status)| {
            (0..1 << Right::ALL.len()).map(move |denied| (role, operation, side, status, Denied(denied)))
        })
    }

    #[test]
    fn the_rows_stand_in_the_order_of_the_roles() {
        let rows: Vec<_> = TABLE.iter().map(|(role, ..)| *role).collect();
        assert_eq!(rows, Role::ALL);
        assert_eq!(Operation::ALL.len(), 5 + 7);
    }

    /// What must hold whatever the table says: said once more, in other words.
    #[expect(clippy::print_stdout, reason = "its answer")]
    #[test]
    fn no_cell_breaks_a_rule_of_the_house() {
        let looks =
            [Operation::Look, Operation::List, Operation::Read, Operation::ReadReceipt, Operation::ReadVersions];
        let mut cells = 0;
        for (role, operation, side, status, denied) in every() {
            let outcome = allows(role, operation, side, status, denied);
            let shown = format!("{role} {operation} {side} {status} denied '{denied}': {outcome:?}");
            let changes = !looks.contains(&operation);
            if outcome.is_ok() {
                assert!(role != Role::Nobody, "{shown}");
                assert!(!changes || status != TicketStatus::Closed, "nothing changes in a closed ticket: {shown}");
                assert!(!changes || role != Role::Auditor, "{shown}");
                assert!(!changes || is_customer(role) == (side == Side::Customer), "each on its side: {shown}");
                assert!(operation != Operation::ReadVersions || !is_customer(role), "{shown}");
            }
            if role == Role::Nobody {
                assert_eq!(outcome, Err(Refusal::NoSuchFile), "{shown}");
            }
            // What is denied is denied to customers, and takes nothing else away.
            let plain = allows(role, operation, side, status, Denied::default());
            if !is_customer(role) {
                assert_eq!(outcome, plain, "{shown}");
            }
            assert!(plain.is_ok() || outcome == plain, "{shown}");
            assert!(allows(role, operation, side, TicketStatus::Open, denied).is_ok() || outcome.is_err(), "{shown}");
            let rights = Rights { role, denied, status };
            assert_eq!(Rights::from_bits(rights.to_bits()), rights);
            cells += 1;
        }
        println!("cells of the table with each state of what is denied: {cells}");
        assert_eq!(cells, 10 * 12 * 2 * TicketStatus::ALL.len() * 32);
    }

    #[test]
    fn what_is_denied_comes_back_from_its_words() {
        for bits in 0..1 << Right::ALL.len() {
            let denied = Denied(bits);
            assert_eq!(denied.to_string().parse(), Ok(denied));
        }
        assert_eq!("delete,list".parse::<Denied>().unwrap().to_string(), "list,delete");
        assert!("everything".parse::<Denied>().is_err());
    }
}
