//! A member gone bad: the key of a node that was let in, and a hand of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tokio::runtime::Runtime;
use tombolo_crdt::entry::{Body, Dep, ENTRY_VERSION, EntityChange, Entry};
use tombolo_crdt::feed::{FeedKind, Range};
use tombolo_crdt::rules::Contact;
use tombolo_crdt::{ChainHash, Digest, FeedId, Hlc, SpaceId};
use tombolo_sim::hand::Pen;
use tombolo_transport::frame::{Frame, FrontierPage, Hello, PROTOCOL_VERSION, Ranges, Summary};
use tombolo_transport::{Channel, ConnectionHandle, Endpoint, Event, Events, Identity, Settings, Standing};

use crate::{Node, converge};

/// How long the node may take to say what it holds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection of a member gone bad to a node.
#[derive(Debug)]
pub struct Member {
    runtime: Runtime,
    handle: ConnectionHandle,
    room: tokio::sync::watch::Receiver<usize>,
    number: u64,
    /// Its key.
    pub key: SigningKey,
    /// The space.
    pub space: SpaceId,
    /// The rules heads that it has seen.
    pub rules: Vec<ChainHash>,
    _endpoint: Endpoint,
}

impl Member {
    /// Lets a node join with `role`, stops it, and goes on with its key.
    ///
    /// # Panics
    /// If it cannot join or is not heard.
    #[must_use]
    pub fn of(node: &Node, space: &str, role: &str) -> Self {
        let honest = Node::new("m");
        honest.join(&node.invite(space, role));
        converge(space, &[node, &honest]);
        let dir = honest.stop();
        let identity = Identity::load(&dir.path().join("identity")).expect("its key");
        Self::connect(node, space.parse().expect("an id"), identity)
    }

    fn connect(node: &Node, space: SpaceId, identity: Identity) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let key = identity.signing_key().clone();
        let port = node.listen.parse::<SocketAddr>().expect("an address").port();
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let (endpoint, handle, rules, room) = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let endpoint = Endpoint::bind(identity, any, Settings::default()).expect("a socket");
            let (handle, mut events) = endpoint.connect(to, None).await.expect("connected").split();
            // What the node sends is wanted.
            handle.set_standing(Standing::Member);
            let rules = tokio::time::timeout(PATIENCE, greet(&handle, &mut events, space)).await.expect("heard");
            handle.open_transfer(0).expect("a transfer");
            let (tell, room) = tokio::sync::watch::channel(0);
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    if let Event::Writable { channel: Channel::Transfer(0), bytes } = event {
                        tell.send_replace(bytes);
                    }
                }
            });
            (endpoint, handle, rules, room)
        });
        Self { runtime, handle, room, number: 0, key, space, rules, _endpoint: endpoint }
    }

    /// A new feed of its own.
    #[must_use]
    pub fn pen(&self, epoch: u64) -> Pen {
        Pen::new(&self.key, self.space, epoch, FeedKind::Data)
    }

    /// An entry with these changes: (id, change).
    #[must_use]
    pub fn entry(&self, seq: u64, deps: Vec<Dep>, changes: Vec<(String, Vec<u8>)>) -> Entry {
        let change = |(id, change)| EntityChange { collection: "x".to_owned(), id, origin: 0, change };
        Entry {
            version: ENTRY_VERSION,
            seq,
            hlc: Hlc::from_millis(1_790_000_000_000),
            rules: (seq == 1).then(|| self.rules.clone()),
            deps,
            trace: None,
            idempotency: None,
            body: Body::Data(changes.into_iter().map(change).collect()),
            ext: Vec::new(),
        }
    }

    /// Sends ranges in frames of at most `at_once`, as fast as the node takes them.
    ///
    /// # Panics
    /// If the node does not take them at all.
    pub fn send(&mut self, ranges: Vec<Range>, at_once: usize) {
        let mut ranges = ranges.into_iter().peekable();
        while ranges.peek().is_some() {
            self.number += 1;
            let some = ranges.by_ref().take(at_once).collect();
            let frame = Frame::Ranges(Ranges { space: self.space, number: self.number, ranges: some }).encode();
            let (room, handle) = (&mut self.room, &self.handle);
            self.runtime.block_on(async {
                let mut frame = frame;
                loop {
                    match handle.send_transfer(0, frame) {
                        Ok(()) => return,
                        Err(tombolo_transport::SendError::Full { frame: back, .. }) => frame = back,
                        Err(error) => panic!("{error}"),
                    }
                    drop(tokio::time::timeout(Duration::from_millis(20), room.changed()).await);
                }
            });
        }
    }
}

/// Says hello, names the space, says to have nothing, and hears all of it. Returns the rules heads.
async fn greet(handle: &ConnectionHandle, events: &mut Events, space: SpaceId) -> Vec<ChainHash> {
    let contact = Contact { name: "m".to_owned(), addrs: Vec::new() };
    let wall_millis = 1_790_000_000_000;
    let hello =
        Hello { version: PROTOCOL_VERSION, contact, process: [3; 16], counter: 1, wall_millis, ext: Vec::new() };
    let nothing = Digest::from_bytes([0; 32]);
    for frame in [Frame::Hello(hello), Frame::Rules(space, nothing), Frame::RulesDone] {
        handle.send_control(frame.encode()).expect("room");
    }
    let mut heads: Vec<ChainHash> = Vec::new();
    // Entries may come before the frontier that tells how many there are.
    let mut wanted: Option<BTreeMap<FeedId, u64>> = None;
    let mut have: BTreeMap<FeedId, u64> = BTreeMap::new();
    let lacks = |wanted: &BTreeMap<FeedId, u64>, have: &BTreeMap<FeedId, u64>| {
        wanted.iter().any(|(feed, seq)| have.get(feed).is_none_or(|have| have < seq))
    };
    while wanted.as_ref().is_none_or(|wanted| lacks(wanted, &have)) {
        let event = events.next().await.expect("the node goes on talking");
        let Event::Frame { frame, .. } = event else { continue };
        match Frame::decode(&frame).expect("a frame") {
            Some(Frame::Summary(_)) => {
                let ours = Summary { space, frontier: nothing, state: nothing, frozen: 0, common: None };
                let page = FrontierPage { space, base: None, positions: Vec::new(), last: true };
                for frame in [Frame::Summary(ours), Frame::FrontierRequest(space), Frame::Frontier(page)] {
                    handle.send_control(frame.encode()).expect("room");
                }
            }
            Some(Frame::Frontier(page)) => {
                let wanted = wanted.get_or_insert_default();
                wanted.extend(page.positions.iter().map(|position| (position.feed, position.seq)));
            }
            Some(Frame::Ranges(Ranges { ranges, .. })) => {
                for range in ranges.into_iter().filter_map(|range| range.verify().ok()) {
                    let reached = have.entry(range.feed()).or_default();
                    *reached = (*reached).max(range.end());
                    if range.opening().kind == FeedKind::Rules {
                        for entry in range.entries() {
                            heads.push(entry.chain);
                            if let tombolo_crdt::entry::Content::Known(known) = &entry.content {
                                heads.retain(|head| !known.rules.iter().flatten().any(|parent| parent == head));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }
    heads.sort_unstable();
    heads.dedup();
    heads
}
