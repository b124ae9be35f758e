//! Who meets whom: real QUIC on the loopback interface.

use std::net::UdpSocket;
use std::time::Duration;

use crate::support::{any_port, closed, endpoint, endpoint_with, identity, pair};
use tombolo_transport::dial::Address;
use tombolo_transport::{CloseCode, ConnectError, Endpoint, Lost, Settings};

#[tokio::test]
async fn two_nodes_learn_each_others_key() {
    let (one, two) = pair().await;
    assert_eq!(one.peer(), identity(2).node_id());
    assert_eq!(two.peer(), identity(1).node_id());
    assert!(one.dialled_by_us() && !two.dialled_by_us());
    assert!(two.remote_address().ip().is_loopback());
    let (handle, _events) = one.split();
    assert!(handle.rtt() > Duration::ZERO);
}

#[tokio::test]
async fn whoever_answers_is_accepted_if_nobody_was_expected() {
    let (one, _) = endpoint(1);
    let (two, address) = endpoint(2);
    let accept = async { two.accept().await.expect("open").establish().await };
    let (dialled, accepted) = tokio::join!(one.connect(address, None), accept);
    assert_eq!(dialled.expect("connected").peer(), two.node_id());
    assert_eq!(accepted.expect("accepted").peer(), one.node_id());
}

#[tokio::test]
async fn another_node_than_the_expected_one_is_refused() {
    let (one, _) = endpoint(1);
    let (two, address) = endpoint(2);
    let expected = identity(3).node_id();
    let accept = async { two.accept().await.expect("open").establish().await };
    let (dialled, accepted) = tokio::join!(one.connect(address, Some(expected)), accept);
    let error = dialled.expect_err("refused");
    assert_eq!(error, ConnectError::WrongPeer { expected, found: two.node_id(), address });
    let error = accepted.expect_err("refused");
    assert!(matches!(error, ConnectError::Failed { cause: Lost::PeerExpectedAnother, .. }), "{error}");
}

#[tokio::test]
async fn another_version_is_refused_with_a_clear_cause() {
    let (one, _) = endpoint_with(1, Settings { alpn: b"tombolo/2".to_vec(), ..Settings::default() });
    let (two, address) = endpoint(2);
    let accept = async { two.accept().await.expect("open").establish().await };
    let (dialled, accepted) = tokio::join!(one.connect(address, None), accept);
    for result in [dialled, accepted] {
        let error = result.expect_err("refused");
        assert!(matches!(error, ConnectError::Failed { cause: Lost::OtherVersion, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_meets_its_own_key_says_so() {
    let (one, address) = endpoint(1);
    let accept = async { one.accept().await.expect("open").establish().await };
    let (dialled, accepted) = tokio::join!(one.connect(address, None), accept);
    assert!(matches!(dialled.expect_err("refused"), ConnectError::Ourselves { .. }));
    assert!(matches!(accepted.expect_err("refused"), ConnectError::Ourselves { .. }));
}

#[tokio::test]
async fn a_target_is_reached_at_the_address_that_answers() {
    let (one, _) = endpoint(1);
    let (two, address) = endpoint(2);
    // Bound and silent: nobody answers there.
    let silent = UdpSocket::bind(any_port()).expect("bound");
    let addresses = [
        Address::from(silent.local_addr().expect("one")),
        format!("localhost:{}", address.port()).parse().expect("one"),
    ];
    let accept = async { two.accept().await.expect("open").establish().await };
    let (dialled, accepted) = tokio::join!(one.dial(Some(two.node_id()), &addresses), accept);
    assert_eq!(dialled.expect("connected").peer(), two.node_id());
    accepted.expect("accepted");
    assert!(matches!(one.dial(None, &[]).await, Err(ConnectError::NoAddress { .. })));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (_one, address) = endpoint(1);
    let error = Endpoint::bind(identity(2), address, Settings::default()).expect_err("taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_closed_endpoint_tells_its_peers_and_dials_no_more() {
    let (one, _) = endpoint(1);
    let (two, address) = endpoint(2);
    let accept = async { two.accept().await.expect("open").establish().await.expect("accepted") };
    let (dialled, accepted) = tokio::join!(one.connect(address, None), accept);
    let (_handle, mut at_one) = dialled.expect("connected").split();
    let (_handle, _at_two) = accepted.split();
    two.close(CloseCode::ShuttingDown);
    let lost = closed(&mut at_one).await;
    assert!(matches!(lost, Lost::ByPeer { code: CloseCode::ShuttingDown, .. }), "{lost}");
    assert_eq!(two.connect(address, None).await.expect_err("closed"), ConnectError::Stopped);
    assert!(two.accept().await.is_none());
}

fn impatient() -> Settings {
    Settings { keep_alive: Duration::from_millis(100), idle_timeout: Duration::from_secs(2), ..Settings::default() }
}

/// Runs node 2 in a runtime of its own that can be killed: no packet leaves it after that.
fn mortal_node() -> (tokio::runtime::Runtime, std::net::SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (send, receive) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let (two, address) = endpoint_with(2, impatient());
        send.send(address).expect("waited for");
        let (_handle, mut events) = two.accept().await.expect("open").establish().await.expect("accepted").split();
        closed(&mut events).await;
    });
    (runtime, receive.recv().expect("an address"))
}

#[tokio::test]
async fn a_peer_that_died_is_noticed() {
    let (runtime, address) = mortal_node();
    let (one, _) = endpoint_with(1, impatient());
    let (_handle, mut events) = one.connect(address, None).await.expect("connected").split();
    runtime.shutdown_background();
    assert_eq!(closed(&mut events).await, Lost::TimedOut);
}

#[tokio::test]
async fn a_peer_that_restarted_says_so_at_once() {
    let (runtime, address) = mortal_node();
    let (one, _) = endpoint_with(1, Settings { idle_timeout: Duration::from_secs(60), ..impatient() });
    let (_handle, mut events) = one.connect(address, None).await.expect("connected").split();
    runtime.shutdown_background();
    let again = loop {
        match Endpoint::bind(identity(2), address, impatient()) {
            Ok(endpoint) => break endpoint,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let lost = closed(&mut events).await;
    assert_eq!(lost, Lost::PeerRestarted);
    drop(again);
}
