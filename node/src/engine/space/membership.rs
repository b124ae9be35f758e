//! Spaces and members: founding, inviting, joining, and what a node remembers of both.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use tombolo_crdt::feed::{FeedKind, Opening, Signature, seal_message};
use tombolo_crdt::rules::{Admit, Contact, Found, Grant, Invite, Record, Role, admit_message};
use tombolo_crdt::{NodeId, SpaceId};
use tombolo_transport::frame::{Join, JoinRefusal};

use crate::engine::Work;
use crate::engine::interface::{JoinRequest, Refusal};
use crate::engine::memory::Own;
use crate::engine::space::append::seal;
use crate::engine::space::local::Fault;
use crate::engine::space::offer::Offer;
use crate::engine::space::{Author, Space};
use crate::store::{Batch, StoreError};

const JOIN_KEY: &str = "join/";
const ADDED_KEY: &str = "peer/";
/// Most joins that wait at once.
pub(in crate::engine) const JOINS_MAX: usize = 64;

/// A join that waits for a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct PendingJoin {
    pub(in crate::engine) space: SpaceId,
    pub(in crate::engine) name: String,
    pub(in crate::engine) key: [u8; 32],
    pub(in crate::engine) signature: Signature,
    pub(in crate::engine) inviter: NodeId,
    pub(in crate::engine) addrs: Vec<String>,
    /// Why a member refused it.
    #[serde(skip)]
    pub(in crate::engine) refused: Option<JoinRefusal>,
    /// The inviter itself refused it: nobody is asked again.
    #[serde(skip)]
    pub(in crate::engine) over: bool,
}

impl PendingJoin {
    pub(in crate::engine) fn frame(&self, contact: &Contact) -> Join {
        Join { space: self.space, key: self.key, signature: self.signature, contact: contact.clone() }
    }
}

pub(in crate::engine) fn load_joins(batch: &Batch<'_>) -> Result<BTreeMap<SpaceId, PendingJoin>, StoreError> {
    let decode = |bytes: Vec<u8>| {
        postcard::from_bytes::<PendingJoin>(&bytes).map_err(|_| StoreError::corrupt("state", "a join does not decode"))
    };
    let rows = batch.meta_prefix(JOIN_KEY)?;
    rows.into_iter().map(|(_, bytes)| decode(bytes).map(|join| (join.space, join))).collect()
}

pub(in crate::engine) fn load_added(batch: &Batch<'_>) -> Result<BTreeSet<String>, StoreError> {
    let rows = batch.meta_prefix(ADDED_KEY)?;
    Ok(rows.into_iter().map(|(key, _)| key.split_at(ADDED_KEY.len()).1.to_owned()).collect())
}

pub(in crate::engine) fn store_added(batch: &mut Batch<'_>, addr: &str, add: bool) -> Result<(), StoreError> {
    let key = format!("{ADDED_KEY}{addr}");
    if add { batch.put_meta(&key, b"") } else { batch.remove_meta(&key) }
}

pub(in crate::engine) fn store_join(batch: &mut Batch<'_>, request: JoinRequest) -> Result<PendingJoin, StoreError> {
    let JoinRequest { space, name, key, signature, inviter, addrs } = request;
    let join = PendingJoin { space, name, key, signature, inviter, addrs, refused: None, over: false };
    let bytes = postcard::to_stdvec(&join).expect("writing to a vector cannot fail");
    batch.put_meta(&format!("{JOIN_KEY}{space}"), &bytes)?;
    Ok(join)
}

pub(in crate::engine) fn forget_join(batch: &mut Batch<'_>, space: SpaceId) -> Result<(), StoreError> {
    batch.remove_meta(&format!("{JOIN_KEY}{space}"))
}

impl Work<'_> {
    /// Founds a space: the founder's rules feed says so and makes this node an admin.
    pub(in crate::engine) fn create_space(
        &mut self,
        found: &Found,
        founder: &SigningKey,
        space_no: u32,
        author: Author,
    ) -> Result<Space, Fault> {
        let mut space = Space::new(found, space_no, author);
        let opening = Opening::new(found.founder, space.id, author.epoch, FeedKind::Rules, Vec::new());
        let feed = self.own_feed(&mut space, &opening);
        let Own { node, contact, .. } = &*self.own;
        let grant = Grant { node: *node, role: Role::Admin, contact: contact.clone() };
        self.append_rules_by(&mut space, feed, &[Record::Found(found.clone()), Record::Grant(grant)])?;
        self.unsealed.remove(&(space.id, feed));
        if let Some(founding) = space.feeds.get(&feed) {
            let message = seal_message(feed, founding.row.seq, founding.row.chain);
            seal(&mut space, feed, &mut self.batch, Signature::sign(founder, &message))?;
        }
        Ok(space)
    }

    /// Opens a place.
    pub(in crate::engine) fn invite(&mut self, space: &mut Space, invite: Invite) -> Result<(), Fault> {
        let role = space.role(self.own.node);
        if role != Some(Role::Admin) {
            return Err(Refusal::Role(role.map_or("none", Role::name)).into());
        }
        if invite.expires <= self.now.wall_millis {
            return Err(Refusal::Argument("the invite would have expired already".to_owned()).into());
        }
        self.append_rules(space, &[Record::Invite(invite)])
    }

    /// Answers a peer that holds a ticket: `Ok(true)` it is a member now, `Ok(false)` be silent.
    pub(in crate::engine) fn admit(
        &mut self,
        space: &mut Space,
        peer: NodeId,
        join: &Join,
    ) -> Result<Result<bool, JoinRefusal>, Fault> {
        let roster = space.roster();
        let Some(invite) = roster.invite(&join.key) else { return Ok(Ok(false)) };
        if roster.member(peer).is_some() {
            return Ok(Ok(true));
        }
        if roster.is_used(&join.key) {
            return Ok(Err(JoinRefusal::Used));
        }
        if invite.expires <= self.now.wall_millis {
            return Ok(Err(JoinRefusal::Expired));
        }
        if !join.signature.verify(&join.key, &admit_message(space.id, peer)) {
            return Ok(Err(JoinRefusal::Signature));
        }
        let (signature, contact) = (join.signature, join.contact.clone());
        let admit = Admit { invite: join.key, node: peer, signature, contact };
        match self.append_rules(space, &[Record::Admit(admit)]) {
            Ok(()) => Ok(Ok(true)),
            Err(Fault::Refused(_)) => Ok(Err(JoinRefusal::Signature)),
            Err(store) => Err(store),
        }
    }

    /// Takes the rules entries of a space that this node does not hold, if they found it and make this node a member.
    pub(in crate::engine) fn enter(
        &mut self,
        offer: Offer,
        space_no: u32,
        author: Author,
    ) -> Result<Option<Space>, StoreError> {
        if !offer.admits(self.own.node) {
            return Ok(None);
        }
        let (Some(found), ranges) = offer.into_parts() else { return Ok(None) };
        let mut entered = Space::new(&found, space_no, author);
        let mut taken = crate::engine::space::settle::Taken::default();
        // Once per space, and asked for by this node: an offer is taken whole, however much work it is.
        self.budget.whole(true);
        for mut range in ranges {
            self.take_range(&mut entered, &mut range, &mut taken)?;
            assert!(range.entries().is_empty(), "all of it is taken");
        }
        self.drain_held(&mut entered, &mut taken)?;
        self.budget.whole(false);
        Ok(entered.role(self.own.node).is_some().then_some(entered))
    }
}
