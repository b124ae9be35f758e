//! What people are told: status, receipts, whom to dial.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crdt::rules::Contact;
use tombolo_crdt::verdict::{Verdict, Wait};
use tombolo_crdt::{FeedId, NodeId, Receipt};

use crate::engine::Engine;
use crate::engine::interface::{Now, ReceiptState, Target};
use crate::engine::memory::Memory;
use crate::engine::peers::clocks::own_clock_off;
use crate::engine::peers::conn::Conns;
use crate::engine::space::Space;
use crate::engine::status::{ConnectionStatus, HeldStatus, MemberStatus, NAMED_MAX, PeerAck, SpaceStatus, Status};
use crate::store::{Batch, StoreError};

/// Where an entry is.
pub(super) fn receipt(
    memory: &Memory,
    me: NodeId,
    receipt: Receipt,
    batch: &Batch<'_>,
) -> Result<Option<ReceiptState>, StoreError> {
    let Memory { spaces, conns, contacts, .. } = memory;
    let Some(feed) = batch.feed(receipt.feed)? else { return Ok(None) };
    let Some(space) = spaces.by_no(feed.space_no) else { return Ok(None) };
    let row = batch.entry(receipt.feed, receipt.seq)?;
    let journal = row.as_ref().map(|row| row.journal);
    let peers = space.others(me).into_iter().map(|(node, member)| {
        let session = conns.session_with(node, space.id);
        let now = session.is_some_and(|session| session.settled(space, receipt.feed) >= receipt.seq);
        let earlier = journal.zip(space.memory.get(&node)).is_some_and(|(entry, memory)| {
            let common = memory.common().is_some_and(|(_, common)| entry <= common);
            common || memory.had(receipt.feed, receipt.seq, entry)
        });
        let author = space.feeds.get(&receipt.feed).is_some_and(|feed| feed.opening.node == node);
        // Of an entry that is not here nothing is claimed.
        let acknowledged = row.is_some() && (now || earlier || author);
        let name = contacts.of(node, &member.contact).name;
        PeerAck { node, name, acknowledged, connected: session.is_some() }
    });
    let peers = peers.collect();
    let verdict = row.and_then(|row| Verdict::from_code(row.verdict)).map(Verdict::name);
    Ok(Some(ReceiptState { space: space.id, verdict, peers }))
}

impl Engine {
    /// Everything there is to say about this node.
    pub(super) fn status(&self, now: Now) -> Status {
        let Self { memory, own, .. } = self;
        let Memory { spaces, conns, contacts, .. } = memory;
        let about = |space: &Space| {
            let mut status = space_status(space, conns, own.node);
            for member in &mut status.members {
                let roster = Contact { name: member.name.clone(), addrs: member.addrs.clone() };
                let Contact { name, addrs } = contacts.of(member.node, &roster);
                (member.name, member.addrs) = (name, addrs);
            }
            status
        };
        let spaces: Vec<SpaceStatus> = spaces.values().map(about).collect();
        let connections = conns.values().filter_map(|conn| {
            let hello = conn.hello.as_ref()?;
            Some(ConnectionStatus {
                node: conn.peer,
                name: hello.contact.name.clone(),
                address: conn.address.clone(),
                dialled: conn.dialled,
                spaces: conn.sessions.keys().copied().collect(),
                since: conn.since_millis,
                clock_skew: conn.clock_skew,
            })
        });
        let connections = connections.collect();
        Status {
            node: self.own.node,
            name: self.own.contact.name.clone(),
            addrs: self.own.contact.addrs.clone(),
            spaces,
            connections,
            twins: self.memory.contacts.twins(now.wall_millis),
            peers_added: self.memory.added.iter().cloned().collect(),
            joins: self
                .memory
                .joins
                .values()
                .filter(|join| !join.over)
                .map(|join| (join.space, join.name.clone()))
                .collect(),
            counters: self.counters.clone(),
            full: self.health.full.clone(),
            clock_off: own_clock_off(&self.memory.conns),
        }
    }

    /// Keys of all members of all spaces, if they have changed.
    pub(super) fn new_known(&mut self) -> Option<BTreeSet<NodeId>> {
        let members = self.memory.spaces.values().flat_map(|space| space.others(self.own.node));
        let known: BTreeSet<NodeId> = members.map(|(node, _)| node).collect();
        if known == self.aims.known {
            return None;
        }
        self.aims.known.clone_from(&known);
        Some(known)
    }

    /// Whom to dial, if that has changed.
    pub(super) fn new_targets(&mut self) -> Option<Vec<Target>> {
        let mut members: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
        for (node, member) in self.memory.spaces.values().flat_map(|space| space.others(self.own.node)) {
            members.entry(node).or_default().extend(member.contact.addrs);
        }
        for (node, addrs) in &mut members {
            *addrs = self.memory.contacts.addresses(*node, std::mem::take(addrs));
        }
        for join in self.memory.joins.values().filter(|join| !join.over) {
            members.entry(join.inviter).or_default().extend(join.addrs.iter().cloned());
        }
        for (node, addrs) in &self.memory.discovered {
            // Whoever is found on the network is dialled only if there is something to talk about.
            if members.contains_key(node) || !self.memory.joins.is_empty() {
                members.entry(*node).or_default().extend(addrs.iter().cloned());
            }
        }
        members.remove(&self.own.node);
        let mut targets: Vec<Target> = members
            .into_iter()
            .filter(|(_, addrs)| !addrs.is_empty())
            .map(|(node, addrs)| {
                let mut seen = BTreeSet::new();
                let addrs = addrs.into_iter().filter(|addr| seen.insert(addr.clone())).collect();
                Target { node: Some(node), addrs }
            })
            .collect();
        targets.extend(self.memory.added.iter().map(|addr| Target { node: None, addrs: vec![addr.clone()] }));
        if targets == self.aims.told {
            return None;
        }
        self.aims.told.clone_from(&targets);
        Some(targets)
    }
}

