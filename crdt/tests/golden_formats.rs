//! What is signed or sent is final: these bytes may never change. `GOLDEN_WRITE=1` writes files that do not exist yet.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use tombolo_crdt::entry::{Body, Dep, ENTRY_VERSION, EntityChange, Entry, Ext, Trace};
use tombolo_crdt::feed::{FeedKind, Opening, Position, Range, Signature, chain, seal_message};
use tombolo_crdt::frontier::Frontier;
use tombolo_crdt::rules::{Admit, Contact, Found, Grant, Invite, Record, Role, admit_message, rules_entry};
use tombolo_crdt::{ChainHash, FeedId, Hlc, NodeId, SpaceId};

fn check(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let hex = HEXLOWER.encode(bytes);
    if !path.exists() && std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, format!("{hex}\n")).expect("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(hex, golden.trim(), "{name}");
}

fn key(secret: u8) -> SigningKey {
    SigningKey::from_bytes(&[secret; 32])
}

fn node(secret: u8) -> NodeId {
    NodeId::from_bytes(key(secret).verifying_key().to_bytes())
}

fn contact() -> Contact {
    Contact { name: "berlin".into(), addrs: vec!["198.51.100.7:7700".into()] }
}

fn found() -> Found {
    Found { founder: node(1), name: "shop".into(), nonce: [7; 16] }
}

fn opening(kind: FeedKind) -> Opening {
    let closes = vec![Position { feed: FeedId::from_bytes([3; 16]), seq: 300, chain: ChainHash::from_bytes([4; 32]) }];
    Opening::new(node(2), found().space(), 0x0123_4567_89ab_cdef, kind, closes)
}

fn data_entry() -> Entry {
    Entry {
        version: ENTRY_VERSION,
        seq: 1,
        hlc: Hlc::from_raw(1_800_000_000_000 << 16 | 5),
        rules: Some(vec![ChainHash::from_bytes([8; 32])]),
        deps: vec![Dep { feed: FeedId::from_bytes([9; 16]), seq: 12, chain: ChainHash::from_bytes([10; 32]) }],
        trace: Some(Trace { trace: [11; 16], span: [12; 8], flags: 1 }),
        idempotency: Some([13; 16]),
        body: Body::Data(vec![EntityChange {
            collection: "orders".into(),
            id: "o-17".into(),
            origin: 0,
            change: vec![0x85, 0x6f, 0x4a, 0x83, 1, 2, 3],
        }]),
        ext: vec![Ext { id: 700, must_understand: false, bytes: vec![14, 15] }],
    }
}

#[test]
fn ids_and_records() {
    let space = found().space();
    check("found", &found().encode());
    check("space-id", space.as_bytes());
    check("opening-data", &opening(FeedKind::Data).encode());
    check("feed-id-data", opening(FeedKind::Data).feed().as_bytes());
    check("feed-id-rules", opening(FeedKind::Rules).feed().as_bytes());
    check("chain-0", opening(FeedKind::Data).chain().as_bytes());
    check("admit-message", &admit_message(space, node(5)));
    let invite = Invite { key: key(6).verifying_key().to_bytes(), role: Role::Writer, expires: 1_800_000_000_000 };
    let admit = Admit {
        invite: invite.key,
        node: node(5),
        signature: Signature::sign(&key(6), &admit_message(space, node(5))),
        contact: contact(),
    };
    let grant = Grant { node: node(2), role: Role::Admin, contact: contact() };
    let records = [Record::Found(found()), Record::Invite(invite), Record::Admit(admit), Record::Grant(grant)];
    for record in &records {
        let raw = record.to_raw();
        check(&format!("record-{}", raw.kind), &raw.body);
        assert_eq!(Record::from_raw(&raw).as_ref(), Ok(record));
    }
    let entry = rules_entry(1, Hlc::from_millis(1_800_000_000_000), vec![ChainHash::from_bytes([8; 32])], &records);
    check("entry-rules", &entry.encode());
}

#[test]
fn entries_chains_and_seals() {
    let entry = data_entry();
    let bytes = entry.encode();
    check("entry-data", &bytes);
    assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry));
    let opening = opening(FeedKind::Data);
    let end = chain(opening.feed(), 1, opening.chain(), &bytes);
    check("chain-1", end.as_bytes());
    check("seal-message", &seal_message(opening.feed(), 1, end));
    let seal = Signature::sign(&key(2), &seal_message(opening.feed(), 1, end));
    check("seal", &seal.to_bytes());
    let range = Range {
        opening: opening.encode(),
        from: 1,
        previous: opening.chain(),
        entries: vec![serde_bytes::ByteBuf::from(bytes)],
        seal,
    };
    let verified = range.clone().verify().expect("verifies");
    assert_eq!(verified.entries().last().map(|entry| entry.chain), Some(end));
    let frontier: Frontier = [Position { feed: opening.feed(), seq: 1, chain: end }].into_iter().collect();
    check("frontier-digest", frontier.digest().as_bytes());
    // Any flipped bit anywhere is noticed.
    for at in 0..range.entries[0].len() {
        let mut broken = range.clone();
        broken.entries[0][at] ^= 1;
        assert!(broken.verify().is_err(), "byte {at}");
    }
}

