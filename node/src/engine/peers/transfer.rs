//! Entries on their way out: produced from what is durable, when and as far as the peer can take them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_bytes::ByteBuf;
use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::feed::{FeedKind, Position, Range, STRIDE_ENTRIES_MAX, Signature};
use tombolo_transport::frame::{Frame, Ranges};

use crate::engine::interface::{ConnId, Now, Output};
use crate::engine::peers::session::Session;
use crate::engine::peers::session::sending::{Flight, IN_FLIGHT_MAX};
use crate::engine::space::{Feed, Space};
use crate::store::{Reading, StoreError};

/// A transfer frame is closed when it holds this many bytes (512 KiB).
const FRAME_BYTES: usize = 512 * 1024;
/// Bytes that are read in one step for all sessions together (4 MiB, a frame more): some 15 ms. A look for the next
/// entry of a feed counts [`LOOK_BYTES`].
pub(in crate::engine) const STEP_READ_BYTES: usize = 4 << 20;
/// Time of a look in the store, in bytes read: some 4 µs.
const LOOK_BYTES: usize = 1 << 10;
/// Damaged entries in a row that are looked beyond.
const ROTTEN_MAX: u64 = 16;
/// Bytes around the entries of a range: opening, hashes, seal, lengths.
const RANGE_ENVELOPE_BYTES: usize = 512;

/// Fills the room on a session's transfer stream. Rules go first; then one cursor per lagging feed, by the journal
/// position of its next entry, which is an order in which they can be settled. `left`: bytes that this step may still
/// read; when they are used up the session is to be visited again.
pub(in crate::engine) fn pump(
    space: &Space,
    session: &mut Session,
    (now, conn): (Now, ConnId),
    (reading, left): (&Reading, &mut usize),
    out: &mut Vec<Output>,
) -> Result<(), StoreError> {
    session.sending.hungry_at = None;
    session.relaying.release(&session.sending.lag, now.mono);
    if session.known().is_none() || session.sending.lag.is_empty() {
        return Ok(());
    }
    let endless = defect::is(Defect::RoomIgnored);
    let has_room = |session: &Session| session.sending.room > 0 && session.sending.in_flight.len() < IN_FLIGHT_MAX;
    if *left == 0 && has_room(session) && !endless {
        session.sending.hungry_at = Some(now.mono);
        return Ok(());
    }
    let mut heap = if endless || has_room(session) { cursors(space, session, reading, left)? } else { return Ok(()) };
    while endless || has_room(session) {
        let mut ranges = Vec::new();
        let mut carried: Vec<(FeedId, u64)> = Vec::new();
        let mut bytes = 0;
        while let Some(Reverse((kind, journal, feed))) = heap.pop() {
            let is_full = bytes >= FRAME_BYTES.min(if endless { FRAME_BYTES } else { session.sending.room });
            if is_full || (*left == 0 && !endless) {
                heap.push(Reverse((kind, journal, feed)));
                break;
            }
            let reached = session.reached(space, feed);
            let off = defect::is(Defect::RangeOffByOne) && reached > 0 && feed != space.own_data_feed;
            let from = reached + 1 + u64::from(off);
            let range = space.feeds.get(&feed).map(|f| unless_damaged(next_range(f, from, reading))).transpose()?;
            let Some((range, last)) = range.flatten() else {
                session.sending.lag.remove(&feed);
                continue;
            };
            bytes += range.entry_bytes() + RANGE_ENVELOPE_BYTES;
            *left = left.saturating_sub(range.entry_bytes() + LOOK_BYTES);
            ranges.push(range);
            carried.push((feed, last));
            session.sending.cursor.insert(feed, last);
            match unless_damaged(reading.entry_journal(feed, last + 1))? {
                Some(journal) => heap.push(Reverse((kind, journal, feed))),
                None => drop(session.sending.lag.remove(&feed)),
            }
        }
        if ranges.is_empty() {
            session.sending.hungry_at = (*left == 0 && !heap.is_empty()).then_some(now.mono);
            break;
        }
        let sending = &mut session.sending;
        sending.count += 1;
        sending.room = sending.room.saturating_sub(bytes);
        debug_assert!(carried.iter().all(|(_, last)| *last > 0), "every range that is sent has an entry");
        sending.in_flight.push_back(Flight { number: sending.count, sent: now.mono, carried });
        let frame = Frame::Ranges(Ranges { space: space.id, number: sending.count, ranges });
        out.push(Output::Transfer(conn, space.id, frame));
    }
    Ok(())
}

/// What cannot be read is not sent: a feed with a damaged entry must not stop the others. Who lacks it gets it
/// elsewhere.
pub(in crate::engine) fn unless_damaged<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "a feed cannot be sent");
            Ok(None)
        }
        read => read,
    }
}

