use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn target(node: u8) -> Target {
    Target { node: Some(NodeId::from_bytes([node; 32])), addresses: vec!["127.0.0.1:7600".parse().expect("one")] }
}

fn due(dialler: &mut Dialler, now: Duration) -> Vec<TargetId> {
    dialler.poll(now).into_iter().map(|dial| dial.id).collect()
}

#[test]
fn who_is_known_by_address_alone_is_due_at_once_in_a_hurry() {
    let mut dialler = Dialler::new();
    let address = Address::from(std::net::SocketAddr::from(([192, 0, 2, 1], 1)));
    let named = Target { node: Some(NodeId::from_bytes([1; 32])), addresses: vec![address.clone()] };
    for target in [named, Target { node: None, addresses: vec![address] }] {
        let id = dialler.add(target, Duration::ZERO);
        assert_eq!(dialler.poll(Duration::ZERO).len(), 1);
        // It stood long, and there was nothing to say: that is no reason to come again soon.
        dialler.connected(id, Duration::ZERO);
        for _ in 0..8 {
            dialler.closed(id, LASTING * 2, false, u64::MAX);
            dialler.connected(id, Duration::ZERO);
        }
        dialler.closed(id, LASTING * 2, false, u64::MAX);
    }
    let now = LASTING * 3;
    assert!(dialler.next_wake().is_some_and(|at| at > now));
    dialler.hurry(now);
    let due = dialler.poll(now);
    assert!(matches!(due.as_slice(), [DialNow { target: Target { node: None, .. }, .. }]), "{due:?}");
}

#[test]
fn a_target_is_dialled_once_at_a_time() {
    let mut dialler = Dialler::new();
    let id = dialler.add(target(1), SECOND);
    assert_eq!(dialler.next_wake(), Some(SECOND));
    assert_eq!(due(&mut dialler, Duration::ZERO), []);
    assert_eq!(due(&mut dialler, SECOND), [id]);
    assert_eq!(due(&mut dialler, 10 * SECOND), []);
    assert_eq!(dialler.next_wake(), None);

    dialler.failed(id, 10 * SECOND, u64::MAX / 2);
    let wake = dialler.next_wake().expect("again");
    assert!(wake > 10 * SECOND && wake <= 10 * SECOND + BACKOFF_BASE / 2, "{wake:?}");
    assert_eq!(due(&mut dialler, wake), [id]);
    dialler.connected(id, wake);
    assert_eq!(dialler.next_wake(), None);
    dialler.closed(id, wake + LASTING, true, u64::MAX);
    assert!(dialler.next_wake().expect("again") <= wake + LASTING + BACKOFF_BASE);
}

#[test]
fn the_number_under_way_is_bounded_and_the_longest_due_go_first() {
    let mut dialler = Dialler::new();
    let late: Vec<TargetId> = (0..DIALS_MAX as u8).map(|node| dialler.add(target(node), SECOND)).collect();
    let early = dialler.add(target(200), Duration::ZERO);
    let dials = due(&mut dialler, 2 * SECOND);
    assert_eq!(dials.len(), DIALS_MAX);
    assert_eq!(dials.first(), Some(&early));
    assert_eq!(dialler.next_wake(), None, "no room");
    dialler.connected(early, 2 * SECOND);
    assert_eq!(due(&mut dialler, 2 * SECOND).as_slice(), &late[DIALS_MAX - 1..]);
}

#[test]
fn an_accepted_connection_stops_the_dialling_and_a_late_failure_is_ignored() {
    let mut dialler = Dialler::new();
    let id = dialler.add(target(1), Duration::ZERO);
    assert_eq!(dialler.find(NodeId::from_bytes([1; 32])), Some(id));
    assert_eq!(due(&mut dialler, Duration::ZERO), [id]);
    dialler.connected(id, Duration::ZERO);
    dialler.failed(id, SECOND, 1);
    assert_eq!(dialler.next_wake(), None);
}

#[test]
fn new_addresses_make_a_waiting_target_due() {
    let mut dialler = Dialler::new();
    let id = dialler.add(Target { addresses: Vec::new(), ..target(1) }, Duration::ZERO);
    assert_eq!(dialler.next_wake(), None, "nowhere to dial");
    dialler.set_addresses(id, target(1).addresses, SECOND);
    assert_eq!(due(&mut dialler, SECOND), [id]);
    for _ in 0..20 {
        dialler.failed(id, SECOND, u64::MAX);
        let _ = dialler.poll(100 * SECOND);
    }
    dialler.failed(id, SECOND, u64::MAX);
    dialler.set_addresses(id, target(1).addresses, 2 * SECOND);
    assert!(dialler.next_wake().expect("waiting") > 50 * SECOND, "the same addresses are no news");
    dialler.set_addresses(id, vec!["site.example:1".parse().expect("one")], 2 * SECOND);
    assert_eq!(dialler.next_wake(), Some(2 * SECOND));
}

#[test]
fn what_is_reported_of_a_removed_target_is_ignored() {
    let mut dialler = Dialler::new();
    let id = dialler.add(target(1), Duration::ZERO);
    let _ = dialler.poll(Duration::ZERO);
    assert_eq!(dialler.remove(id), Some(target(1)));
    dialler.failed(id, SECOND, 0);
    dialler.connected(id, SECOND);
    assert_eq!(dialler.next_wake(), None);
}
