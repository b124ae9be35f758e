//! Settled entries go into the store here, own ones and others' alike: entry, journal, frontier, heads, seals.

use tombolo_crdt::entry::{Body, Entry};
use tombolo_crdt::feed::{STRIDE_ENTRIES_MAX, Signature, chain, seal_message};
use tombolo_crdt::verdict::{Situation, Verdict, in_force};
use tombolo_crdt::{ChainHash, FeedId};

use crate::engine::Work;
use crate::engine::space::Space;
use crate::engine::space::spaces::Spaces;
use crate::store::{Batch, ChangeLink, EntryRow, JournalKind, StoreError};

/// A settled entry about to be stored.
#[derive(Debug)]
pub(in crate::engine) struct Settled<'e> {
    pub(in crate::engine) feed: FeedId,
    pub(in crate::engine) seq: u64,
    pub(in crate::engine) chain: ChainHash,
    pub(in crate::engine) bytes: Vec<u8>,
    pub(in crate::engine) entry: &'e Entry,
    pub(in crate::engine) verdict: Verdict,
    pub(in crate::engine) links: Vec<ChangeLink>,
}

/// Stores a settled entry and moves everything that follows from it.
pub(in crate::engine) fn store(
    space: &mut Space,
    batch: &mut Batch<'_>,
    settled: Settled<'_>,
) -> Result<(), StoreError> {
    let Settled { feed, seq, chain, bytes, entry, verdict, links } = settled;
    let rules = matches!(entry.body, Body::Rules(_));
    assert!(verdict == Verdict::Applied || links.is_empty(), "what is refused changes nothing");
    let kind = match (verdict, rules) {
        (Verdict::Applied, true) => JournalKind::Rules,
        (Verdict::Applied, false) => JournalKind::Applied,
        _ => JournalKind::Refused,
    };
    let position = space.journal(batch, kind, (feed, seq), Vec::new())?;

    if let Some(known) = space.feeds.get_mut(&feed) {
        known.open_bytes += bytes.len() as u64;
        if verdict == Verdict::Applied {
            // Feeds of this node's key tell its clock at the next start, whoever else has the key.
            known.row.hlc = known.row.hlc.max(entry.hlc.raw());
        }
        if rules && verdict == Verdict::Applied {
            known.applied = seq;
        }
        let (_, before) = known.rules_at(seq);
        let situation = Situation { feed, author: known.opening.node, rules: &space.rules, before };
        let heads = in_force(entry, &situation).to_vec();
        if heads != before {
            known.row.rules.push((seq, heads.clone()));
        }
        if rules {
            space.rules.insert(chain, &heads, entry, verdict);
            space.held.rules_came(chain);
        }
    }
    batch.put_entry(
        feed,
        seq,
        &EntryRow { bytes, chain, verdict: verdict.code(), journal: position, changes: links },
    )?;
    space.advance(feed, seq, chain);
    space.held.settled(feed, seq);
    if !rules && verdict == Verdict::Applied {
        // What is refused is nobody's head: it costs nobody anything but its bytes.
        space.heads.advance(feed, seq, chain, &entry.deps);
    }
    if verdict == Verdict::Applied {
        space.row.applied += 1;
    } else {
        space.row.refused += 1;
        space.row.sums.refuse(feed, seq, verdict);
    }
    Ok(())
}

/// Takes the seal at the feed's settled end, and keeps the one before it if without it two kept seals would lie more
/// than a stride apart.
pub(in crate::engine) fn seal(
    space: &mut Space,
    id: FeedId,
    batch: &mut Batch<'_>,
    signature: Signature,
) -> Result<(), StoreError> {
    let Some(feed) = space.feeds.get_mut(&id) else { return Ok(()) };
    assert!(feed.row.seq > 0, "a seal is on an entry");
    assert!(feed.row.kept <= feed.sealed_seq(), "what was kept is not newer than the last seal");
    let row = &mut feed.row;
    let run = feed.open_bytes;
    let most = feed.opening.kind.stride_bytes_max() as u64;
    let fits = row.seq - row.kept <= STRIDE_ENTRIES_MAX as u64 && row.kept_bytes + run <= most;
    match row.sealed {
        Some((last, seal)) if !fits => {
            batch.put_seal(id, last, seal)?;
            row.kept = last;
            row.kept_bytes = run;
        }
        _ => row.kept_bytes += run,
    }
    row.sealed = Some((row.seq, signature));
    feed.open_bytes = 0;
    space.feed_changed(id);
    Ok(())
}

impl Work<'_> {
    /// Appends an own entry to `feed`, which is one of this process's feeds. The entry's `seq` is the next, and
    /// `verdict` is what it was judged to be.
    pub(in crate::engine) fn append(
        &mut self,
        space: &mut Space,
        feed: FeedId,
        entry: &Entry,
        verdict: Verdict,
        links: Vec<ChangeLink>,
    ) -> Result<(), StoreError> {
        assert_eq!(verdict, Verdict::Applied, "an own entry that would be refused is not written");
        let bytes = entry.encode();
        self.seal_before(space, feed, bytes.len())?;
        let previous = space.feeds.get(&feed).map_or(ChainHash::from_bytes([0; 32]), |feed| feed.row.chain);
        let chain = chain(feed, entry.seq, previous, &bytes);
        store(space, &mut self.batch, Settled { feed, seq: entry.seq, chain, bytes, entry, verdict, links })?;
        self.counters.entries += 1;
        *self.counters.settled.entry(verdict.name()).or_default() += 1;
        self.unsealed.insert((space.id, feed));
        Ok(())
    }

    /// Seals the run so far if one more entry of `bytes` would take it over a stride.
    fn seal_before(&mut self, space: &mut Space, id: FeedId, bytes: usize) -> Result<(), StoreError> {
        let Some(feed) = space.feeds.get(&id) else { return Ok(()) };
        let run = feed.row.seq - feed.sealed_seq();
        let most = feed.opening.kind.stride_bytes_max();
        let over = run >= STRIDE_ENTRIES_MAX as u64 || feed.open_bytes as usize + bytes > most;
        if run > 0 && over { self.seal_own(space, id) } else { Ok(()) }
    }

    fn seal_own(&mut self, space: &mut Space, id: FeedId) -> Result<(), StoreError> {
        let Some(feed) = space.feeds.get(&id) else { return Ok(()) };
        let message = seal_message(id, feed.row.seq, feed.row.chain);
        let signature = Signature::sign(&self.own.key, &message);
        seal(space, id, &mut self.batch, signature)
    }

    /// Seals every own feed that this step appended to.
    pub(in crate::engine) fn seal_all(&mut self, spaces: &mut Spaces) -> Result<(), StoreError> {
        for (space, id) in std::mem::take(&mut self.unsealed) {
            let Some(space) = spaces.get_mut(&space) else { continue };
            if space.feeds.get(&id).is_some_and(|feed| feed.row.seq > feed.sealed_seq()) {
                self.seal_own(space, id)?;
            }
        }
        Ok(())
    }
}
