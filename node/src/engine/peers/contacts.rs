//! What members last said of themselves in a hello: name and addresses, which may have changed since they joined. And
//! whether a key runs twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tombolo_crdt::NodeId;
use tombolo_crdt::rules::{ADDR_BYTES_MAX, ADDRS_MAX, Contact, NAME_BYTES_MAX};
use tombolo_transport::frame::Hello;

use crate::engine::peers::conn::Conn;
use crate::engine::status::Twin;
use crate::store::{Batch, StoreError};

const CONTACT_KEY: &str = "contact/";
/// Processes remembered per member. One that comes back after another one shows that both run.
const PROCESSES_MAX: usize = 4;

/// A member as it described itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    contact: Contact,
    /// Where it was connected from, with the port it listens on: the last address to try.
    seen: Option<String>,
}

/// Of all members that have said hello here. One small row each.
#[derive(Debug, Default)]
pub(in crate::engine) struct Contacts {
    said: BTreeMap<NodeId, Said>,
    processes: BTreeMap<NodeId, VecDeque<[u8; 16]>>,
    twins: BTreeMap<NodeId, Twin>,
}

impl Contacts {
    /// Reads back what was said. A row that cannot be read is done without.
    pub(in crate::engine) fn load(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.said.clear();
        for (key, bytes) in batch.meta_prefix(CONTACT_KEY)? {
            let node = key.strip_prefix(CONTACT_KEY).and_then(|node| node.parse().ok());
            match node.zip(postcard::from_bytes(&bytes).ok()) {
                Some((node, said)) => drop(self.said.insert(node, said)),
                None => tracing::error!(key, "what a member said of itself cannot be read"),
            }
        }
        Ok(())
    }

    /// A member has said hello. Whether that changes where or as whom it is known.
    pub(in crate::engine) fn hear(
        &mut self,
        conn: &Conn,
        hello: &Hello,
        batch: &mut Batch<'_>,
        wall_millis: u64,
    ) -> Result<bool, StoreError> {
        self.count_processes(conn, hello.process, wall_millis);
        let Contact { name, addrs } = &hello.contact;
        let fits = name.len() <= NAME_BYTES_MAX
            && addrs.len() <= ADDRS_MAX
            && addrs.iter().all(|addr| addr.len() <= ADDR_BYTES_MAX);
        if !fits {
            return Ok(false);
        }
        let before = self.said.get(&conn.peer);
        // Where this node dialled to is known; where a peer came from is news.
        let seen = match conn.dialled {
            true => before.and_then(|said| said.seen.clone()),
            false => seen(&conn.address, addrs),
        };
        let said = Said { contact: hello.contact.clone(), seen };
        if before == Some(&said) {
            return Ok(false);
        }
        let bytes = postcard::to_stdvec(&said).expect("writing to a vector cannot fail");
        batch.put_meta(&format!("{CONTACT_KEY}{}", conn.peer), &bytes)?;
        self.said.insert(conn.peer, said);
        Ok(true)
    }

    fn count_processes(&mut self, conn: &Conn, process: [u8; 16], wall_millis: u64) {
        let known = self.processes.entry(conn.peer).or_default();
        let comes_back = known.iter().rev().skip(1).any(|earlier| *earlier == process);
        if known.back() != Some(&process) {
            known.push_back(process);
            if known.len() > PROCESSES_MAX {
                known.pop_front();
            }
        }
        assert!(known.len() <= PROCESSES_MAX, "processes that are remembered of a member are bounded");
        if comes_back {
            self.twin(conn.peer, conn.address.clone(), wall_millis);
        }
    }

    /// A key was met where it should not be.
    pub(in crate::engine) fn twin(&mut self, node: NodeId, address: String, at: u64) {
        if self.twins.insert(node, Twin { node, address: address.clone(), at }).is_none() {
            tracing::warn!(%node, address, "two processes run with one key");
        }
    }

    /// Keys that run twice. A process ends, and nobody says so: what was not seen for an hour is left out.
    pub(in crate::engine) fn twins(&self, wall_millis: u64) -> Vec<Twin> {
        let recent = |twin: &&Twin| wall_millis.saturating_sub(twin.at) < TWIN_SHOWN_MILLIS;
        self.twins.values().filter(recent).cloned().collect()
    }

    /// Name and addresses of a member, of whom the roster says this.
    pub(in crate::engine) fn of(&self, node: NodeId, roster: &Contact) -> Contact {
        self.said.get(&node).map_or_else(|| roster.clone(), |said| said.contact.clone())
    }

    /// Where to look for a member, best first: where it says it is, where it was when it joined, where it came from.
    pub(in crate::engine) fn addresses(&self, node: NodeId, roster: Vec<String>) -> Vec<String> {
        let said = self.said.get(&node);
        let own = said.into_iter().flat_map(|said| said.contact.addrs.iter().cloned());
        let seen = said.and_then(|said| said.seen.clone());
        let mut known = BTreeSet::new();
        let all = own.chain(roster).chain(seen).filter(|addr| known.insert(addr.clone()));
        all.take(ADDRS_MAX).collect()
    }
}

/// How long a twin is shown, in milliseconds.
const TWIN_SHOWN_MILLIS: u64 = 3_600_000;

/// The address a peer came from, with the port of the first address it says it has.
fn seen(from: &str, addrs: &[String]) -> Option<String> {
    let ip = from.parse::<SocketAddr>().ok()?.ip();
    let port = addrs.iter().find_map(|addr| addr.rsplit_once(':')?.1.parse::<u16>().ok())?;
    Some(SocketAddr::new(ip, port).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(dialled: bool) -> Conn {
        Conn::new(NodeId::from_bytes([7; 32]), dialled, "192.0.2.9:40000".to_owned(), 0, 0)
    }

    #[test]
    fn a_peer_is_looked_for_where_it_said_then_where_it_was_then_where_it_came_from() {
        let mut contacts = Contacts::default();
        let peer = conn(false).peer;
        let addrs = vec!["10.0.0.1:7700".to_owned()];
        assert_eq!(seen("192.0.2.9:40000", &addrs), Some("192.0.2.9:7700".to_owned()));
        assert_eq!(seen("node-1:7600", &addrs), None);
        let contact = Contact { name: "new".to_owned(), addrs };
        contacts.said.insert(peer, Said { contact, seen: Some("192.0.2.9:7700".to_owned()) });
        let roster = vec!["10.0.0.9:7700".to_owned(), "10.0.0.1:7700".to_owned()];
        let expected = ["10.0.0.1:7700", "10.0.0.9:7700", "192.0.2.9:7700"];
        assert_eq!(contacts.addresses(peer, roster), expected);
        assert_eq!(contacts.addresses(NodeId::from_bytes([8; 32]), vec!["a:1".to_owned()]), ["a:1"]);
    }

    #[test]
    fn a_process_that_comes_back_after_another_shows_that_two_run() {
        let mut contacts = Contacts::default();
        for process in [1, 1, 2, 2, 3] {
            contacts.count_processes(&conn(false), [process; 16], 5);
        }
        assert_eq!(contacts.twins(5), [], "each was the next start of one node");
        contacts.count_processes(&conn(false), [2; 16], 6);
        assert_eq!(contacts.twins(6).len(), 1);
        assert_eq!(contacts.twins(6 + TWIN_SHOWN_MILLIS), []);
    }
}
