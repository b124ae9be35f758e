//! Change streams: a client beside some nodes, which reads what the product tells its clients and keeps a mirror.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::{FeedId, Receipt, SpaceId};
use tombolo_node::store::{JournalKind, JournalRow, Reader, Reading, StoreError};
use tombolo_node::stream::{ChangeReader, Told};

use super::Start;
use super::fault::Fault;
use super::values::Rows;
use super::writes::Name;
use crate::outcome::Oracle;

/// Journal rows read at a time.
const PAGE: usize = 256;

/// What a client knows of a space.
#[derive(Debug)]
pub(super) struct Consumer {
    space: SpaceId,
    changes: Option<ChangeReader>,
    cursor: String,
    mirror: BTreeMap<Name, Vec<u8>>,
    told: BTreeSet<(Receipt, Name)>,
    journal: Journal,
    /// The node has an older store: a reset is due, or not.
    reset_allowed: bool,
}

/// The journal as it was read, row by row.
#[derive(Debug, Default)]
struct Journal {
    position: u64,
    running: [u8; 16],
    settled: BTreeSet<(FeedId, u64)>,
}

fn wrong(place: &'static str, detail: impl Into<String>) -> Fault {
    Fault::new(Oracle::Stream, place, detail)
}

impl Journal {
    /// Takes a row: the next one, chained, of an entry that was not there.
    fn take(&mut self, position: u64, row: &JournalRow) -> Result<(), Fault> {
        if position != self.position + 1 {
            return Err(wrong("a gap in the journal", format!("position {position} follows {}", self.position)));
        }
        let next = JournalRow::next(&self.running, position, row.kind, row.feed, row.seq, row.entities.clone());
        if next.running != row.running {
            return Err(wrong("a journal that is not chained", format!("at position {position}")));
        }
        let settles = matches!(row.kind, JournalKind::Applied | JournalKind::Refused | JournalKind::Rules);
        if settles && !self.settled.insert((row.feed, row.seq)) {
            return Err(wrong("an entry twice in a journal", format!("{}-{} at {position}", row.feed, row.seq)));
        }
        self.position = position;
        self.running = row.running;
        Ok(())
    }

    fn read(&mut self, reading: &Reading, space_no: u32, last: u64) -> Result<(), Fault> {
        loop {
            let page = reading.journal_range(space_no, self.position + 1, PAGE);
            let page = page.map_err(|error| Fault::unreadable(&error))?;
            if page.is_empty() {
                break;
            }
            page.iter().try_for_each(|(position, row)| self.take(*position, row))?;
        }
        if self.position == last {
            return Ok(());
        }
        Err(wrong("a gap in the journal", format!("it ends at {} and should at {last}", self.position)))
    }

    /// Whether the store still has what was read.
    fn stands(&self, reading: &Reading, space_no: u32) -> Result<bool, StoreError> {
        let row = reading.journal(space_no, self.position)?;
        Ok(self.position == 0 || row.is_some_and(|row| row.running == self.running))
    }
}

impl Consumer {
    pub(super) fn new(space: SpaceId) -> Self {
        Self {
            space,
            changes: None,
            cursor: String::new(),
            mirror: BTreeMap::new(),
            told: BTreeSet::new(),
            journal: Journal::default(),
            reset_allowed: false,
        }
    }

    /// What it reads.
    pub(super) fn space(&self) -> SpaceId {
        self.space
    }

    /// The node was started anew; the client has nothing but its cursor.
    pub(super) fn started(&mut self, start: Start, reader: &Reader) -> Result<(), Fault> {
        self.changes = None;
        let Ok(reading) = reader.reading() else { return Ok(()) };
        let no = reading.space(self.space).ok().flatten().map_or(0, |row| row.space_no);
        let stands = self.journal.stands(&reading, no).unwrap_or(false);
        match (start, stands) {
            (_, true) => Ok(()),
            (Start::Crash, false) => {
                Err(wrong("a journal that changed in a crash", format!("at position {}", self.journal.position)))
            }
            (_, false) => {
                self.journal = Journal::default();
                self.reset_allowed = true;
                Ok(())
            }
        }
    }