/// Feeds by (rules before data, journal position of the next entry, feed), first first.
type Cursors = BinaryHeap<Reverse<(u8, u64, FeedId)>>;

/// The next entry of lagging feeds: of all, or of as many as half of what the step may read allows. At least one: whose
/// turn is first gets further.
fn cursors(space: &Space, session: &mut Session, reading: &Reading, left: &mut usize) -> Result<Cursors, StoreError> {
    let mut heap = BinaryHeap::new();
    let enough = *left / 2;
    for feed in session.sending.lag.clone() {
        if *left <= enough && !heap.is_empty() {
            break;
        }
        if session.relaying.waits(feed) || session.sending.resend.contains_key(&feed) {
            continue;
        }
        *left = left.saturating_sub(LOOK_BYTES);
        match unless_damaged(reading.entry_journal(feed, session.reached(space, feed) + 1))? {
            Some(journal) => {
                let rules = space.feeds.get(&feed).is_some_and(|feed| feed.opening.kind == FeedKind::Rules);
                heap.push(Reverse((u8::from(!rules), journal, feed)));
            }
            None => drop(session.sending.lag.remove(&feed)),
        }
    }
    Ok(heap)
}

/// The held entries of a feed right after its settled ones, up to the first seal among them: what has to go along where
/// a sealed run is settled in part only. `None`: none of them is sealed.
fn held_run(id: FeedId, settled: u64, reading: &Reading) -> Result<Option<(Vec<ByteBuf>, Signature)>, StoreError> {
    let mut entries = Vec::new();
    while let Some(row) = reading.held_entry(id, settled + 1 + entries.len() as u64)? {
        entries.push(ByteBuf::from(row.bytes));
        match row.seal {
            Some(seal) => return Ok(Some((entries, seal))),
            None if entries.len() >= STRIDE_ENTRIES_MAX => break,
            None => {}
        }
    }
    Ok(None)
}

/// The run of a feed from `from` to the next seal; `None` where nothing sealed lies beyond.
pub(in crate::engine) fn next_range(
    feed: &Feed,
    from: u64,
    reading: &Reading,
) -> Result<Option<(Range, u64)>, StoreError> {
    let id = feed.opening.feed();
    let settled = feed.row.seq;
    let (last, held, seal) = match feed.row.sealed.filter(|(seq, _)| *seq >= from) {
        Some(latest) => {
            let kept = reading.seal_at_or_after(id, from)?.filter(|(seq, _)| *seq <= latest.0);
            let (last, seal) = kept.unwrap_or(latest);
            (last, Vec::new(), seal)
        }
        None if settled >= from => match held_run(id, settled, reading)? {
            Some((held, seal)) => (settled, held, seal),
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    debug_assert!(from > 0 && from <= last && last <= settled, "what is sent is settled, and so it is durable");
    let previous = match from {
        1 => feed.opening.chain(),
        _ => match reading.entry(id, from - 1)? {
            Some(row) => row.chain,
            None => return Ok(None),
        },
    };
    let rows = reading.entries(id, from..=last, usize::MAX)?;
    if rows.len() as u64 != last + 1 - from {
        return Err(StoreError::corrupt("entries", "a settled entry is missing"));
    }
    let mut entries: Vec<ByteBuf> = rows.into_iter().map(|(_, row)| ByteBuf::from(row.bytes)).collect();
    let last = last + held.len() as u64;
    entries.extend(held);
    Ok(Some((Range { opening: feed.row.opening.clone(), from, previous, entries, seal }, last)))
}

/// How far a feed was settled when the journal stood at `journal`: its entries have ascending journal positions. Not so
/// far, where entries there cannot be read: then something is sent twice.
pub(in crate::engine) fn seq_at(reading: &Reading, position: Position, journal: u64) -> Result<u64, StoreError> {
    let (mut low, mut high) = (0, position.seq);
    let settled = |seq| settled_at(reading, Position { seq, ..position }, position.seq, journal);
    if settled(high)? {
        return Ok(high);
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if settled(middle)? {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    if low > 0 && defect::is(Defect::PositionOffByOne) {
        return Ok(low + 1);
    }
    Ok(low)
}

/// Whether an entry is known to have been settled when the journal stood at `journal`. Of one that cannot be read the
/// next that can tells, up to `last`.
fn settled_at(reading: &Reading, position: Position, last: u64, journal: u64) -> Result<bool, StoreError> {
    for seq in position.seq..=last.min(position.seq.saturating_add(ROTTEN_MAX)) {
        match reading.entry_journal(position.feed, seq) {
            Err(StoreError::Corrupt { .. }) => {}
            at => return Ok(at?.is_some_and(|at| at <= journal)),
        }
    }
    Ok(false)
}
