//! From the journal to events: pages, each over a snapshot of its own.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use tombolo_crdt::entity::EntityState;
use tombolo_crdt::entry::{Body, Entry};
use tombolo_crdt::verdict::Verdict;
use tombolo_crdt::{Receipt, SpaceId};

use super::StreamError;
use super::cursor::{Cursor, Mark};
use super::event::{Event, Kind};
use crate::store::{JournalKind, JournalRow, Reader, Snapshot};

/// Journal rows, or rows of a listing, per snapshot.
const PAGE_ROWS: usize = 64;
/// Bytes of events after which a page ends early.
const PAGE_BYTES: usize = 256 << 10;

/// Reads the changes of a space.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) space: SpaceId,
    space_no: u32,
    collection: Option<String>,
    /// Where the next page begins.
    cursor: Cursor,
    /// A reset has to be told first.
    reset_due: bool,
    /// Where the journal ended at the last page.
    pub(crate) end: u64,
    /// Events that are made and not yet taken.
    ready: VecDeque<Event>,
}

impl Feed {
    /// From a cursor on.
    pub(crate) fn new(space: SpaceId, space_no: u32, collection: Option<String>, cursor: Cursor) -> Self {
        Self { space, space_no, collection, cursor, reset_due: false, end: 0, ready: VecDeque::new() }
    }

