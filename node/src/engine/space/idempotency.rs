//! Idempotency keys: the first answer is kept with the entry it names, in the same commit.

use serde::{Deserialize, Serialize};
use tombolo_crdt::hash::{Tagged, tag};
use tombolo_crdt::{Receipt, Revision, SpaceId};

use crate::engine::interface::{Idempotency, Refusal, WriteOutcome, Written};
use crate::engine::space::local::Fault;
use crate::store::{Batch, IdempotencyRow, StoreError};

/// Idempotency keys purged in one step.
const PURGE_MAX: usize = 256;

/// What is kept of one write: receipt, revision, present, created, changed. Refusals within a batch are not kept: they
/// are found again.
#[derive(Serialize, Deserialize)]
struct Kept(Option<Receipt>, Revision, bool, bool, bool);

/// 16 bytes that stand for the key in the entry, of no use outside the space.
pub(in crate::engine) fn in_entry(space: SpaceId, key: &Idempotency) -> [u8; 16] {
    Tagged::new(tag::IDEMPOTENCY).bytes(space.as_bytes()).bytes(&key.key).finish16()
}

/// The answer given before, if the key was used for the same body. Refused, if there was one and it cannot be read:
/// what was asked for has been done.
pub(in crate::engine) fn replay(batch: &Batch<'_>, key: &Idempotency) -> Result<Option<WriteOutcome>, Fault> {
    let row = match batch.idempotency(&key.key) {
        Err(StoreError::Corrupt { detail, .. }) => return Err(unreadable(detail).into()),
        row => row?,
    };
    let Some(row) = row else { return Ok(None) };
    if row.body != key.body {
        return Err(Refusal::IdempotencyConflict.into());
    }
    let kept: Vec<Kept> =
        postcard::from_bytes(&row.outcome).map_err(|_| unreadable("it does not decode".to_owned()))?;
    let written = |Kept(receipt, revision, present, created, changed)| {
        Ok(Written { receipt, revision, present, created, changed })
    };
    Ok(Some(WriteOutcome { writes: kept.into_iter().map(written).collect(), replayed: true }))
}

fn unreadable(reason: String) -> Refusal {
    Refusal::Unreadable { what: "the answer that was given under this idempotency key".to_owned(), reason }
}

/// Keeps an answer.
pub(in crate::engine) fn remember(
    batch: &mut Batch<'_>,
    key: &Idempotency,
    outcome: &WriteOutcome,
    at_millis: u64,
) -> Result<(), StoreError> {
    let kept: Option<Vec<Kept>> = outcome
        .writes
        .iter()
        .map(|write| {
            let w = write.as_ref().ok()?;
            Some(Kept(w.receipt, w.revision, w.present, w.created, w.changed))
        })
        .collect();
    let Some(kept) = kept else { return Ok(()) };
    let outcome = postcard::to_stdvec(&kept).expect("writing to a vector cannot fail");
    batch.put_idempotency(&key.key, &IdempotencyRow { body: key.body, outcome, at_millis })
}

/// Forgets old answers. What of their order cannot be read is dropped, and no step fails for it.
pub(in crate::engine) fn purge(batch: &mut Batch<'_>, now_millis: u64) -> Result<(), StoreError> {
    for _ in 0..PURGE_MAX {
        match batch.purge_idempotency(now_millis, PURGE_MAX) {
            Err(StoreError::Corrupt { key, detail, .. }) => {
                tracing::error!(?key, %detail, "answers kept for idempotency keys are damaged and dropped");
                if !batch.drop_idempotency(&key) {
                    return Ok(());
                }
            }
            purged => return purged.map(drop),
        }
    }
    Ok(())
}
