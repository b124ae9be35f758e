//! Valid chunks with a few bytes changed and everything around them put right again.

use automerge::ScalarValue;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use bytes::Cursor;
use differential::{feed, own};

#[derive(Debug, Clone)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Double(Index, Index),
    Cut(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte =
        || prop_oneof![1 => any::<u8>(), 1 => prop::sample::select(vec![0_u8, 1, 2, 7, 8, 0x7f, 0x7e, 0x80, 0xff])];
    prop_oneof![
        4 => (any::<Index>(), 0..8_u32).prop_map(|(at, bit)| Edit::Flip(at, 1 << bit)),
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        2 => any::<Index>().prop_map(Edit::Delete),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, len)| Edit::Double(from, len)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match edit {
        Edit::Flip(at, bit) => bytes[at.index(len)] ^= bit,
        Edit::Set(at, byte) => bytes[at.index(len)] = *byte,
        Edit::Insert(at, byte) => bytes.insert(at.index(len), *byte),
        Edit::Delete(at) => {
            bytes.remove(at.index(len));
        }
        Edit::Double(from, take) => {
            let from = from.index(len);
            let part = bytes[from..len.min(from + 1 + take.index(8))].to_vec();
            bytes.splice(from..from, part);
        }
        Edit::Cut(at) => bytes.truncate(at.index(len)),
    }
}

/// Edits near the end change the columns; those in the header are mostly refused at once.
fn contents(own: &Own) -> Vec<u8> {
    let bytes = reference::encode(own, 0);
    let (_, input) = chunk::open(&bytes).unwrap();
    bytes[bytes.len() - input.len()..].to_vec()
}

/// Whether Automerge may be asked: it loops as often as the numbers in two columns say.
fn is_tame(contents: &[u8]) -> bool {
    match Header::read(Cursor::new(contents), feed(0)) {
        Ok(Header { columns, .. }) => {
            [columns::ACTION, columns::PRED_COUNT].into_iter().all(|column| small_numbers(columns.get(column)))
        }
        Err(_) => small_numbers(contents),
    }
}

/// No number of more than two bytes, read from any place.
fn small_numbers(bytes: &[u8]) -> bool {
    bytes.windows(2).all(|pair| pair.iter().any(|byte| *byte < 0x80))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    /// Never a panic; what is accepted, Automerge reads alike and writes again to the same bytes; what it accepts and
    /// writes to the same bytes is accepted.
    #[test]
    fn mutated_chunks_get_the_answer_of_automerge(
        own in own(), edits in prop::collection::vec(edit(), 1..4), tail in any::<bool>(),
    ) {
        let mut contents = contents(&own);
        let kept = if tail { contents.len() / 2 } else { 0 };
        let mut end = contents.split_off(kept);
        edits.iter().for_each(|edit| apply(&mut end, edit));
        contents.append(&mut end);
        let (_, bytes) = chunk::close(&contents);
        let ours = Change::parse(&bytes, feed(0));
        if let Ok(change) = &ours {
            prop_assert_eq!(change.bytes(), bytes.as_slice());
            let time = automerge::Change::try_from(bytes.as_slice()).unwrap();
            let again = Own {
                actor: change.actor,
                seq: change.seq,
                start_op: change.start_op,
                time: time.timestamp(),
                deps: change.deps.clone(),
                ops: change.ops.clone(),
            };
            if time.message().is_none() {
                let again = Change::build(again).unwrap();
                prop_assert_eq!(again.bytes(), bytes.as_slice());
            }
        }
        if ours.is_ok() || is_tame(&contents) {
            let theirs = oracle::parse(&bytes, feed(0));
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
            if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
                prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
            }
            let foreign = Header::read(Cursor::new(&contents), feed(0)).is_ok_and(|header| header.columns.foreign);
            if ours == Err(ChangeError::Unknown) && !foreign {
                prop_assert_eq!(theirs, Err(ChangeError::Unknown));
            }
        }
    }

    #[test]
    fn any_bytes_get_an_answer(contents in prop::collection::vec(any::<u8>(), 0..300), frame in any::<bool>()) {
        let bytes = if frame { chunk::close(&contents).1 } else { contents };
        prop_assert!(Change::parse(&bytes, feed(0)).is_err());
    }
}

/// Values survive that only bits tell apart.
#[test]
fn floats_keep_their_bits() {
    for bits in [f64::NAN.to_bits(), 0x7ff0_0000_0000_0001, 0xfff8_dead_beef_0001, (-0.0_f64).to_bits()] {
        let float = crate::entity::doc::Value::Float(f64::from_bits(bits));
        let change = Change::build(made::puts(1, |_| float.clone())).unwrap();
        let decoded = automerge::Change::try_from(change.bytes()).unwrap().decode();
        let parsed = Change::parse(change.bytes(), feed(0)).unwrap();
        let put = &parsed.ops[0].action;
        assert!(
            matches!(put, crate::entity::doc::Action::Put(crate::entity::doc::Value::Float(f)) if f.to_bits() == bits)
        );
        let theirs = decoded.operations[0].primitive_value();
        assert!(matches!(theirs, Some(ScalarValue::F64(f)) if f.to_bits() == bits));
    }
}
