//! Two nodes on the loopback interface.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tombolo_transport::{
    Channel, Connection, ConnectionHandle, Endpoint, Event, Events, Identity, Lost, Settings, Standing, config, limits,
};

pub fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn endpoint(seed: u8) -> (Endpoint, SocketAddr) {
    endpoint_with(seed, Settings::default())
}

pub fn endpoint_with(seed: u8, settings: Settings) -> (Endpoint, SocketAddr) {
    let endpoint = Endpoint::bind(identity(seed), any_port(), settings).expect("bound");
    let address = endpoint.local_addr().expect("an address");
    (endpoint, address)
}

/// Node 1 dials node 2: (at 1, at 2).
pub async fn pair() -> (Connection, Connection) {
    let (one, _) = endpoint(1);
    let (two, address) = endpoint(2);
    let accept = async { two.accept().await.expect("open").establish().await.expect("accepted") };
    let (dialled, accepted) = tokio::join!(one.connect(address, Some(two.node_id())), accept);
    (dialled.expect("connected"), accepted)
}

/// Node 1 has dialled node 2; both connections run, and each is a member to the other.
pub async fn split_pair() -> ((ConnectionHandle, Events), (ConnectionHandle, Events)) {
    let (one, two) = pair().await;
    let (one, two) = (one.split(), two.split());
    one.0.set_standing(Standing::Member);
    two.0.set_standing(Standing::Member);
    (one, two)
}

/// Reads on to the end and says why.
pub async fn closed(events: &mut Events) -> Lost {
    while let Some(event) = events.next().await {
        if let Event::Closed(lost) = event {
            return lost;
        }
    }
    panic!("no reason given");
}

/// The next frame, whatever else happens before.
pub async fn frame(events: &mut Events) -> (Channel, Vec<u8>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Frame { channel, frame } => return (channel, frame),
            Event::Closed(lost) => panic!("{lost}"),
            _ => {}
        }
    }
    panic!("over");
}

/// Pseudo-random numbers, the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 1 to `max` bytes, short ones more often.
    pub fn frame(&mut self, max: usize) -> Vec<u8> {
        let ceiling = (max as u64) >> (self.next() % 16);
        let len = 1 + (self.next() % ceiling.max(1)) as usize;
        let first = self.next();
        (0..len).map(|i| (first.wrapping_add(i as u64 * 31)) as u8).collect()
    }
}

/// Bare QUIC with a good key: can break every rule above it.
pub struct Rude {
    pub quinn: quinn::Connection,
    pub control: (quinn::SendStream, quinn::RecvStream),
    // Kept open.
    endpoint: quinn::Endpoint,
}

/// A handshake by the key `seed`, and nothing after it.
pub async fn shake(seed: u8, address: SocketAddr) -> (quinn::Connection, quinn::Endpoint) {
    let bare = quinn::Endpoint::client(any_port()).expect("bound");
    let config = config::client(&identity(seed), &Settings::default(), None, Arc::new(OnceLock::new()));
    let connecting = bare.connect_with(config.expect("usable"), address, "tombolo").expect("started");
    (connecting.await.expect("connected"), bare)
}

impl Rude {
    /// Dials with the key `seed` and opens the control stream.
    pub async fn dial(seed: u8, address: SocketAddr) -> Self {
        let (quinn, endpoint) = shake(seed, address).await;
        let mut control = quinn.open_bi().await.expect("a stream");
        control.0.write_all(&limits::CONTROL_PREAMBLE).await.expect("sent");
        Self { quinn, control, endpoint }
    }

    /// Meets an endpoint as key 1.
    pub async fn meet((two, address): (Endpoint, SocketAddr)) -> (Self, ConnectionHandle, Events, Endpoint) {
        let accept = async { two.accept().await.expect("open").establish().await.expect("accepted") };
        let (rude, accepted) = tokio::join!(Self::dial(1, address), accept);
        let (handle, events) = accepted.split();
        (rude, handle, events, two)
    }
}

/// The code and the text with which it was closed.
pub async fn told(quinn: &quinn::Connection) -> (u64, String) {
    match quinn.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => panic!("{other}"),
    }
}
