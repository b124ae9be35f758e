//! Who is no member yet: how long its connection may stand, and what it may send.
//!
//! A connection is a stranger's until both sides have named a space. It is a guest's meanwhile if a roster held here
//! names its key, if this node wants it to let this node join, or if it has named a space that is held or being joined
//! here, so that it may offer rules that make it a member. Whoever is none of this within [`STRANGER_WAIT`] is let go.
//!
//! A node that waits to join asks everybody who says hello: the member that lets it in may be one that it has never
//! heard of. To be asked makes nobody a guest. A member names the space before its rules come, and takes one of the few
//! places of those who offer ([`OFFERS_MAX`]). The inviter, and whom this node dialled, need no such place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::limits::CONTROL_SEND_BUFFER;
use tombolo_transport::{CloseCode, Standing};

use crate::engine::Engine;
use crate::engine::after::After;
use crate::engine::interface::{ConnId, Now, Output};
use crate::engine::memory::Memory;
use crate::engine::peers::conn::Conn;
use crate::engine::peers::pages::Pages;
use crate::engine::space::membership::PendingJoin;
use crate::engine::space::offer::Offer;

/// How long a connection may stand without anything in common.
pub(in crate::engine) const STRANGER_WAIT: Duration = Duration::from_secs(10);
/// How long an offer that this node did not ask for may stand still.
pub(in crate::engine) const OFFER_WAIT: Duration = Duration::from_secs(10);
/// How long an offer that this node did not ask for may take, and one that it did ask for may stand still.
pub(in crate::engine) const OFFER_TIME: Duration = Duration::from_secs(60);
/// Offers that this node did not ask for, at once; the next one waits.
pub(in crate::engine) const OFFERS_MAX: usize = 4;
/// Bytes of pages that go out before the control stream has said that it has room: half its buffer.
const ROOM_AT_FIRST: usize = 1 << 20;

const _: () = assert!(ROOM_AT_FIRST <= CONTROL_SEND_BUFFER, "pages that go out at first fit the control stream");
const _: () = assert!(OFFER_WAIT.as_secs() < OFFER_TIME.as_secs(), "an offer may have more than one page");

/// What a connection needs until it is a member's.
#[derive(Debug)]
pub(in crate::engine) struct Door {
    /// Since when the connection stands.
    pub(in crate::engine) opened: Duration,
    pub(in crate::engine) standing: Standing,
    /// The peer has named a space that is held or being joined here, so that it may have rules to offer.
    pub(in crate::engine) names: bool,
    /// Since when it may offer them.
    pub(in crate::engine) offering: Option<Duration>,
    /// When its last page came that had something in it.
    pub(in crate::engine) page_at: Option<Duration>,
    /// Pages that have come, by space.
    pub(in crate::engine) offers: BTreeMap<SpaceId, Offer>,
    /// Why it is let go.
    pub(in crate::engine) fault: Option<String>,
    /// When it is let go, if nothing changes, and why.
    until: Option<(Duration, &'static str)>,
    /// Pages that are owed to it, by space, and the room for them.
    pub(in crate::engine) owed: BTreeMap<SpaceId, Pages>,
    pub(in crate::engine) room: usize,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            opened: Duration::ZERO,
            standing: Standing::Stranger,
            names: false,
            offering: None,
            page_at: None,
            offers: BTreeMap::new(),
            fault: None,
            until: None,
            owed: BTreeMap::new(),
            room: ROOM_AT_FIRST,
        }
    }
}

/// What a connection has to do with this node.
enum Tie {
    None,
    /// A roster held here names the peer.
    Listed,
    /// The peer was asked to let this node join, and is one that this node looked for.
    Asked,
    Offers {
        since: Duration,
    },
    Member,
}

impl Engine {
    /// Raises who has become more than it was, and lets go who did not become anything in time. O(who is no member).
    pub(in crate::engine) fn strangers(&mut self, now: Now, after: &mut After) {
        let mut gone = Vec::new();
        let mut offering = self.memory.offering();
        for id in self.memory.strangers.iter().copied().collect::<Vec<_>>() {
            let Some(conn) = self.memory.conns.get(&id) else {
                gone.push((id, None));
                continue;
            };
            let tie = self.tie(conn, now, &offering);
            let standing = match tie {
                Tie::None => Standing::Stranger,
                Tie::Listed | Tie::Asked | Tie::Offers { .. } => Standing::Guest,
                Tie::Member => Standing::Member,
            };
            let until = until(conn, &tie);
            let late = until.filter(|(at, _)| *at <= now.mono).map(|(_, why)| why.to_owned());
            let Some(conn) = self.memory.conns.get_mut(&id) else { continue };
            conn.door.until = until;
            let before = conn.door.offering;
            conn.door.offering = if let Tie::Offers { since } = tie { Some(since) } else { None };
            if before.is_none() && conn.door.offering.is_some() {
                offering.push((conn.peer, host(&conn.address)));
            }
            if standing > conn.door.standing {
                conn.door.standing = standing;
                after.outputs.push(Output::Standing(id, standing));
            }
            if standing == Standing::Member {
                gone.push((id, None));
            } else if let Some(reason) = conn.door.fault.take().or(late) {
                gone.push((id, Some(reason)));
            }
        }
        assert!(offering.len() <= OFFERS_MAX, "offers that nobody asked for are bounded");
        for (id, reason) in gone {
            self.memory.strangers.remove(&id);
            if let Some(reason) = reason {
                self.drop_conn(id);
                after.outputs.push(Output::Close(id, CloseCode::Refused, reason));
            }
        }
    }

