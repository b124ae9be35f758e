//! Entries on their way out, as they are read: which runs of which feeds, from what is durable.
//!
//! Little is read within a step, so that what is new goes out at once; everything else is read beside the engine
//! ([`Load`]). Both read alike ([`Wanted::read`]). What is read has no effect until the engine sends it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_bytes::ByteBuf;
use tombolo_crdt::feed::{STRIDE_ENTRIES_MAX, Signature};
use tombolo_crdt::{ChainHash, FeedId};

use crate::store::{Reader, Reading, StoreError};

/// Time of a look in the store, in bytes read: some 4 µs.
pub(crate) const LOOK_BYTES: usize = 1 << 10;
/// Bytes around the entries of a range: opening, hashes, seal, lengths.
pub(crate) const RANGE_ENVELOPE_BYTES: usize = 512;

/// What is wanted of a feed, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) feed: FeedId,
    /// Rules go before data.
    pub(crate) is_rules: bool,
    /// The first entry that is wanted.
    pub(crate) from: u64,
    /// The last settled entry.
    pub(crate) settled: u64,
    /// The last seal within what is settled, and where it stands.
    pub(crate) sealed: Option<(u64, Signature)>,
}

/// A run of a feed's entries under one seal.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) feed: FeedId,
    pub(crate) from: u64,
    pub(crate) last: u64,
    /// The chain hash before the first; none: that of the opening.
    pub(crate) previous: Option<ChainHash>,
    pub(crate) entries: Vec<ByteBuf>,
    pub(crate) seal: Signature,
}

impl Run {
    /// Bytes of its entries.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.len()).sum()
    }
}

/// What was read to be sent to one peer.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    /// Runs in an order in which they can be settled.
    pub(crate) runs: Vec<Run>,
    /// Feeds of which there is nothing beyond that could be sent.
    pub(crate) done: Vec<FeedId>,
    /// What reading cost, in bytes read.
    pub(crate) cost: usize,
}

/// Entries that the engine wants to send, as many as take longer to read than a step may. Carry it out with
/// [`Load::answer`], on any thread, and hand what it returns to the engine that asked.
#[derive(Debug)]
pub struct Load {
    /// Which of the engine's loads this is.
    pub number: u64,
    pub(crate) reader: Reader,
    pub(crate) wanted: Vec<Wanted>,
    /// Bytes that are read, and a run more.
    pub(crate) room: usize,
}

/// The answer to a [`Load`].
#[derive(Debug)]
pub struct Loaded {
    /// That of the load.
    pub number: u64,
    pub(crate) read: Result<Portion, StoreError>,
}

impl Loaded {
    /// The answer where the program failed over it: its connection ends.
    #[must_use]
    pub fn failed(number: u64, reason: &str) -> Self {
        Self { number, read: Err(StoreError::corrupt("entries", format!("the program failed over it: {reason}"))) }
    }

    /// Runs that were read.
    pub(crate) fn runs(&self) -> usize {
        self.read.as_ref().map_or(0, |portion| portion.runs.len())
    }
}

impl Load {
    /// Reads what is to be sent, in one reading. Some 4 µs for each feed and run, and 4 ms for a MiB.
    #[must_use]
    pub fn answer(self) -> Loaded {
        let Self { number, reader, wanted, room } = self;
        let read = reader.reading().and_then(|reading| Wanted::read(wanted, &reading, room));
        Loaded { number, read }
    }
}

impl Wanted {
    /// Reads runs until they have `room` bytes, the last of them whole. Rules go first; then whatever was settled first
    /// here, which is an order in which all can be settled elsewhere.
    pub(crate) fn read(mut wanted: Vec<Self>, reading: &Reading, room: usize) -> Result<Portion, StoreError> {
        let mut portion = Portion::default();
        let (mut heap, mut bytes) = (BinaryHeap::new(), 0);
        for (at, want) in wanted.iter().enumerate() {
            portion.cost += LOOK_BYTES;
            match unless_damaged(reading.entry_journal(want.feed, want.from))? {
                Some(journal) => heap.push(Reverse((!want.is_rules, journal, at))),
                None => portion.done.push(want.feed),
            }
        }
        while bytes < room
            && let Some(Reverse((rank, _, at))) = heap.pop()
            && let Some(want) = wanted.get_mut(at)
        {
            let Some(run) = unless_damaged(want.run(reading))? else {
                portion.done.push(want.feed);
                continue;
            };
            bytes += run.bytes() + RANGE_ENVELOPE_BYTES;
            portion.cost += run.bytes() + LOOK_BYTES;
            assert!(run.from == want.from && run.last >= run.from, "a run begins where it is wanted and has an entry");
            want.from = run.last + 1;
            portion.runs.push(run);
            match unless_damaged(reading.entry_journal(want.feed, want.from))? {
                Some(journal) => heap.push(Reverse((rank, journal, at))),
                None => portion.done.push(want.feed),
            }
        }
        Ok(portion)
    }

    /// The run from the first that is wanted to the next seal; `None` where nothing sealed lies beyond.
    pub(crate) fn run(&self, reading: &Reading) -> Result<Option<Run>, StoreError> {
        let Self { feed, from, settled, .. } = *self;
        let (last, held, seal) = match self.sealed.filter(|(seq, _)| *seq >= from) {
            Some(latest) => {
                let kept = reading.seal_at_or_after(feed, from)?.filter(|(seq, _)| *seq <= latest.0);
                let (last, seal) = kept.unwrap_or(latest);
                (last, Vec::new(), seal)
            }
            None if settled >= from => match held_run(feed, settled, reading)? {
                Some((held, seal)) => (settled, held, seal),
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        debug_assert!(from > 0 && from <= last && last <= settled, "what is sent is settled, and so it is durable");
        let previous = match from {
            1 => None,
            _ => match reading.entry(feed, from - 1)? {
                Some(row) => Some(row.chain),
                None => return Ok(None),
            },
        };
        let rows = reading.entries(feed, from..=last, usize::MAX)?;
        if rows.len() as u64 != last + 1 - from {
            return Err(StoreError::corrupt("entries", "a settled entry is missing"));
        }
        let mut entries: Vec<ByteBuf> = rows.into_iter().map(|(_, row)| ByteBuf::from(row.bytes)).collect();
        let last = last + held.len() as u64;
        entries.extend(held);
        Ok(Some(Run { feed, from, last, previous, entries, seal }))
    }
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

/// What cannot be read is not sent: a feed with a damaged entry must not stop the others. Who lacks it gets it
/// elsewhere.
pub(crate) fn unless_damaged<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "a feed cannot be sent");
            Ok(None)
        }
        read => read,
    }
}
