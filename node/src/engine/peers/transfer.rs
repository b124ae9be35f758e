//! Entries on their way out: which are sent to whom and when, as far as the peer can take them.
//!
//! What is new and little is read within the step that settled it. Everything else is read beside the engine, for a few
//! sessions at a time, in turn ([`Loads`]).

use std::collections::{BTreeMap, VecDeque};

use tombolo_crdt::FeedId;
use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::feed::{FeedKind, Position, Range};
use tombolo_transport::frame::{Frame, Ranges};

use crate::engine::interface::{ConnId, Now, Output};
use crate::engine::peers::agenda::SessionId;
use crate::engine::peers::conn::Conns;
use crate::engine::peers::session::Session;
use crate::engine::peers::session::sending::{Flight, IN_FLIGHT_MAX, Loading};
use crate::engine::space::spaces::Spaces;
use crate::engine::space::{Feed, Space};
use crate::outgoing::{LOOK_BYTES, Load, Loaded, Portion, RANGE_ENVELOPE_BYTES, Run, Wanted};
use crate::store::{Reader, Reading, StoreError};

/// A transfer frame is closed when it holds this many bytes (512 KiB).
const FRAME_BYTES: usize = 512 * 1024;
/// Bytes that are read within one step for all sessions together (256 KiB, a run more): some 1 ms.
pub(in crate::engine) const STEP_READ_BYTES: usize = 256 << 10;
/// Feeds that one load may read: looking for them takes some 0.5 ms of a step. Others follow.
const WANTED_MAX: usize = 1_024;
/// Loads under way at a time: each keeps what a transfer stream has room for in memory.
const LOADS_MAX: usize = 2;
/// Damaged entries in a row that are looked beyond.
const ROTTEN_MAX: u64 = 16;

/// What is read beside the engine, and who waits for it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Loads {
    /// Loads made so far.
    number: u64,
    under_way: BTreeMap<u64, SessionId>,
    /// Sessions whose turn will come, first first. A session that waits says so ([`Loading::Queued`]).
    waiting: VecDeque<SessionId>,
}

impl Loads {
    /// Whether another load may begin now.
    pub(in crate::engine) fn has_turn(&self) -> bool {
        self.under_way.len() < LOADS_MAX && !self.waiting.is_empty()
    }

    /// A session waits for its turn.
    pub(in crate::engine) fn wait(&mut self, id: SessionId) {
        self.waiting.push_back(id);
    }

    /// Forgets who waits and for what: connections are closed. Loads under way are in vain.
    pub(in crate::engine) fn forget(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }

    /// Begins loads for whoever's turn it is.
    pub(in crate::engine) fn begin(
        &mut self,
        conns: &mut Conns,
        spaces: &Spaces,
        reader: impl Fn() -> Reader,
        out: &mut Vec<Output>,
    ) {
        while self.has_turn()
            && let Some(id) = self.waiting.pop_front()
        {
            let session = conns.get_mut(&id.0).and_then(|conn| conn.sessions.get_mut(&id.1));
            let (Some(session), Some(space)) = (session, spaces.get(&id.1)) else { continue };
            if !session.sending.loading.is_queued() {
                continue;
            }
            session.sending.loading = Loading::Idle;
            let (wanted, room) = (wanted(space, session, WANTED_MAX), session.sending.may_send());
            if wanted.is_empty() || room == 0 {
                continue;
            }
            self.number += 1;
            self.under_way.insert(self.number, id);
            session.sending.loading = Loading::under_way(self.number);
            out.push(Output::Load(Box::new(Load { number: self.number, reader: reader(), wanted, room })));
        }
        debug_assert!(self.under_way.len() <= LOADS_MAX, "loads under way are bounded");
    }

    /// Takes what was read. The session that it is for, if that still waits for it.
    pub(in crate::engine) fn loaded(&mut self, loaded: Loaded, conns: &mut Conns) -> Option<SessionId> {
        let id = self.under_way.remove(&loaded.number)?;
        let session = conns.get_mut(&id.0)?.sessions.get_mut(&id.1)?;
        session.sending.loading.done(loaded).then_some(id)
    }
}