    /// The next event; `None`: nothing more for now.
    ///
    /// # Errors
    /// The store or a row cannot be read. Everything before it has been given by then, and it is tried again the next time.
    pub(crate) fn next(&mut self, reader: &Reader) -> Result<Option<Event>, StreamError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if !self.page(reader)? {
                return Ok(None);
            }
        }
    }

    /// Makes events of the next page. `false`: there is none.
    fn page(&mut self, reader: &Reader) -> Result<bool, StreamError> {
        let snapshot = reader.snapshot()?;
        if std::mem::take(&mut self.reset_due) {
            let event = self.reset(&snapshot)?;
            self.ready.push_back(event);
            return Ok(true);
        }
        match self.cursor.clone() {
            Cursor::Listing(mark, after) => self.list(&snapshot, mark, after),
            Cursor::At(mark, done) => self.read(&snapshot, mark, done),
        }
    }

    /// Begins anew: whoever reads has to forget what it knows.
    fn reset(&mut self, snapshot: &Snapshot) -> Result<Event, StreamError> {
        let row = snapshot.space(self.space)?;
        let mark = row.map_or_else(Mark::default, |row| Mark::new(row.journal, &row.running));
        self.cursor = Cursor::Listing(mark, None);
        Ok(Event::new(Kind::Reset, self.cursor.clone()))
    }

    /// A page of the listing after a reset.
    fn list(&mut self, snapshot: &Snapshot, mark: Mark, after: Option<(String, String)>) -> Result<bool, StreamError> {
        let (mut scanned, mut bytes, mut more) = (0, 0, false);
        let mut last = None;
        let mut fault = None;
        let ready = &mut self.ready;
        let behind = after.as_ref().map(|(collection, id)| (collection.as_str(), id.as_str()));
        let visited =
            snapshot.visit_rows(self.space_no, self.collection.as_deref(), "", behind, |collection, id, row| {
                if scanned >= PAGE_ROWS || bytes >= PAGE_BYTES {
                    more = true;
                    return ControlFlow::Break(());
                }
                scanned += 1;
                let key = (collection.to_owned(), id.to_owned());
                match decode(collection, id, row) {
                    Ok(state) if state.is_present() => {
                        bytes += row.len();
                        let cursor = Cursor::Listing(mark, Some(key.clone()));
                        let receipt = receipt_at(snapshot, self.space_no, state.journal());
                        ready.push_back(
                            Event::new(Kind::Changed, cursor).entity(collection, id, Some(&state)).receipt(receipt),
                        );
                    }
                    Ok(_) => {}
                    Err(error) => {
                        fault = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                last = Some(key);
                ControlFlow::Continue(())
            });
        match fault.or(visited.err().map(StreamError::from)) {
            Some(error) if self.ready.is_empty() => return Err(error),
            // What comes before it is given first.
            fault => more |= fault.is_some(),
        }
        // Behind the last entity the journal goes on where it was when the listing began.
        self.cursor = if more { Cursor::Listing(mark, last.or(after)) } else { Cursor::At(mark, 0) };
        if !more && let Some(event) = self.ready.back_mut() {
            event.cursor = self.cursor.clone();
        }
        Ok(true)
    }

    /// A page of the journal.
    fn read(&mut self, snapshot: &Snapshot, mark: Mark, mut done: usize) -> Result<bool, StreamError> {
        if !stands(snapshot, self.space_no, mark)? {
            self.reset_due = true;
            return Ok(true);
        }
        let page = snapshot.journal_range(self.space_no, mark.position + 1, PAGE_ROWS)?;
        let Some((end, _)) = page.last() else {
            self.end = mark.position;
            return Ok(false);
        };
        self.end = *end;
        let mut before = mark;
        let mut bytes = 0;
        for (position, row) in page {
            let here = Mark::new(position, &row.running);
            if row.kind == JournalKind::Reset {
                self.cursor = Cursor::At(here, 0);
                self.reset_due = true;
                return Ok(true);
            }
            let made = self.ready.len();
            bytes += match self.events_of(snapshot, &row, (before, here), done) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // All events of a row or none, and what comes before it first.
                    self.ready.truncate(made);
                    return if made == 0 { Err(error) } else { Ok(true) };
                }
            };
            self.cursor = Cursor::At(here, 0);
            before = here;
            done = 0;
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(true)
    }

    /// The events of one journal row, but for the first `done` changes of its entry. All but the last carry the cursor
    /// before the row. Returns their bytes, roughly.
    fn events_of(
        &mut self,
        snapshot: &Snapshot,
        row: &JournalRow,
        (before, here): (Mark, Mark),
        done: usize,
    ) -> Result<usize, StreamError> {
        // A row that was built anew is no entry's doing.
        let of_entry = row.kind != JournalKind::Repaired;
        let receipt = of_entry.then_some(Receipt { feed: row.feed, seq: row.seq });
        let stored = snapshot.entry(row.feed, row.seq)?;
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
        let first = self.ready.len();
        let mut bytes = 0;
        match row.kind {
            JournalKind::Rules if self.collection.is_none() => {
                self.ready.push_back(Event::new(Kind::Rules, Cursor::At(here, 0)).receipt(receipt).at(hlc));
            }
            JournalKind::Rules | JournalKind::Reset => {}
            JournalKind::Refused => {
                names.retain(|(collection, _)| wanted(collection));
                if self.collection.is_none() || !names.is_empty() {
                    let event = Event::new(Kind::Refused, Cursor::At(here, 0)).receipt(receipt).at(hlc);
                    self.ready.push_back(event.refused(verdict, names));
                }
            }
            JournalKind::Applied | JournalKind::TakenOut | JournalKind::Released | JournalKind::Repaired => {
                let undone = names.iter().enumerate().skip(done);
                for (index, (collection, id)) in undone.filter(|(_, (collection, _))| wanted(collection)) {
                    let (event, length) = changed(snapshot, self.space_no, collection, id)?;
                    bytes += length;
                    let mut event = event.receipt(receipt).at(hlc);
                    event.cursor = Cursor::At(before, index + 1);
                    self.ready.push_back(event);
                }
            }
        }
        // The last event of the row stands for all of it.
        if self.ready.len() > first
            && let Some(last) = self.ready.back_mut()
        {
            last.cursor = Cursor::At(here, 0);
        }
        Ok(bytes)
    }
}

/// An entity as it is now. Its cursor is set by the caller.
fn changed(snapshot: &Snapshot, space_no: u32, collection: &str, id: &str) -> Result<(Event, usize), StreamError> {
    let row = snapshot.row(space_no, collection, id)?;
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
fn stands(snapshot: &Snapshot, space_no: u32, mark: Mark) -> Result<bool, StreamError> {
    if mark.position == 0 {
        return Ok(mark.hash == [0; 8]);
    }
    let row = snapshot.journal(space_no, mark.position)?;
    Ok(row.is_some_and(|row| Mark::new(mark.position, &row.running) == mark))
}

fn receipt_at(snapshot: &Snapshot, space_no: u32, position: u64) -> Option<Receipt> {
    let row = snapshot.journal(space_no, position).ok()??;
    Some(Receipt { feed: row.feed, seq: row.seq })
}

fn decode(collection: &str, id: &str, row: &[u8]) -> Result<EntityState, StreamError> {
    EntityState::decode(row).map_err(|error| StreamError::Damaged {
        collection: collection.to_owned(),
        id: id.to_owned(),
        reason: error.to_string(),
    })
}
