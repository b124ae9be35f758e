//! Rows and what is read off them.

use super::*;

fn sample() -> EntityState {
    let mut world = World::new(2);
    world.write(0, &put(r#"{"a":1,"l":["x",{"y":2.5}],"m":{"k":null,"e":{}}}"#));
    world.sync(1, 0);
    world.write(1, &increment("/n", 3));
    world.sync(0, 1);
    world.nodes[0].clone()
}

#[test]
fn a_damaged_row_is_not_read() {
    let row = sample().encode();
    for at in 0..row.len() {
        let mut damaged = row.clone();
        damaged[at] ^= 1;
        assert_eq!(EntityState::decode(&damaged), Err(RowError::Damaged));
        assert_eq!(EntityState::decode(&row[..at]), Err(RowError::Damaged));
    }
}

#[test]
fn tidying_forgets_what_encoding_forgets() {
    let mut world = World::new(2);
    for n in 0..40 {
        world.write(n % 2, &put(&format!(r#"{{"a":{n},"l":[{}],"kept":0}}"#, n / 7)));
        world.sync((n + 1) % 2, n % 2);
    }
    let mut state = world.nodes[0].clone();
    let (row, blamed) = (state.encode(), state.blame(&[], 100));
    assert_eq!(state.lines.len(), 40);
    state.tidy();
    assert!(state.lines.len() <= 4, "{:?}", state.lines);
    assert_eq!((state.encode(), state.blame(&[], 100)), (row.clone(), blamed));
    assert_eq!(EntityState::decode(&row).unwrap().lines, state.lines);
}

fn with_hash(body: &[u8]) -> Vec<u8> {
    [body, &blake3::hash(body).as_bytes()[..16]].concat()
}

#[test]
fn unknown_versions_and_malformed_rows_are_told_apart() {
    let row = sample().encode();
    let body = &row[..row.len() - 16];
    assert_eq!(EntityState::decode(&with_hash(body)).unwrap(), sample());
    let mut newer = body.to_vec();
    newer[0] = 2;
    assert_eq!(EntityState::decode(&with_hash(&newer)), Err(RowError::Version { version: 2, kind: 0 }));
    for len in 2..body.len() {
        assert_eq!(EntityState::decode(&with_hash(&body[..len])), Err(RowError::Malformed), "{len}");
    }
    assert_eq!(EntityState::decode(&with_hash(&[body, &[0]].concat())), Err(RowError::Malformed));
}

#[test]
fn a_frozen_row_is_read_by_nobody_and_keeps_what_it_was() {
    let (state, row) = (sample(), sample().encode());
    let frozen = EntityState::freeze(Some(&row));
    assert_eq!(EntityState::decode(&frozen), Err(RowError::Frozen));
    assert_eq!((EntityState::check(&frozen), EntityState::thaw(&frozen)), (Err(RowError::Frozen), Some(&row[..])));
    assert_eq!(EntityState::thaw(&EntityState::freeze(None)), Some(&[][..]));
    assert_eq!(EntityState::thaw(&row), None);
    let mut damaged = frozen;
    damaged[20] ^= 1;
    assert_eq!((EntityState::decode(&damaged), EntityState::thaw(&damaged)), (Err(RowError::Damaged), None));
    let mut damaged = row;
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(EntityState::heads_named(&damaged).as_deref(), Some(state.heads()));
    damaged[10] ^= 1;
    assert_ne!(EntityState::heads_named(&damaged).as_deref(), Some(state.heads()));
    assert_eq!(EntityState::heads_named(&[1, 0, 200]), None);
}

proptest! {
    #[test]
    fn any_bytes_with_a_good_hash_do_not_panic(at in any::<Index>(), byte in any::<u8>()) {
        let row = sample().encode();
        let mut body = row[..row.len() - 16].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(state) = EntityState::decode(&with_hash(&body)) {
            let _ = (state.view_bytes(), state.conflicts(), state.contribution("c", "e"), state.encode());
        }
    }
}

#[test]
fn provenance_goes_with_the_last_live_operation() {
    let mut world = World::new(1);
    for round in 0..50 {
        world.write(0, &put(&format!(r#"{{"a":{round},"b":{round}}}"#)));
    }
    let first = world.nodes[0].encode().len();
    for round in 50..100 {
        world.write(0, &put(&format!(r#"{{"a":{round},"b":{round}}}"#)));
    }
    // Counters take a byte more; history takes nothing.
    assert!(world.nodes[0].encode().len() < first + 12);
    let read = EntityState::decode(&world.nodes[0].encode()).unwrap();
    assert_eq!(read.lines.len(), 1);
    assert_eq!(read.journal(), 1);
}

#[test]
fn digests_are_fixed() {
    let state = sample();
    assert_eq!(state.heads_hash(), Tagged::new(tag::HEADS).bytes(state.heads()[0].as_bytes()).finish16());
    assert_eq!(EntityState::new().canonical_part(), [0, 0, 0, 0]);
    assert_ne!(state.contribution("c", "e"), state.contribution("ce", ""));
    assert_ne!(state.contribution("c", "e"), EntityState::new().contribution("c", "e"));
}