/// Fills the room on a session's transfer stream with what was read for it, and with what is new and little. `left`:
/// bytes that this step may still read. Where that is not enough the session waits for its turn to be read for.
pub(in crate::engine) fn pump(
    space: &Space,
    session: &mut Session,
    (now, conn): (Now, ConnId),
    (reading, left): (&Reading, &mut usize),
    out: &mut Vec<Output>,
) -> Result<(), StoreError> {
    session.relaying.release(&session.sending.lag, now.mono);
    let read = session.sending.loading.take();
    if session.known().is_none() || session.sending.lag.is_empty() {
        return Ok(());
    }
    if let Some((read, stirred)) = read {
        let mut portion = read?;
        portion.done.retain(|feed| !stirred.contains(feed));
        send(space, session, (now, conn), portion, out);
    }
    if !session.sending.loading.is_idle() || session.sending.may_send() == 0 {
        return Ok(());
    }
    // Half of what is left may go into looking.
    let enough = (*left / 2).div_ceil(LOOK_BYTES);
    let wanted = wanted(space, session, enough + 1);
    if wanted.len() <= enough && !wanted.is_empty() {
        let portion = Wanted::read(wanted, reading, session.sending.may_send().min(*left))?;
        *left = left.saturating_sub(portion.cost);
        send(space, session, (now, conn), portion, out);
    }
    if session.sending.may_send() > 0 && self::wanted(space, session, 1).len() == 1 {
        session.sending.loading = Loading::Hungry;
    }
    Ok(())
}

/// What is wanted of lagging feeds whose entries may go now: of so many feeds at most. O(lagging feeds that wait).
fn wanted(space: &Space, session: &Session, most: usize) -> Vec<Wanted> {
    let waits = |feed| session.relaying.waits(feed) || session.sending.resend.contains_key(&feed);
    let lagging = session.sending.lag.iter().filter(|feed| !waits(**feed));
    let known = lagging.filter_map(|feed| Some((*feed, space.feeds.get(feed)?)));
    known.take(most).map(|(id, feed)| want(feed, next(space, session, id))).collect()
}

/// The first entry of a feed that the peer lacks.
fn next(space: &Space, session: &Session, feed: FeedId) -> u64 {
    let reached = session.reached(space, feed);
    let off = defect::is(Defect::RangeOffByOne) && reached > 0 && feed != space.own_data_feed;
    reached + 1 + u64::from(off)
}

/// A feed from an entry on.
pub(in crate::engine) fn want(feed: &Feed, from: u64) -> Wanted {
    let is_rules = feed.opening.kind == FeedKind::Rules;
    Wanted { feed: feed.opening.feed(), is_rules, from, settled: feed.row.seq, sealed: feed.row.sealed }
}

/// A run as it is sent.
pub(in crate::engine) fn range(feed: &Feed, run: Run) -> Range {
    let previous = run.previous.unwrap_or_else(|| feed.opening.chain());
    Range { opening: feed.row.opening.clone(), from: run.from, previous, entries: run.entries, seal: run.seal }
}

/// Sends what was read, in frames. What the peer has got from elsewhere meanwhile is left out.
fn send(space: &Space, session: &mut Session, (now, conn): (Now, ConnId), portion: Portion, out: &mut Vec<Output>) {
    let mut runs = portion.runs.into_iter().peekable();
    while runs.peek().is_some() {
        let (mut ranges, mut carried, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < FRAME_BYTES
            && let Some(run) = runs.next()
        {
            let Some(feed) = space.feeds.get(&run.feed) else { continue };
            if run.from != next(space, session, run.feed) {
                continue;
            }
            bytes += run.bytes() + RANGE_ENVELOPE_BYTES;
            session.sending.cursor.insert(run.feed, run.last);
            carried.push((run.feed, run.last));
            ranges.push(range(feed, run));
        }
        if ranges.is_empty() {
            break;
        }
        let sending = &mut session.sending;
        sending.count += 1;
        sending.room = sending.room.saturating_sub(bytes);
        debug_assert!(carried.iter().all(|(_, last)| *last > 0), "every range that is sent has an entry");
        sending.in_flight.push_back(Flight { number: sending.count, sent: now.mono, carried });
        let bounded = sending.in_flight.len() < 2 * IN_FLIGHT_MAX || defect::is(Defect::RoomIgnored);
        debug_assert!(bounded, "frames on their way are bounded");
        let frame = Frame::Ranges(Ranges { space: space.id, number: sending.count, ranges });
        out.push(Output::Transfer(conn, space.id, frame));
    }
    for feed in portion.done {
        session.sending.lag.remove(&feed);
    }
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
