//! What the engine refuses, as problems.

use tombolo_crdt::entity::{CHANGE_BYTES_MAX, CHANGE_OPERATIONS_MAX, VIEW_BYTES_MAX, WriteError};
use tombolo_crdt::entry::{ENTRY_BYTES_MAX, ENTRY_CHANGES_MAX};
use tombolo_transport::frame::JoinRefusal;

use super::problem::{Kind, Problem};
use crate::engine::{PLANNED_ROWS_BYTES_MAX, Refusal};
use crate::ticket::TicketError;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::UnknownSpace(_) => Self::new(Kind::UnknownSpace, text),
            Refusal::SpaceExists(_) => Self::new(Kind::SpaceExists, text),
            Refusal::Argument(_) => Self::argument(text),
            Refusal::Role(role) => Self::new(Kind::Role, text).with("role", role),
            Refusal::Name(_) => Self::new(Kind::InvalidName, text),
            Refusal::Verdict(_) => Self::new(Kind::InvalidValue, text),
            Refusal::Write { source, .. } => of_write(&source, text),
            Refusal::Mismatch { current, .. } => {
                let current = current.map(|revision| revision.to_string());
                Self::new(Kind::RevisionMismatch, text).with("current", current)
            }
            Refusal::IdempotencyConflict => Self::new(Kind::IdempotencyConflict, text),
            Refusal::TooLarge { .. } => Self::new(Kind::TooLarge, text)
                .with("limit", ENTRY_BYTES_MAX as u64)
                .with("limit_changes", ENTRY_CHANGES_MAX as u64),
            Refusal::RowsTooLarge { .. } => {
                Self::new(Kind::TooLarge, text).with("limit", PLANNED_ROWS_BYTES_MAX as u64)
            }
            // Whoever sends batches sends such a write again, by itself.
            Refusal::Large => Self::new(Kind::TooLarge, text),
            Refusal::Full(_) => Self::new(Kind::Full, text),
            Refusal::Ticket(refusal) => of_join(refusal),
            Refusal::Damaged { .. } | Refusal::Unreadable { .. } => Self::new(Kind::Damaged, text),
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
        Self::new(Kind::InvalidTicket, error.to_string())
    }
}

/// Why a write itself cannot be made.
fn of_write(error: &WriteError, text: String) -> Problem {
    match error {
        WriteError::Absent => {
            Problem::new(Kind::NotFound, text).hint("PUT creates entities; PATCH changes those that are there")
        }
        WriteError::TooLarge(_) => Problem::new(Kind::TooLarge, text).with("limit", VIEW_BYTES_MAX as u64),
        WriteError::ChangeTooLarge { .. } => Problem::new(Kind::TooLarge, text)
            .with("limit", CHANGE_BYTES_MAX as u64)
            .with("limit_operations", CHANGE_OPERATIONS_MAX as u64)
            .hint("make it in several smaller writes"),
        WriteError::TooMuchWork => Problem::new(Kind::TooLarge, text),
        // A test is a condition like `If-Match`, in the body.
        WriteError::TestFailed(path) => Problem::new(Kind::RevisionMismatch, text).with("path", path.as_str()),
        WriteError::NotACounter(_) => Problem::new(Kind::InvalidValue, text).hint(
            "a number that was put or imported is no counter; patch the field to null, then increment it by its old value",
        ),
        WriteError::Spent => Problem::new(Kind::Store, text),
        _ => Problem::new(Kind::InvalidValue, text),
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::names::check_id;
    use tombolo_crdt::verdict::Verdict;
    use tombolo_crdt::{Revision, SpaceId};

    use super::*;

    #[test]
    fn refusals_become_the_documented_problems() {
        let write = |source| Refusal::Write { collection: "c".to_owned(), id: "i".to_owned(), source };
        let current = Some(Revision::from_bytes([1; 16]));
        let mismatch = Refusal::Mismatch { collection: "c".to_owned(), id: "i".to_owned(), current };
        let table = [
            (Refusal::UnknownSpace(SpaceId::from_bytes([0; 32])), "unknown-space", 404),
            (Refusal::Role("reader"), "role", 403),
            (Refusal::Verdict(Verdict::Structure), "invalid-value", 422),
            (Refusal::Name(check_id("").expect_err("empty")), "invalid-name", 422),
            (write(WriteError::Absent), "not-found", 404),
            (write(WriteError::NotAnObject), "invalid-value", 422),
            (write(WriteError::TooLarge(5)), "too-large", 413),
            (write(WriteError::ChangeTooLarge { operations: 5 }), "too-large", 413),
            (write(WriteError::TooMuchWork), "too-large", 413),
            (write(WriteError::Exhausted), "invalid-value", 422),
            (write(WriteError::TestFailed("/a".to_owned())), "revision-mismatch", 412),
            (mismatch.clone(), "revision-mismatch", 412),
            (Refusal::IdempotencyConflict, "idempotency-conflict", 422),
            (Refusal::TooLarge { changes: 1, bytes: 1 }, "too-large", 413),
            (Refusal::Full(String::new()), "full", 507),
            (Refusal::Store(String::new()), "store", 503),
            (Refusal::Unreadable { what: String::new(), reason: String::new() }, "damaged", 500),
            (Refusal::Ticket(JoinRefusal::Used), "ticket-used", 409),
            (Refusal::Ticket(JoinRefusal::Expired), "ticket-expired", 409),
            (Refusal::Ticket(JoinRefusal::Signature), "ticket-refused", 409),
            (Refusal::Argument(String::new()), "invalid-argument", 400),
        ];
        for (refusal, slug, status) in table {
            let (found, code, _) = Problem::from(refusal).kind.facts();
            assert_eq!((found, code.as_u16()), (slug, status));
        }
        let shown = Problem::from(write(WriteError::ChangeTooLarge { operations: 1_050_000 })).to_json();
        assert!(shown["detail"].as_str().is_some_and(|text| text.contains("1050000 operations")), "{shown}");
        assert_eq!((&shown["limit"], &shown["limit_operations"]), (&1_048_576.into(), &262_144.into()));
        let shown = Problem::from(mismatch).to_json();
        assert_eq!(shown["current"], "01010101010101010101010101010101");
        assert_eq!(Problem::from(TicketError::Truncated).kind, Kind::InvalidTicket);
    }
}
