//! Strangers take little, members come in past them, and who is turned away hears why.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tombolo_transport::{
    Bound, Channel, CloseCode, Connection, Endpoint, Lost, PlaceLimits, Settings, Standing, limits,
};

use crate::support::{Rude, closed, endpoint, endpoint_with, frame, identity, shake, told};

/// How long a member may take to come in.
const PATIENCE: Duration = Duration::from_secs(2);

/// Few places, so that few connections fill them.
fn few() -> Settings {
    let bound = Bound { all: 8, per_address: 4 };
    Settings {
        places: PlaceLimits { handshakes: bound, waiting: bound, strangers: bound, per_key: 2 },
        ..Settings::default()
    }
}

/// Takes everybody who comes, each in a task of its own, as a node does.
fn accept_all(endpoint: Endpoint) -> mpsc::UnboundedReceiver<Connection> {
    let (send, receive) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(accepting) = endpoint.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                if let Ok(connection) = accepting.establish().await {
                    let _ = send.send(connection);
                }
            });
        }
    });
    receive
}

/// A member dials in and is taken.
async fn comes_in(
    seed: u8,
    address: SocketAddr,
    accepted: &mut mpsc::UnboundedReceiver<Connection>,
) -> (Endpoint, Connection, Connection) {
    let (member, _) = endpoint(seed);
    let dialled = tokio::time::timeout(PATIENCE, member.connect(address, None)).await.expect("in time");
    let dialled = dialled.expect("connected");
    loop {
        let connection = tokio::time::timeout(PATIENCE, accepted.recv()).await.expect("in time").expect("accepted");
        if connection.peer() == identity(seed).node_id() {
            return (member, dialled, connection);
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_no_transfer_streams_until_it_is_a_member() {
    let (rude, handle, mut events, _two) = Rude::meet(endpoint(2)).await;
    let opening = rude.quinn.open_uni();
    tokio::pin!(opening);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut opening).await;
    assert!(early.is_err(), "not granted");
    handle.set_standing(Standing::Guest);
    handle.set_standing(Standing::Member);
    let mut stream = tokio::time::timeout(PATIENCE, opening).await.expect("granted").expect("open");
    stream.write_all(&[5, 0, 0, 0, 1, 0, 0, 0, 9]).await.expect("sent");
    assert_eq!(frame(&mut events).await, (Channel::Transfer(5), vec![9]));
    handle.set_standing(Standing::Stranger);
    assert_eq!(handle.standing(), Standing::Member, "it only grows");
}

#[tokio::test]
async fn a_long_frame_of_a_stranger_waits_until_it_is_a_guest() {
    let (mut rude, handle, mut events, _two) = Rude::meet(endpoint(2)).await;
    let length = limits::STRANGER_FRAME_BYTES_MAX + 1;
    let send = tokio::spawn(async move {
        rude.control.0.write_all(&(length as u32).to_le_bytes()).await.expect("sent");
        rude.control.0.write_all(&vec![7; length]).await.expect("sent");
        rude
    });
    let early = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
    assert!(early.is_err() || matches!(early, Ok(Some(tombolo_transport::Event::Writable { .. }))), "{early:?}");
    handle.set_standing(Standing::Guest);
    assert_eq!(frame(&mut events).await, (Channel::Control, vec![7; length]));
    let mut rude = send.await.expect("sent");
    // Longer than any page: only members have that much to say.
    let bytes = limits::GUEST_FRAME_BYTES_MAX + 1;
    rude.control.0.write_all(&(bytes as u32).to_le_bytes()).await.expect("sent");
    let lost = closed(&mut events).await;
    let limit = limits::GUEST_FRAME_BYTES_MAX;
    assert_eq!(lost, Lost::FrameTooLong { channel: Channel::Control, bytes, limit });
    let (code, text) = told(&rude.quinn).await;
    assert!(code == 4 && text.contains(&bytes.to_string()), "{code} {text}");
    assert!(!handle.stands(Standing::Member).await, "nobody waits for a member that is gone");
}

#[tokio::test]
async fn a_frame_that_stands_still_ends_its_connection_and_the_peer_hears_why() {
    let impatient = Settings { frame_stall: Duration::from_millis(200), ..Settings::default() };
    for standing in [Standing::Stranger, Standing::Member] {
        let (mut rude, handle, mut events, _two) = Rude::meet(endpoint_with(2, impatient.clone())).await;
        handle.set_standing(standing);
        rude.control.0.write_all(&[100, 0, 0, 0, 1, 2, 3]).await.expect("sent");
        assert_eq!(closed(&mut events).await, Lost::Stalled { channel: Channel::Control });
        let (code, text) = told(&rude.quinn).await;
        assert!(code == 8 && text.contains("stood still"), "{code} {text}");
    }
}

#[tokio::test]
async fn silent_strangers_of_one_key_and_address_keep_nobody_out() {
    let (two, address) = endpoint_with(2, few());
    let mut accepted = accept_all(two);
    let mut silent = Vec::new();
    let mut held = Vec::new();
    for _ in 0..10 {
        silent.push(Rude::dial(1, address).await);
        held.push(tokio::time::timeout(PATIENCE, accepted.recv()).await.expect("in time"));
    }
    let (code, text) = told(&silent[0].quinn).await;
    assert!(code == 5 && text.contains("strangers"), "{code} {text}");
    for seed in 10..20 {
        silent.push(Rude::dial(seed, address).await);
        held.push(tokio::time::timeout(PATIENCE, accepted.recv()).await.expect("in time"));
    }
    comes_in(50, address, &mut accepted).await;
    let open = silent.iter().filter(|rude| rude.quinn.close_reason().is_none()).count();
    assert!(open <= 4, "{open} of one address");
}

#[tokio::test]
async fn a_known_key_keeps_its_place_whoever_else_comes() {
    let (two, address) = endpoint_with(2, few());
    two.set_known(BTreeSet::from([identity(50).node_id()]));
    let mut accepted = accept_all(two);
    let (_member, dialled, at_two) = comes_in(50, address, &mut accepted).await;
    let (mut rude, mut held) = (Vec::new(), Vec::new());
    for seed in 10..30 {
        rude.push(Rude::dial(seed, address).await);
        held.push(tokio::time::timeout(PATIENCE, accepted.recv()).await.expect("in time"));
    }
    assert!(rude.iter().any(|rude| rude.quinn.close_reason().is_some()), "strangers had to go");
    let (handle, _events) = dialled.split();
    handle.send_control(vec![1, 2]).expect("it stands");
    assert_eq!(frame(&mut at_two.split().1).await, (Channel::Control, vec![1, 2]));
}

#[tokio::test]
async fn handshakes_without_a_control_stream_hold_no_place() {
    let (two, address) = endpoint_with(2, few());
    let mut accepted = accept_all(two);
    let mut silent = Vec::new();
    for seed in 100..130 {
        silent.push(shake(seed, address).await);
    }
    comes_in(50, address, &mut accepted).await;
    let (code, _) = told(&silent[0].0).await;
    assert_eq!(code, 5, "the oldest went");
    let open = silent.iter().filter(|(quinn, _)| quinn.close_reason().is_none()).count();
    assert!(open <= 4, "{open} of one address");
}

#[tokio::test]
async fn who_is_turned_away_gently_hears_the_reason() {
    let (rude, handle, mut events, _two) = Rude::meet(endpoint(2)).await;
    handle.close_when_sent(CloseCode::Refused, "no space in common");
    assert_eq!(told(&rude.quinn).await, (7, "no space in common".to_owned()));
    assert_eq!(closed(&mut events).await, Lost::ByUs { code: CloseCode::Refused });
}
