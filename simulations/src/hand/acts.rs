//! What many tests do with a world: spaces, members, writes, exports.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::{EntityState, Write};
use tombolo_crdt::feed::Signature;
use tombolo_crdt::rules::{Role, admit_message};
use tombolo_node::engine::{
    Command, EntityWrite, Expect, Input, JoinRequest, Refusal, Reply, ReplyTo, WriteCommand, Written,
};

use super::{NodeNo, World};
use crate::disk::Disk;

impl World {
    /// Founds a space on node 0 and makes all other nodes members of it by ticket, over a connection that is cut again.
    ///
    /// # Panics
    /// If a member is not admitted.
    pub fn found_space(&mut self, name: &str) -> SpaceId {
        self.found_space_with(name, |_| Role::Writer)
    }

    /// Makes a space, with a role for each of the others.
    ///
    /// # Panics
    /// If a member is not admitted.
    pub fn found_space_with(&mut self, name: &str, role: impl Fn(NodeNo) -> Role) -> SpaceId {
        let founder = Box::new(SigningKey::from_bytes(&self.dice.bytes()));
        let reply = self.command(0, Command::CreateSpace { name: name.to_owned(), founder });
        let Reply::Created(Ok(space)) = reply else { panic!("no space: {reply:?}") };
        for node in 1..self.nodes.len() {
            self.admit(0, node, space, name, role(node));
        }
        space
    }

    /// Makes `node` a member by a ticket of `admin`, over a connection that is cut again.
    ///
    /// # Panics
    /// If it is not admitted.
    pub fn admit(&mut self, admin: NodeNo, node: NodeNo, space: SpaceId, name: &str, role: Role) {
        let one_time = SigningKey::from_bytes(&self.dice.bytes());
        let key = one_time.verifying_key().to_bytes();
        let invite = Command::Invite { space, role, key, expires: u64::MAX >> 16 };
        let reply = self.command(admin, invite);
        assert!(matches!(reply, Reply::Done(Ok(()))), "{reply:?}");
        let signature = Signature::sign(&one_time, &admit_message(space, self.engine(node).node()));
        let inviter = self.engine(admin).node();
        let request = JoinRequest { space, name: name.to_owned(), key, signature, inviter, addrs: Vec::new() };
        let reply = self.command(node, Command::Join(request));
        assert!(matches!(reply, Reply::Done(Ok(()))), "{reply:?}");
        self.connect(node, admin);
        self.settle();
        assert!(self.engine(node).spaces().any(|(id, _)| id == space), "node {node} was admitted");
        self.disconnect(node, admin);
    }

    /// Writes to one entity, as one entry.
    ///
    /// # Errors
    /// What the engine refuses.
    ///
    /// # Panics
    /// If the step gives no reply.
    pub fn write(
        &mut self,
        node: NodeNo,
        space: SpaceId,
        collection: &str,
        id: &str,
        writes: impl IntoIterator<Item = Write>,
    ) -> Result<Written, Refusal> {
        let one =
            |write| EntityWrite { collection: collection.to_owned(), id: id.to_owned(), expect: Expect::Any, write };
        let writes = writes.into_iter().map(one).collect();
        let command = WriteCommand { space, writes, atomic: true, idempotency: None, trace: None };
        match self.command(node, Command::Write(command)) {
            Reply::Written(outcome) => {
                outcome.map(|mut outcome| outcome.writes.pop().and_then(Result::ok).expect("an answer per write"))
            }
            Reply::Failed(refusal) => Err(refusal),
            other => panic!("a write was asked for: {other:?}"),
        }
    }

    /// All present entities of a space on a node, as lines.
    ///
    /// # Panics
    /// If the store cannot be read.
    #[must_use]
    pub fn export(&self, node: NodeNo, space: SpaceId) -> Vec<String> {
        let reading = self.engine(node).reader().reading().expect("a reading");
        let no = reading.space(space).expect("readable").expect("held").space_no;
        let rows = reading.rows(no, None, "", None, usize::MAX).expect("readable");
        let lines = rows.into_iter().filter_map(|(collection, id, row)| {
            let state = EntityState::decode(&row).expect("rows decode");
            let view = String::from_utf8(state.view_bytes()).expect("JSON is UTF-8");
            state.is_present().then(|| format!("{collection}/{id} {view}"))
        });
        lines.collect()
    }

    /// Bytes of frames on their way to a node.
    #[must_use]
    pub fn waiting(&self, node: NodeNo) -> usize {
        self.wire.waiting(node)
    }

    /// Lets a node carry out commands in one step.
    ///
    /// # Panics
    /// If the step leaves one without a reply.
    pub fn commands(&mut self, node: NodeNo, commands: Vec<Command>) -> Vec<Reply> {
        self.mono += Duration::from_millis(1);
        let first = self.next + 1;
        let inputs: Vec<Input> =
            commands.into_iter().zip(first..).map(|(command, no)| Input::Command(ReplyTo(no), command)).collect();
        self.next += inputs.len() as u64;
        self.step(node, inputs);
        let replies = (first..=self.next).map(|no| self.nodes[node].replies.remove(&ReplyTo(no)));
        replies.map(|reply| reply.expect("a command is answered in its step")).collect()
    }

    /// The greatest number of a connection or reply so far.
    pub(crate) const fn last_number(&self) -> u64 {
        self.next
    }

    /// Ends all processes and gives their keys and disks.
    pub(crate) fn into_disks(self) -> Vec<(SigningKey, Disk)> {
        self.nodes.into_iter().map(|node| (node.key, node.disk)).collect()
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}
