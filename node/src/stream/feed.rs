//! From the journal to events: in turns of bounded work, each over a reading of its own.

use tombolo_crdt::entity::EntityState;
use tombolo_crdt::entry::{Body, Entry};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{Receipt, SpaceId};

use super::StreamError;
use super::cursor::{Cursor, Mark};
use super::event::{Event, Kind};
use super::walk::{Walk, decode};
use crate::store::{JournalKind, JournalRow, Reader, Reading};

/// Journal rows, or rows of a listing, that a turn looks at: 3 µs each where the filter leaves nothing of them.
pub(super) const TURN_ROWS: usize = 512;
/// Bytes of rows and entries that a turn reads and decodes: 5 ms. A turn ends with the one that goes beyond.
pub(super) const TURN_READ_BYTES: usize = 256 << 10;
/// Bytes of events after which a turn ends: what waits in memory for a client that does not read.
const TURN_EVENT_BYTES: usize = 16 << 10;
/// Journal rows read at a time.
const BATCH_ROWS: usize = 64;

/// Reads the changes of a space.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) space: SpaceId,
    space_no: u32,
    collection: Option<String>,
    /// Where the next turn begins.
    cursor: Cursor,
    /// A reset has to be told first.
    reset_due: bool,
    /// Where the journal ended at the last turn that came to its end.
    pub(crate) end: u64,
}

/// What a turn came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Events, in order; at least one.
    Events(Vec<Event>),
    /// Nothing to tell in what was looked at; there is more to look at.
    Nothing,
    /// Nothing more for now.
    Present,
}

/// What a turn has done so far.
#[derive(Debug, Default)]
struct Made {
    events: Vec<Event>,
    /// Bytes of rows of these events.
    event_bytes: usize,
    rows: usize,
    read_bytes: usize,
}

impl Made {
    fn is_full(&self) -> bool {
        self.rows >= TURN_ROWS || self.read_bytes >= TURN_READ_BYTES || self.event_bytes >= TURN_EVENT_BYTES
    }
}

impl Feed {
    /// From a cursor on.
    pub(crate) fn new(space: SpaceId, space_no: u32, collection: Option<String>, cursor: Cursor) -> Self {
        Self { space, space_no, collection, cursor, reset_due: false, end: 0 }
    }

    /// Makes the next events. Costs some milliseconds at most, whatever is asked for: [`TURN_ROWS`],
    /// [`TURN_READ_BYTES`] and [`TURN_EVENT_BYTES`] bound it, but for the one row or entry that each goes beyond.
    ///
    /// # Errors
    /// The store or a row cannot be read. Everything before it has been given by then, and it is tried again the next
    /// time.
    pub(crate) fn turn(&mut self, reader: &Reader) -> Result<Turn, StreamError> {
        let reading = reader.reading()?;
        let mut made = Made::default();
        let more = if std::mem::take(&mut self.reset_due) {
            made.events.push(self.reset(&reading)?);
            true
        } else {
            match self.cursor.clone() {
                Cursor::Listing(mark, after) => self.list(&reading, mark, after, &mut made)?,
                Cursor::At(mark, done) => self.read(&reading, mark, done, &mut made)?,
            }
        };
        Ok(match (made.events.is_empty(), more) {
            (false, _) => Turn::Events(made.events),
            (true, true) => Turn::Nothing,
            (true, false) => Turn::Present,
        })
    }

    /// Begins anew: whoever reads has to forget what it knows.
    fn reset(&mut self, reading: &Reading) -> Result<Event, StreamError> {
        let row = reading.space(self.space)?;
        let mark = row.map_or_else(Mark::default, |row| Mark::new(row.journal, &row.running));
        self.cursor = Cursor::Listing(mark, None);
        Ok(Event::new(Kind::Reset, self.cursor.clone()))
    }

    /// Goes on with the listing after a reset. There is always more: the journal follows.
    fn list(
        &mut self,
        reading: &Reading,
        mark: Mark,
        after: Option<(String, String)>,
        made: &mut Made,
    ) -> Result<bool, StreamError> {
        let (space_no, mut walk) = (self.space_no, Walk::new(self.space_no, self.collection.clone(), after));
        let walked = walk.turn(reading, |collection, id, state, length| {
            if state.is_present() {
                made.event_bytes += length;
                let cursor = Cursor::Listing(mark, Some((collection.to_owned(), id.to_owned())));
                let receipt = receipt_at(reading, space_no, state.journal());
                let event = Event::new(Kind::Changed, cursor);
                made.events.push(event.entity(collection, id, Some(&state)).receipt(receipt));
            }
            !made.is_full()
        });
        // Behind the last entity the journal goes on where it was when the listing began.
        self.cursor = if walked? { Cursor::Listing(mark, walk.into_place()) } else { Cursor::At(mark, 0) };
        if matches!(self.cursor, Cursor::At(..))
            && let Some(event) = made.events.last_mut()
        {
            event.cursor = self.cursor.clone();
        }
        Ok(true)
    }

