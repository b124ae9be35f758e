//! Connections between two endpoints of this machine, and what is said when one ends.

use tombolo_transport::{Identity, Settings};

use super::*;
use crate::handle::{Item, What};
use crate::runtime::traffic::Traffic;

/// How long something may take before the test fails.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

fn endpoint(seed: u8) -> Endpoint {
    let listen = "127.0.0.1:0".parse().unwrap();
    Endpoint::bind(Identity::from_seed(&[seed; 32]), listen, Settings::default()).unwrap()
}

async fn input(items: &mut mpsc::Receiver<Item>) -> Input {
    let item = tokio::time::timeout(PATIENCE, items.recv()).await.expect("it is told");
    match item.unwrap().what {
        What::Input(input) => input,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_of_this_node_is_told_from_the_node_itself() {
    let listen = "0.0.0.0:7700".parse().unwrap();
    let table = [("127.0.0.1:7700", true), ("127.0.0.1:7701", false), ("192.0.2.1:7700", false)];
    for (address, here) in table {
        assert_eq!(is_here(address.parse().unwrap(), Some(listen)), here, "{address}");
    }
}

#[tokio::test]
async fn who_breaks_the_protocol_hears_how() {
    let (ours, theirs) = (endpoint(1), endpoint(2));
    let (inbox, mut items) = Inbox::new();
    let (net, mut events) = Net::new(Arc::new(Links::new(Arc::new(Traffic::default()))), inbox, None);
    let (address, us) = (ours.local_addr().unwrap(), ours.node_id());
    tokio::spawn(net.accept(ours));
    let contact = tombolo_crdt::rules::Contact { name: String::new(), addrs: Vec::new() };
    let hello = tombolo_transport::frame::Hello {
        version: 1,
        contact,
        process: [0; 16],
        counter: 1,
        wall_millis: 1,
        ext: Vec::new(),
    };
    let hello = Frame::Hello(hello).encode();
    let talk = vec![Frame::RulesDone.encode(); STRANGE_FRAMES_MAX + 1];
    let cases = [
        (vec![vec![2, 0]], CloseCode::Protocol, "malformed frame of kind 2"),
        (vec![hello.clone(), hello], CloseCode::Protocol, "a second hello"),
        (talk, CloseCode::Refused, "more frames than who has nothing in common has to say"),
    ];
    for (frames, code, expected) in cases {
        let (handle, mut heard) = theirs.connect(address, Some(us)).await.unwrap().split();
        assert!(matches!(events.recv().await, Some(LinkEvent::Up(_))));
        frames.into_iter().for_each(|frame| handle.send_control(frame).unwrap());
        let (mut told, mut is_closed) = (None, false);
        while told.is_none() || !is_closed {
            tokio::select! {
                event = heard.next(), if told.is_none() => {
                    if let Event::Closed(lost) = event.expect("it is said why it ends") {
                        told = Some(lost);
                    }
                }
                // What nobody takes keeps the next from coming.
                next = input(&mut items) => is_closed |= matches!(next, Input::Closed(..)),
            }
        }
        let reason = match told.unwrap() {
            tombolo_transport::Lost::ByPeer { code: closed, reason } if closed == code => reason,
            other => panic!("{other}"),
        };
        assert_eq!(reason, expected);
        assert!(matches!(events.recv().await, Some(LinkEvent::Down(_, false))));
    }
}

#[tokio::test]
async fn a_connection_whose_task_panics_is_told_to_be_gone() {
    let (ours, theirs) = (endpoint(1), endpoint(2));
    let (inbox, mut items) = Inbox::new();
    let links = Arc::new(Links::new(Arc::new(Traffic::default())));
    let (mut net, mut events) = Net::new(Arc::clone(&links), inbox, None);
    net.trap = Some(13);
    let (address, us, peer) = (ours.local_addr().unwrap(), ours.node_id(), theirs.node_id());
    tokio::spawn(net.accept(ours));
    for _ in 0..2 {
        let (handle, mut heard) = theirs.connect(address, Some(us)).await.unwrap().split();
        assert!(matches!(events.recv().await, Some(LinkEvent::Up(up)) if up == peer));
        let Input::Connected { conn, .. } = input(&mut items).await else { panic!("connected comes first") };
        assert_eq!(links.count(peer), 1);
        handle.send_control(vec![255; 13]).unwrap();
        let Input::Closed(closed, reason) = input(&mut items).await else { panic!("it is closed") };
        assert!(closed == conn && reason.contains("defect") && reason.contains("the trap"), "{reason}");
        assert!(matches!(events.recv().await, Some(LinkEvent::Down(down, false)) if down == peer));
        assert_eq!(links.count(peer), 0);
        // The peer hears of it too, and may come again.
        let mut told = false;
        while let Some(event) = heard.next().await {
            told |= matches!(event, Event::Closed(_));
        }
        assert!(told);
    }
}
