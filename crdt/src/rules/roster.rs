//! The roster: what the rules entries below some heads add up to.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Contact, Invite, Record, Role};
use crate::NodeId;

/// A member of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub role: Role,
    /// How it calls itself and where it may be found.
    pub contact: Contact,
}

/// state(R): members, their roles and the open invites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    founder: Option<NodeId>,
    pub(super) name: String,
    members: BTreeMap<NodeId, Member>,
    invites: BTreeMap<[u8; 32], Invite>,
    used: BTreeSet<[u8; 32]>,
}

impl Roster {
    /// Members and invites: what its memory grows with.
    pub(super) fn size(&self) -> usize {
        1 + self.members.len() + self.invites.len()
    }

    /// The space's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The member with this key.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// All members, by key. The founder key is not among them unless it was granted a role.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter().map(|(node, member)| (*node, member))
    }

    /// The role of an author: the founder key is an admin.
    #[must_use]
    pub fn role(&self, node: NodeId) -> Option<Role> {
        let founder = (self.founder == Some(node)).then_some(Role::Admin);
        founder.or_else(|| self.members.get(&node).map(|member| member.role))
    }

    /// The founder's key, if the founding entry is among the rules.
    #[must_use]
    pub fn founder(&self) -> Option<NodeId> {
        self.founder
    }

    /// An invite by its key, taken or not.
    #[must_use]
    pub fn invite(&self, key: &[u8; 32]) -> Option<&Invite> {
        self.invites.get(key)
    }

    /// Whether an invite has been taken.
    #[must_use]
    pub fn is_used(&self, key: &[u8; 32]) -> bool {
        self.used.contains(key)
    }

    /// Folds one record of an entry that stands.
    pub(crate) fn fold(&mut self, record: &Record) {
        match record {
            Record::Found(found) => {
                self.founder = Some(found.founder);
                self.name.clone_from(&found.name);
            }
            Record::Invite(invite) => {
                self.invites.entry(invite.key).or_insert_with(|| invite.clone());
            }
            Record::Admit(admit) => {
                let Some(invite) = self.invites.get(&admit.invite) else { return };
                // Of two admits on one invite the first in rules order stands.
                if !self.used.insert(admit.invite) {
                    return;
                }
                let role = self.members.get(&admit.node).map_or(invite.role, |member| member.role.max(invite.role));
                self.members.insert(admit.node, Member { role, contact: admit.contact.clone() });
            }
            Record::Grant(grant) => {
                self.members.insert(grant.node, Member { role: grant.role, contact: grant.contact.clone() });
            }
        }
    }
}
