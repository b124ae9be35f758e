//! Replay: rows folded again from the entries, in another causal order.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::ChangeHash;
use tombolo_crdt::entity::{Applied, Change, Clock, EntityState, Provenance};
use tombolo_crdt::entry::Body;
use tombolo_crdt::verdict::Verdict;

use super::fault::Fault;
use super::ledger::Ledger;
use super::values::Rows;
use super::writes::Name;
use crate::outcome::Oracle;

/// A change of an entity and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Link {
    change: Change,
    provenance: Provenance,
}

/// Folds the applied entries in an order that `noise` chooses and compares with `rows`, byte for byte. O(changes log
/// changes).
pub(super) fn check(ledger: &Ledger, rows: &Rows, noise: u64) -> Result<(), Fault> {
    for (name, links) in links(ledger)? {
        let of = |place, detail: String| Fault::new(Oracle::Replay, place, detail).of(&name.0, &name.1);
        let Some(row) = rows.get(&name) else {
            return Err(of("entries without a row", format!("{} changes", links.len())));
        };
        let again = fold(&links, noise, row.journal()).map_err(|detail| of("a history does not fold", detail))?;
        if again.encode() != row.encode() {
            let what = if again.view() == row.view() { "views are equal" } else { "views differ" };
            return Err(of("another order gives another row", what.to_owned()));
        }
        match EntityState::decode(&row.encode()) {
            Ok(decoded) if decoded == *row => {}
            _ => return Err(of("a row does not survive its encoding", String::new())),
        }
    }
    Ok(())
}

/// The applied changes of every entity.
pub(super) fn links(ledger: &Ledger) -> Result<BTreeMap<Name, Vec<Link>>, Fault> {
    let mut entities: BTreeMap<Name, Vec<Link>> = BTreeMap::new();
    for record in ledger.records.iter().filter(|record| record.verdict == Verdict::Applied) {
        let Some(feed) = ledger.feeds.get(record.feed) else { continue };
        let rules_seq = feed.rules.iter().rev().find(|seq| **seq <= record.seq).copied().unwrap_or(0);
        let provenance = Provenance { entry_seq: record.seq, hlc: record.entry.hlc, rules_seq };
        let Body::Data(changes) = &record.entry.body else { continue };
        for change in changes {
            let name = (change.collection.clone(), change.id.clone());
            let parsed = Change::parse(&change.change, feed.id).map_err(|error| {
                Fault::new(
                    Oracle::Replay,
                    "an applied change does not decode",
                    format!("{}: {error}", ledger.name(record)),
                )
            })?;
            entities.entry(name).or_default().push(Link { change: parsed, provenance });
        }
    }
    Ok(entities)
}

/// The entity at some heads; `None`: they are not known here.
pub(super) fn at(links: &[Link], heads: &[ChangeHash]) -> Option<EntityState> {
    let index: BTreeMap<ChangeHash, &Link> = links.iter().map(|link| (link.change.hash(), link)).collect();
    let mut wanted: BTreeMap<ChangeHash, &Link> = BTreeMap::new();
    let mut open = heads.to_vec();
    while let Some(hash) = open.pop() {
        let link = *index.get(&hash)?;
        if wanted.insert(hash, link).is_none() {
            open.extend(link.change.deps());
        }
    }
    let wanted: Vec<Link> = wanted.into_values().cloned().collect();
    fold(&wanted, 0, 0).ok()
}

/// Where a change comes among those that may come next.
fn luck(noise: u64, hash: ChangeHash) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(hash.as_bytes().split_at(8).0);
    (u64::from_le_bytes(raw) ^ noise).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Applies changes in a causal order. Every change says by its dependencies what must come before it.
fn fold(links: &[Link], noise: u64, journal: u64) -> Result<EntityState, String> {
    let index: BTreeMap<ChangeHash, usize> =
        links.iter().enumerate().map(|(at, link)| (link.change.hash(), at)).collect();
    let mut waits: Vec<usize> = Vec::with_capacity(links.len());
    let mut followers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, link) in links.iter().enumerate() {
        waits.push(link.change.deps().len());
        for dep in link.change.deps() {
            let before = index.get(dep).ok_or_else(|| format!("{dep} is in no applied entry"))?;
            followers.entry(*before).or_default().push(at);
        }
    }
    let place = |at: usize| links.get(at).map(|link| (luck(noise, link.change.hash()), at));
    let ready = waits.iter().enumerate().filter(|(_, waits)| **waits == 0).filter_map(|(at, _)| place(at));
    let mut ready: BTreeSet<(u64, usize)> = ready.collect();
    let mut clocks: BTreeMap<ChangeHash, Clock> = BTreeMap::new();
    let mut state = EntityState::new();
    let mut done = 0;
    while let Some((_, at)) = ready.pop_first() {
        let Some(Link { change, provenance }) = links.get(at) else { continue };
        let mut past = Clock::new();
        change.deps().iter().filter_map(|dep| clocks.get(dep)).for_each(|clock| past.join(clock));
        state.gate(change, &past).map_err(|refusal| refusal.to_string())?;
        if state.apply(change, &past, provenance, journal) != Applied::Applied {
            return Err(format!("{} is there twice", change.hash()));
        }
        clocks.insert(change.hash(), past.with(change));
        done += 1;
        for next in followers.remove(&at).unwrap_or_default() {
            if let Some(waits) = waits.get_mut(next) {
                *waits -= 1;
                if *waits == 0 {
                    ready.extend(place(next));
                }
            }
        }
    }
    if done == links.len() { Ok(state) } else { Err(format!("{} changes wait for each other", links.len() - done)) }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::entity::{Write, Writer};
    use tombolo_crdt::json::Json;
    use tombolo_crdt::{FeedId, Hlc};

    use super::*;

    fn put(state: &EntityState, actor: u8, text: &str) -> (Link, EntityState) {
        let mut writer = Writer::new(state, FeedId::from_bytes([actor; 16]), Hlc::from_millis(1));
        writer.write(&Write::Put { value: Json::parse(text.as_bytes()).unwrap(), base: None }).unwrap();
        let provenance = Provenance { entry_seq: u64::from(actor), ..Provenance::default() };
        let (change, state) = writer.finish(&provenance, 5).unwrap().unwrap();
        (Link { change, provenance }, state)
    }

    #[test]
    fn any_order_gives_the_row_and_a_missing_change_is_noticed() {
        let (first, base) = put(&EntityState::new(), 1, r#"{"a":1}"#);
        let (left, mut row) = put(&base, 2, r#"{"a":2}"#);
        let (right, _) = put(&base, 3, r#"{"a":3}"#);
        row.apply(&right.change, base.clock(), &right.provenance, 5);
        let links = [first, left, right];
        for noise in 0..8 {
            assert_eq!(fold(&links, noise, 5).unwrap().encode(), row.encode());
        }
        let [first, left, right] = links;
        let heads = [left.change.hash()];
        let known = [first.clone(), left.clone(), right.clone()];
        assert_eq!(at(&known, &heads).unwrap().view_bytes(), br#"{"a":2}"#);
        assert_eq!(at(&known[1..], &heads), None, "its dependency is missing");
        assert_ne!(fold(&[first, left], 0, 5).unwrap().encode(), row.encode());
        assert!(fold(&[right], 0, 5).is_err(), "its dependency is missing");
    }
}
