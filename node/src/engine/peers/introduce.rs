//! Introducing: what two nodes say of each other before they exchange anything. Which connection stays, which spaces
//! both hold, whose rules are offered, what is asked to be joined.

use std::collections::BTreeSet;

use tombolo_crdt::feed::{FeedKind, Position};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{Digest, NodeId, SpaceId};
use tombolo_transport::frame::{Frame, Hello, PROTOCOL_VERSION, packing_offer};
use tombolo_transport::limits::GUEST_FRAME_BYTES_MAX;
use tombolo_transport::{CloseCode, Link, Which, keep};

use crate::engine::Engine;
use crate::engine::after::{After, Introduce};
use crate::engine::interface::{ConnId, Now, Output};
use crate::engine::memory::Memory;
use crate::engine::peers::conn::Conn;
use crate::engine::peers::pages::Pages;
use crate::engine::space::Space;
use crate::store::{Reading, StoreError};

/// The first frame on a connection.
pub(in crate::engine) fn hello(contact: &Contact, process: [u8; 16], counter: u64, now: Now) -> Frame {
    Frame::Hello(Hello {
        version: PROTOCOL_VERSION,
        contact: contact.clone(),
        process,
        counter,
        wall_millis: now.wall_millis,
        ext: vec![packing_offer()],
    })
}

impl Engine {
    /// Of the connections with the peer of `id`, whose Hellos are through, one stays.
    fn settle_duplicates(&mut self, id: ConnId, after: &mut After) {
        let Some(peer) = self.memory.conns.get(&id).map(|conn| conn.peer) else { return };
        let link = |conn: &Conn| {
            let theirs = conn.hello.as_ref()?;
            Some(match conn.dialled {
                true => Link { dialled_by_us: true, process: self.own.process, counter: conn.counter },
                false => Link { dialled_by_us: false, process: theirs.process, counter: theirs.counter },
            })
        };
        let mut best: Option<(ConnId, Link)> = None;
        let mut losers = BTreeSet::new();
        for (id, conn) in self.memory.conns.with(peer) {
            let Some(new) = link(conn) else { continue };
            best = match best {
                Some((other, first)) if keep(self.own.node, peer, &first, &new) == Which::First => {
                    losers.insert(id);
                    Some((other, first))
                }
                Some((other, _)) => {
                    losers.insert(other);
                    Some((id, new))
                }
                None => Some((id, new)),
            };
        }
        for id in losers {
            self.drop_conn(id);
            let reason = "another connection with this peer is kept".to_owned();
            after.outputs.push(Output::Close(id, CloseCode::Replaced, reason));
        }
    }

    /// Names spaces to peers whose roster holds them, begins sessions, offers rules, asks to join: on the connections
    /// that have said hello, and for the spaces whose rules changed. O(those connections × spaces + those spaces ×
    /// connections).
    pub(in crate::engine) fn introduce(&mut self, after: &mut After) {
        let Introduce { greeted, named, spaces: changed, joins: asked } = std::mem::take(&mut after.introduce);
        for id in &greeted {
            self.settle_duplicates(*id, after);
        }
        for id in &greeted {
            let Some(conn) = self.memory.conns.get_mut(id) else { continue };
            for (space_id, space) in self.memory.spaces.iter() {
                name(*id, conn, *space_id, space, self.own.node, after);
            }
            after.outputs.push(Output::Control(*id, Frame::RulesDone));
        }
        for id in changed {
            let Some(space) = self.memory.spaces.get(&id) else { continue };
            for (conn_id, conn) in self.memory.conns.iter_mut().filter(|(_, conn)| conn.hello.is_some()) {
                name(conn_id, conn, id, space, self.own.node, after);
            }
        }
        for id in &named {
            let Some(conn) = self.memory.conns.get_mut(id) else { continue };
            let unnamed: Vec<SpaceId> = conn.ours.difference(&conn.theirs).copied().collect();
            let offered = unnamed.into_iter().filter(|space| conn.offered.insert(*space));
            after.owed.extend(offered.map(|space| (*id, space)));
        }
        let Self { memory, own, .. } = self;
        let Memory { conns, joins, .. } = memory;
        let to: Vec<ConnId> = if asked { conns.ids().collect() } else { greeted.into_iter().collect() };
        for id in to {
            let Some(conn) = conns.get_mut(&id).filter(|conn| conn.hello.is_some()) else { continue };
            for join in joins.values().filter(|join| !join.over) {
                if conn.asked_to_join.insert(join.space) {
                    after.outputs.push(Output::Control(id, Frame::Join(join.frame(&own.contact))));
                }
            }
        }
    }

    /// Sends the rules entries of a space to peers that are owed them, as their control streams have room.
    pub(in crate::engine) fn owed_rules(&mut self, reading: &Reading, after: &mut After) -> Result<(), StoreError> {
        let Memory { conns, spaces, .. } = &mut self.memory;
        for (conn, id) in std::mem::take(&mut after.owed) {
            let (Some(space), Some(known)) = (spaces.get(&id), conns.get_mut(&conn)) else { continue };
            known.door.owed.insert(id, Pages::of(space, reading)?);
            after.roomy.insert(conn);
        }
        for id in std::mem::take(&mut after.roomy) {
            let Some(conn) = conns.get_mut(&id) else { continue };
            while conn.door.room >= GUEST_FRAME_BYTES_MAX
                && let Some((space_id, pages)) = conn.door.owed.iter_mut().next()
            {
                let (space_id, frame, last) = match spaces.get(space_id) {
                    Some(space) => {
                        let (frame, last) = pages.page(space, reading)?;
                        (*space_id, Some(frame), last)
                    }
                    None => (*space_id, None, true),
                };
                conn.door.room = conn.door.room.saturating_sub(GUEST_FRAME_BYTES_MAX);
                after.outputs.extend(frame.map(|frame| Output::Control(id, frame)));
                if last {
                    conn.door.owed.remove(&space_id);
                }
            }
        }
        Ok(())
    }
}

/// Digest of the rules part of the frontier.
fn rules_digest(space: &Space) -> Digest {
    let rules = space.feeds.iter().filter(|(_, feed)| feed.opening.kind == FeedKind::Rules && feed.row.seq > 0);
    let positions = rules.map(|(id, feed)| Position { feed: *id, seq: feed.row.seq, chain: feed.row.chain });
    positions.collect::<Frontier>().digest()
}

/// Names a space to a peer whose roster holds it, and begins the session if the peer has named it too.
fn name(id: ConnId, conn: &mut Conn, space_id: SpaceId, space: &Space, node: NodeId, after: &mut After) {
    if space.role(conn.peer).is_none() || space.role(node).is_none() {
        return;
    }
    if conn.ours.insert(space_id) {
        after.outputs.push(Output::Control(id, Frame::Rules(space_id, rules_digest(space))));
    }
    if conn.begin(space_id) {
        after.touched.insert((id, space_id));
    }
    if conn.named_all && !conn.theirs.contains(&space_id) && conn.offered.insert(space_id) {
        after.owed.push((id, space_id));
    }
}