    /// When the first of them is let go.
    pub(in crate::engine) fn strangers_wake(&self) -> Option<(Duration, &'static str)> {
        let conns = self.memory.strangers.iter().filter_map(|id| self.memory.conns.get(id));
        let first = conns.filter_map(|conn| conn.door.until).min();
        first.map(|(at, _)| (at, "strangers"))
    }

    fn tie(&self, conn: &Conn, now: Now, offering: &[(NodeId, String)]) -> Tie {
        if !conn.sessions.is_empty() {
            return Tie::Member;
        }
        if conn.hello.is_none() {
            return Tie::None;
        }
        if !conn.ours.is_empty() {
            return Tie::Listed;
        }
        let mut joins = self.memory.joins.values().filter(|join| !join.over);
        if joins.any(|join| conn.asked_to_join.contains(&join.space) && is_wanted(conn, join)) {
            return Tie::Asked;
        }
        match conn.door.offering {
            Some(since) => Tie::Offers { since },
            None if conn.door.names && has_place(conn, offering) => Tie::Offers { since: now.mono },
            None => Tie::None,
        }
    }
}

impl Memory {
    /// Who has rules to offer now: keys and addresses.
    fn offering(&self) -> Vec<(NodeId, String)> {
        let conns = self.strangers.iter().filter_map(|id| self.conns.get(id));
        let offering = conns.filter(|conn| conn.door.offering.is_some());
        offering.map(|conn| (conn.peer, host(&conn.address))).collect()
    }

    /// Whether rules of a space are taken from a connection. A member's are, of a space that is held. Of one that is
    /// being joined those are that this node looked for, whoever else offers it too. All others share few places:
    /// strangers those of [`OFFERS_MAX`], members of other spaces as many.
    pub(in crate::engine) fn hears_rules(&mut self, id: ConnId, space: SpaceId, now: Now) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        if let Some(space) = self.spaces.get(&space) {
            return space.role(conn.peer).is_some() || self.may_offer(id, now);
        }
        let Some(join) = self.joins.get(&space) else { return false };
        if is_wanted(conn, join) || conn.door.offers.contains_key(&space) {
            return true;
        }
        if conn.ours.is_empty() {
            return self.may_offer(id, now);
        }
        let counts = |conn: &&Conn| !conn.ours.is_empty() && !is_wanted(conn, join);
        let offers = self.conns.values().filter(counts).filter(|conn| conn.door.offers.contains_key(&space)).count();
        offers < OFFERS_MAX
    }

    /// Whether a stranger may offer rules: it has a place, or takes one. Its page may come in the step in which it has
    /// named the space.
    fn may_offer(&mut self, id: ConnId, now: Now) -> bool {
        let Some(conn) = self.conns.get(&id).filter(|_| self.strangers.contains(&id)) else { return false };
        let names = conn.hello.is_some() && conn.door.names && conn.ours.is_empty();
        let may = conn.door.offering.is_some() || (names && has_place(conn, &self.offering()));
        if let Some(conn) = self.conns.get_mut(&id).filter(|_| may) {
            conn.door.offering.get_or_insert(now.mono);
        }
        may
    }
}

/// Whether this node looked for the peer to let it join: an address that it dialled, or the key of the inviter.
fn is_wanted(conn: &Conn, join: &PendingJoin) -> bool {
    conn.dialled || conn.peer == join.inviter
}

/// One offer per key and address at a time, and few in all.
fn has_place(conn: &Conn, offering: &[(NodeId, String)]) -> bool {
    let host = host(&conn.address);
    offering.len() < OFFERS_MAX && offering.iter().all(|(peer, at)| *peer != conn.peer && *at != host)
}

/// Until when a connection may stay as it is, and why it goes then.
fn until(conn: &Conn, tie: &Tie) -> Option<(Duration, &'static str)> {
    let Door { opened, page_at, .. } = conn.door;
    match tie {
        Tie::None if conn.hello.is_none() => Some((opened + STRANGER_WAIT, "no hello in time")),
        Tie::None => Some((opened + STRANGER_WAIT, "no space in common")),
        Tie::Listed | Tie::Member => None,
        Tie::Asked => page_at.map(|at| (at + OFFER_TIME, "the rules asked for stopped coming")),
        Tie::Offers { since } => {
            let still = (page_at.unwrap_or(*since) + OFFER_WAIT, "no page of the rules offered came in time");
            Some(still.min((*since + OFFER_TIME, "the rules offered took too long")))
        }
    }
}

/// An address without its port.
fn host(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_string(),
        Err(_) => address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned(),
    }
}