#[test]
fn a_range_is_refused_for_the_right_reason() {
    use tombolo_crdt::feed::RangeError;
    let opening = opening(FeedKind::Data);
    let sealed = |entry: &Entry, from: u64| {
        let bytes = entry.encode();
        let end = chain(opening.feed(), from, opening.chain(), &bytes);
        let seal = Signature::sign(&key(2), &seal_message(opening.feed(), from, end));
        Range {
            opening: opening.encode(),
            from,
            previous: opening.chain(),
            entries: vec![serde_bytes::ByteBuf::from(bytes)],
            seal,
        }
    };
    let good = sealed(&data_entry(), 1);
    assert!(good.clone().verify().is_ok());
    let stranger = Range { seal: Signature::sign(&key(3), b"x"), ..good.clone() };
    assert_eq!(stranger.verify().err(), Some(RangeError::Seal));
    let start = Range { previous: ChainHash::from_bytes([0; 32]), ..good.clone() };
    assert_eq!(start.verify().err(), Some(RangeError::Start));
    let empty = Range { entries: Vec::new(), ..good.clone() };
    assert!(matches!(empty.verify().err(), Some(RangeError::Stride { entries: 0, .. })));
    let moved = sealed(&data_entry(), 2);
    assert!(matches!(moved.verify().err(), Some(RangeError::Entry { seq: 2, .. })), "an entry says where it stands");
    let later = Entry { version: 2, ..data_entry() };
    let content = sealed(&later, 1).verify().expect("chained and sealed").entries()[0].content.clone();
    assert_eq!(content, tombolo_crdt::entry::Content::Later, "a later version is held, not refused");
    let ext = Ext { id: 1, must_understand: true, bytes: Vec::new() };
    let must = Entry { ext: vec![ext], ..data_entry() };
    let content = sealed(&must, 1).verify().expect("chained and sealed").entries()[0].content.clone();
    assert_eq!(content, tombolo_crdt::entry::Content::Later);
    assert_eq!(SpaceId::LEN, 32);
}

#[test]
fn an_unsealed_run_over_a_stride_is_refused() {
    use tombolo_crdt::feed::{RangeError, STRIDE_ENTRIES_MAX};
    let range = Range {
        opening: opening(FeedKind::Data).encode(),
        from: 1,
        previous: opening(FeedKind::Data).chain(),
        entries: vec![serde_bytes::ByteBuf::from(vec![1]); STRIDE_ENTRIES_MAX + 1],
        seal: Signature::sign(&key(2), b"x"),
    };
    assert!(matches!(range.verify().err(), Some(RangeError::Stride { .. })));
}

/// An entity with one of everything that JSON and the typed operations can make.
#[test]
fn changes_rows_and_their_canonical_part() {
    use tombolo_crdt::entity::{EntityState, Provenance, TypedOp, Write, Writer};
    use tombolo_crdt::json::Json;
    let text = br#"{"a":null,"b":[true,1,-2.5,{"c":"x"}],"big":18446744073709551615,"d":{"e":{}},"$deleted":"mine"}"#;
    let value = Json::parse(text).expect("JSON");
    let feed = FeedId::from_bytes([9; 16]);
    let empty = EntityState::new();
    let mut writer = Writer::new(&empty, feed, Hlc::from_millis(1_800_000_000_000));
    writer.write(&Write::Put { value, base: None }).expect("written");
    let increment = TypedOp::Increment { path: "/n".to_owned(), by: -3 };
    writer.write(&Write::Ops(vec![increment])).expect("written");
    let provenance = Provenance { entry_seq: 1, hlc: Hlc::from_millis(1_800_000_000_000), rules_seq: 1 };
    let (change, state) = writer.finish(&provenance, 7).expect("fits").expect("something changed");
    check("change", change.bytes());
    check("change-hash", change.hash().as_bytes());
    check("row", &state.encode());
    check("row-contribution", &state.contribution("orders", "o-17"));
    check("row-revision", state.revision().as_bytes());
    check("view", &state.view_bytes());
}