    /// Goes on with the journal. `false`: it is at its end.
    fn read(&mut self, reading: &Reading, mark: Mark, mut done: usize, made: &mut Made) -> Result<bool, StreamError> {
        if !stands(reading, self.space_no, mark)? {
            self.reset_due = true;
            return Ok(true);
        }
        let mut before = mark;
        while !made.is_full() {
            let batch = reading.journal_range(self.space_no, before.position + 1, BATCH_ROWS)?;
            if batch.is_empty() {
                self.end = before.position;
                return Ok(false);
            }
            for (position, row) in batch {
                let here = Mark::new(position, &row.running);
                if row.kind == JournalKind::Reset {
                    self.cursor = Cursor::At(here, 0);
                    self.reset_due = true;
                    return Ok(true);
                }
                made.rows += 1;
                let kept = made.events.len();
                match self.events_of(reading, &row, (before, here), done, made) {
                    Ok(cursor) => self.cursor = cursor,
                    Err(error) if kept == 0 => return Err(error),
                    // Of an entry all that the turn takes is given, or nothing; and what comes before it first.
                    Err(_) => {
                        made.events.truncate(kept);
                        return Ok(true);
                    }
                }
                if made.is_full() {
                    return Ok(true);
                }
                debug_assert_eq!(self.cursor, Cursor::At(here, 0), "only a turn that is full leaves an entry early");
                before = here;
                done = 0;
            }
        }
        Ok(true)
    }

    /// The events of one journal row, but for the first `done` changes of its entry, as far as the turn takes them. All
    /// but the last of the row carry the cursor before the row and how many changes of it are done. Returns where the
    /// feed is then.
    fn events_of(
        &self,
        reading: &Reading,
        row: &JournalRow,
        (before, here): (Mark, Mark),
        done: usize,
        made: &mut Made,
    ) -> Result<Cursor, StreamError> {
        let behind = Cursor::At(here, 0);
        // A row that was built anew is no entry's doing.
        let of_entry = row.kind != JournalKind::Repaired;
        let receipt = of_entry.then_some(Receipt { feed: row.feed, seq: row.seq });
        let stored = reading.entry(row.feed, row.seq)?;
        made.read_bytes += stored.as_ref().map_or(0, |stored| stored.bytes.len());
        let verdict = stored.as_ref().and_then(|stored| Verdict::from_code(stored.verdict)).map(Verdict::name);
        let entry = stored.and_then(|stored| Entry::decode(&stored.bytes).ok());
        let hlc = entry.as_ref().map(|entry| entry.hlc);
        let mut names = row.entities.clone();
        if names.is_empty()
            && let Some(Entry { body: Body::Data(changes), .. }) = entry
        {
            names = changes.into_iter().map(|change| (change.collection, change.id)).collect();
        }
        let wanted = |collection: &str| self.collection.as_deref().is_none_or(|wanted| wanted == collection);
        match row.kind {
            JournalKind::Rules if self.collection.is_none() => {
                made.events.push(Event::new(Kind::Rules, behind.clone()).receipt(receipt).at(hlc));
            }
            JournalKind::Rules | JournalKind::Reset => {}
            JournalKind::Refused => {
                names.retain(|(collection, _)| wanted(collection));
                if self.collection.is_none() || !names.is_empty() {
                    let event = Event::new(Kind::Refused, behind.clone()).receipt(receipt).at(hlc);
                    made.events.push(event.refused(verdict, names));
                }
            }
            JournalKind::Applied | JournalKind::TakenOut | JournalKind::Released | JournalKind::Repaired => {
                let undone = names.iter().enumerate().skip(done).filter(|(_, (collection, _))| wanted(collection));
                let mut undone = undone.peekable();
                while let Some((index, (collection, id))) = undone.next() {
                    let (event, length) = changed(reading, self.space_no, collection, id)?;
                    made.event_bytes += length;
                    made.read_bytes += length;
                    made.rows += 1;
                    let mut event = event.receipt(receipt).at(hlc);
                    let is_last = undone.peek().is_none();
                    // The last event of the row stands for all of it.
                    event.cursor = if is_last { behind.clone() } else { Cursor::At(before, index + 1) };
                    made.events.push(event);
                    if !is_last && made.is_full() {
                        return Ok(Cursor::At(before, index + 1));
                    }
                }
            }
        }
        Ok(behind)
    }
}

/// An entity as it is now. Its cursor is set by the caller.
fn changed(reading: &Reading, space_no: u32, collection: &str, id: &str) -> Result<(Event, usize), StreamError> {
    let row = reading.row(space_no, collection, id)?;
    let length = row.as_ref().map_or(0, Vec::len);
    let state = row.map(|row| decode(collection, id, &row)).transpose()?;
    let kind = match state.as_ref().is_some_and(EntityState::is_present) {
        true => Kind::Changed,
        false => Kind::Deleted,
    };
    let event = Event::new(kind, Cursor::At(Mark::default(), 0));
    Ok((event.entity(collection, id, state.as_ref()), length))
}

/// Whether the journal still is what it was when the mark was given.
fn stands(reading: &Reading, space_no: u32, mark: Mark) -> Result<bool, StreamError> {
    if mark.position == 0 {
        return Ok(mark.hash == [0; 8]);
    }
    let row = reading.journal(space_no, mark.position)?;
    Ok(row.is_some_and(|row| Mark::new(mark.position, &row.running) == mark))
}

fn receipt_at(reading: &Reading, space_no: u32, position: u64) -> Option<Receipt> {
    let row = reading.journal(space_no, position).ok()??;
    Some(Receipt { feed: row.feed, seq: row.seq })
}