    /// Reads everything there is. A store that cannot be read now is asked again later.
    pub(super) fn poll(&mut self, reader: &Reader) -> Result<(), Fault> {
        let Ok(reading) = reader.reading() else { return Ok(()) };
        let Ok(Some(row)) = reading.space(self.space) else { return Ok(()) };
        self.journal.read(&reading, row.space_no, row.journal)?;
        drop(reading);
        if self.changes.is_none() {
            let begun = ChangeReader::new(self.space, row.space_no, &self.cursor);
            let begun = begun.ok_or_else(|| wrong("a cursor that is none", self.cursor.clone()))?;
            self.changes = Some(begun);
        }
        while let Some(told) = self.next(reader) {
            self.told(told)?;
        }
        Ok(())
    }

    fn next(&mut self, reader: &Reader) -> Option<Told> {
        let changes = self.changes.as_mut()?;
        let told = changes.next(reader).ok()??;
        changes.cursor().clone_into(&mut self.cursor);
        Some(told)
    }

    fn told(&mut self, told: Told) -> Result<(), Fault> {
        match told {
            Told::Reset if !self.reset_allowed => Err(wrong("a cursor was refused", self.cursor.clone())),
            Told::Reset => {
                self.reset_allowed = false;
                self.mirror.clear();
                self.told.clear();
                Ok(())
            }
            Told::Other(_) => Ok(()),
            Told::Entity { entity, view, receipt } => {
                if let Some(receipt) = receipt
                    && !self.told.insert((receipt, entity.clone()))
                {
                    let detail = format!("{}/{} of entry {receipt}", entity.0, entity.1);
                    return Err(wrong("a change was told twice", detail));
                }
                match view {
                    Some(view) => drop(self.mirror.insert(entity, view)),
                    None => drop(self.mirror.remove(&entity)),
                }
                Ok(())
            }
        }
    }

    /// The mirror is what the node shows. Call after [`Consumer::poll`].
    pub(super) fn compare(&self, rows: &Rows) -> Result<(), Fault> {
        let present = rows.iter().filter(|(_, state)| state.is_present());
        let mut shown = 0;
        for (name, state) in present {
            shown += 1;
            if self.mirror.get(name).is_none_or(|view| *view != state.view_bytes()) {
                let detail = match self.mirror.contains_key(name) {
                    true => "the client has another view",
                    false => "the client was not told of it",
                };
                return Err(wrong("a mirror that differs", detail).of(&name.0, &name.1));
            }
        }
        if shown == self.mirror.len() {
            return Ok(());
        }
        Err(wrong("a mirror that differs", format!("{} entities, and {shown} are there", self.mirror.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: FeedId = FeedId::from_bytes([3; 16]);

    fn row(before: [u8; 16], position: u64, seq: u64) -> JournalRow {
        JournalRow::next(&before, position, JournalKind::Applied, FEED, seq, Vec::new())
    }

    #[test]
    fn gaps_doubles_and_broken_chains_are_noticed() {
        let mut journal = Journal::default();
        let first = row([0; 16], 1, 1);
        assert_eq!(journal.take(1, &first), Ok(()));
        for (position, wrong) in [(3, row(first.running, 3, 2)), (2, row([9; 16], 2, 2)), (2, row(first.running, 2, 1))]
        {
            let fault = journal.take(position, &wrong).expect_err("wrong");
            assert_eq!(fault.oracle, Oracle::Stream);
        }
        let mut journal = Journal::default();
        assert_eq!(journal.take(1, &first), Ok(()));
        assert_eq!(journal.take(2, &row(first.running, 2, 2)), Ok(()));
    }

    #[test]
    fn doubles_resets_and_a_mirror_that_differs_are_noticed() {
        let mut client = Consumer::new(SpaceId::from_bytes([1; 32]));
        let receipt = Some(Receipt { feed: FEED, seq: 1 });
        let entity = ("c".to_owned(), "a".to_owned());
        let told = Told::Entity { entity, view: Some(b"{}".to_vec()), receipt };
        assert_eq!(client.told(told.clone()), Ok(()));
        assert_eq!(client.told(told).expect_err("twice").place, "a change was told twice");
        assert_eq!(client.compare(&Rows::new()).expect_err("too much").place, "a mirror that differs");
        assert_eq!(client.told(Told::Reset).expect_err("no reason").place, "a cursor was refused");
        client.reset_allowed = true;
        assert_eq!(client.told(Told::Reset), Ok(()));
        assert_eq!(client.compare(&Rows::new()), Ok(()));
    }
}
