//! What the engine refuses, as problems.

use tombolo_crdt::entity::WriteError;
use tombolo_crdt::entry::{ENTRY_BYTES_MAX, ENTRY_CHANGES_MAX};
use tombolo_transport::frame::JoinRefusal;

use super::problem::{Kind, Problem};
use crate::engine::Refusal;
use crate::ticket::TicketError;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::UnknownSpace(_) => Self::new(Kind::UnknownSpace, text),
            Refusal::SpaceExists(_) | Refusal::Argument(_) => Self::argument(text),
            Refusal::Role(role) => Self::new(Kind::Role, text).with("role", role),
            Refusal::Name(_) => Self::new(Kind::InvalidName, text),
            Refusal::Write { source, .. } => of_write(&source, text),
            Refusal::Mismatch { current, .. } => {
                let current = current.map(|revision| revision.to_string());
                Self::new(Kind::RevisionMismatch, text).with("current", current)
            }
            Refusal::IdempotencyConflict => Self::new(Kind::IdempotencyConflict, text),
            Refusal::TooLarge { .. } => Self::new(Kind::TooLarge, text)
                .with("limit", ENTRY_BYTES_MAX as u64)
                .with("limit_changes", ENTRY_CHANGES_MAX as u64),
            Refusal::Full(_) => Self::new(Kind::Full, text),
            Refusal::Ticket(refusal) => of_join(refusal),
            Refusal::Damaged { .. } => Self::new(Kind::Damaged, text),
            Refusal::Store(_) => Self::new(Kind::Store, text),
        }
    }
}

/// Why a member did not grant a join.
pub(super) fn of_join(refusal: JoinRefusal) -> Problem {
    match refusal {
        JoinRefusal::Expired => Problem::new(Kind::TicketExpired, "the member that answered says: expired"),
        JoinRefusal::Used => Problem::new(Kind::TicketUsed, "the member that answered says: the place is taken"),
        JoinRefusal::Signature => {
            Problem::new(Kind::TicketRefused, "the ticket's signature does not match: it is of another space or spoilt")
        }
        JoinRefusal::Busy => Problem::new(Kind::TicketRefused, "the member that answered cannot write at present")
            .hint("try again later; the ticket is still good"),
    }
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        let kind = match error {
            TicketError::Expired { .. } => Kind::TicketExpired,
            _ => Kind::InvalidTicket,
        };
        Self::new(kind, error.to_string())
    }
}
