//! The places of those who dialled in, with the way to put each out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tombolo_crdt::NodeId;

use crate::error::CloseCode;
use crate::places::{PlaceLimits, Places, Tier};
use crate::standing::Standing;

/// What a peer that is put out is told.
const PUT_OUT: &str = "too many strangers, and this connection was the oldest of them";

/// Shared by an endpoint and its accepted connections.
#[derive(Debug)]
pub(crate) struct Doors {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    places: Places,
    exits: BTreeMap<u64, Exit>,
}

/// How a newcomer is put out.
#[derive(Debug)]
enum Exit {
    Handshake(Arc<Notify>),
    Open(quinn::Connection),
}

impl Doors {
    pub(crate) fn new(limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner { places: Places::new(limits), exits: BTreeMap::new() }) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The tables are whole at every moment.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_known(&self, known: BTreeSet<NodeId>) {
        self.inner().places.set_known(Arc::new(known));
    }

    /// Places taken, and handshakes among them.
    pub(crate) fn taken(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.places.len(), inner.places.count(Tier::Handshake))
    }

    /// A place for a newcomer.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Seat {
        let put_out = Arc::new(Notify::new());
        let mut inner = self.inner();
        let (no, out) = inner.places.enter(from);
        inner.exits.insert(no, Exit::Handshake(Arc::clone(&put_out)));
        inner.show_out(&out);
        debug_assert_eq!(inner.exits.len(), inner.places.len(), "whoever has a place can be put out");
        drop(inner);
        Seat { doors: Arc::clone(self), no, put_out }
    }
}

impl Inner {
    fn show_out(&mut self, out: &[u64]) {
        for exit in out.iter().filter_map(|no| self.exits.remove(no)) {
            match exit {
                Exit::Handshake(put_out) => put_out.notify_one(),
                Exit::Open(quinn) => {
                    tracing::debug!(from = %quinn.remote_address(), PUT_OUT);
                    quinn.close(CloseCode::Overloaded.code(), PUT_OUT.as_bytes());
                }
            }
        }
    }
}

/// A place that was taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    doors: Arc<Doors>,
    no: u64,
    put_out: Arc<Notify>,
}

impl Seat {
    /// Waits until the place is lost while the handshake is under way.
    pub(crate) async fn put_out(&self) {
        self.put_out.notified().await;
    }

    /// The handshake is over.
    pub(crate) fn named(&self, key: NodeId, quinn: &quinn::Connection) {
        let mut inner = self.doors.inner();
        if !inner.exits.contains_key(&self.no) {
            // Put out in this moment.
            quinn.close(CloseCode::Overloaded.code(), PUT_OUT.as_bytes());
            return;
        }
        inner.exits.insert(self.no, Exit::Open(quinn.clone()));
        let out = inner.places.named(self.no, key);
        inner.show_out(&out);
    }

    /// The control stream has begun.
    pub(crate) fn opened(&self) {
        self.raise(Tier::Stranger);
    }

    pub(crate) fn stands(&self, standing: Standing) {
        self.raise(match standing {
            Standing::Stranger => Tier::Stranger,
            Standing::Guest => Tier::Guest,
            Standing::Member => Tier::Member,
        });
    }

    fn raise(&self, tier: Tier) {
        let mut inner = self.doors.inner();
        let out = inner.places.raise(self.no, tier);
        inner.show_out(&out);
    }

    /// Gives the place back.
    pub(crate) fn leave(&self) {
        let mut inner = self.doors.inner();
        inner.places.leave(self.no);
        inner.exits.remove(&self.no);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