/// Entries that are followed from one that waits to what the last of them waits for.
const HOPS_MAX: usize = 64;

/// Why a feed waits: what its next entry waits for, and if that is an entry of a feed that waits for something damaged,
/// or is behind one, this too.
fn reason(space: &Space, feed: FeedId) -> String {
    let Some(first) = space.held.blocker(feed) else { return String::new() };
    let mut last = first;
    for _ in 0..HOPS_MAX {
        let Wait::Entry(of, _) = last else { break };
        let Some(next) = space.held.blocker(*of) else { break };
        last = next;
    }
    match last {
        Wait::Damaged(..) | Wait::Unreadable(..) if last != first => format!("{first}, which {last}"),
        _ => first.to_string(),
    }
}

/// What is held, by feed, of so many feeds at most; and of how many there is any.
pub(super) fn held_status(space: &Space, most: usize) -> (usize, Vec<HeldStatus>) {
    let of = |feed| {
        let (seq, entries) = space.held.of(feed)?;
        let reason = reason(space, feed);
        let node = space.feeds.get(&feed)?.opening.node;
        Some(HeldStatus { node, feed: feed.to_string(), seq, entries: entries as u64, reason })
    };
    let (count, feeds) = space.held.first_feeds(most);
    (count, feeds.into_iter().filter_map(of).collect())
}

fn space_status(space: &Space, conns: &Conns, me: NodeId) -> SpaceStatus {
    let frontier = space.frontier_digest();
    let (held_feeds, held) = held_status(space, NAMED_MAX);
    let forks = space.forks.iter().take(NAMED_MAX).filter_map(|id| {
        let feed = space.feeds.get(id)?;
        let seq = feed.fork?;
        let reason = format!(
            "its chain forks at entry {seq}: two nodes hold different entries there; nothing more is taken from it"
        );
        Some(HeldStatus { node: feed.opening.node, feed: id.to_string(), seq, entries: 0, reason })
    });
    let named = |(collection, id): &(String, String)| (collection.clone(), id.clone());
    let frozen = space.care.frozen().iter().map(|(name, reason)| {
        let (collection, id) = named(name);
        (collection, id, reason.clone())
    });
    let disputed = space.care.disputed().iter().map(|(name, with)| {
        let (collection, id) = named(name);
        (collection, id, *with)
    });
    SpaceStatus {
        space: space.id,
        name: space.row.name.clone(),
        role: space.role(me),
        entities: space.row.entities,
        journal: space.row.journal,
        feeds: space.frontier.len(),
        frontier,
        state: space.state_digest(),
        held: held.into_iter().chain(forks).collect(),
        held_feeds: held_feeds as u64,
        held_entries: space.held.len() as u64,
        held_bytes: space.held.bytes() as u64,
        refused: space.row.refused,
        frozen_entities: space.care.frozen().len() as u64,
        frozen: frozen.take(NAMED_MAX).collect(),
        disputed: disputed.take(NAMED_MAX).collect(),
        care: space.care.counters,
        sizes: space.care.scrub.sizes().clone(),
        clock_ahead: space.clock_ahead,
        members: space.others(me).into_iter().map(|(node, member)| member_status(space, conns, node, member)).collect(),
    }
}

/// How many entries held here a member lacks that is not connected: as far as its last connection told, else at most
/// what has been settled since both were equal. What it wrote itself it has.
fn behind_while_away(space: &Space, node: NodeId) -> Option<u64> {
    let memory = space.memory.get(&node)?;
    let since_common = || memory.common().map(|(_, journal)| space.row.journal.saturating_sub(journal));
    memory.lacks(space.settled.by_others(node), &space.frontier).or_else(since_common)
}

fn member_status(space: &Space, conns: &Conns, node: NodeId, member: tombolo_crdt::rules::Member) -> MemberStatus {
    let session = conns.session_with(node, space.id);
    let memory = space.memory.get(&node);
    let connected = conns.with(node).next().is_some();
    let said = conns.with(node).map(|(_, conn)| conn).find(|conn| conn.hello.is_some());
    let behind = match session {
        Some(session) => session.behind(space),
        None => behind_while_away(space, node),
    };
    let in_step = session.is_some_and(|session| session.is_in_step(space));
    let diverged = in_step && session.is_some_and(|session| session.diverged);
    let reason = match (connected, session) {
        (false, _) => "not connected".to_owned(),
        (true, None) => "connected; has not named this space yet".to_owned(),
        (true, Some(_)) if diverged => "frontiers are equal and states are not: a defect, please report it".to_owned(),
        (true, Some(_)) if in_step => String::new(),
        (true, Some(session)) if session.known().is_none() => "comparing frontiers".to_owned(),
        (true, Some(session)) if !session.sending.resend.is_empty() => {
            "the peer could not take what was sent; it will be sent again".to_owned()
        }
        (true, Some(session)) if session.sending.is_moving() => "sending".to_owned(),
        (true, Some(_)) if behind == Some(0) => "receiving".to_owned(),
        (true, Some(_)) => "waiting for the peer".to_owned(),
    };
    MemberStatus {
        node,
        name: member.contact.name,
        role: member.role,
        addrs: member.contact.addrs,
        connected,
        behind,
        behind_since: match session {
            Some(session) => session.behind_since,
            None => memory.and_then(|memory| memory.behind_since),
        },
        clock_skew: said.map(|conn| conn.clock_skew),
        in_step,
        diverged,
        refused_there: session.map_or(0, |session| session.heard.refused),
        reason,
    }
}
