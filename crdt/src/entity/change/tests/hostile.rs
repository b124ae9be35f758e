//! What nobody honest writes, and what it is called. Nothing here may take long or much: each is a few bytes.

use std::collections::BTreeSet;

use super::*;
use bytes::{Cursor, put_uleb};
use differential::feed;
use forge::{ACTION, Forged, INSERT, KEY_TEXT, PRED_COUNT, VALUE_META, null_run, run};
use made::{nulls, puts};

const HUGE: i64 = 1 << 62;

/// What this version writes is what every version reads.
#[test]
fn one_chunk_byte_by_byte() {
    let hex = [
        "856f4a8306da30ea0177",
        // One dependency, the actor, numbers 2 and 2²⁴, the time, no message, one other actor.
        "010303030303030303030303030303030303030303030303030303030303030303",
        "1001010101010101010101010101010101",
        "02",
        "80808008",
        "80a4a7da06",
        "00",
        "011002020202020202020202020202020202",
        // Eight columns: specification and length, then their content.
        "08",
        "15083401420256025704700271027302",
        "7f066669656c6430",
        "01",
        "7f01",
        "7f46",
        "74657874",
        "7f01",
        "7f01",
        "7f01",
    ]
    .concat();
    let bytes = Change::build(puts(1, |_| crate::entity::doc::Value::Str("text".into()))).unwrap().bytes;
    assert_eq!(data_encoding::HEXLOWER.encode(&bytes), hex);
}

#[test]
fn the_forged_chunk_is_good_before_anything_is_wrong_with_it() {
    for count in [1, 2, 1000, CHANGE_OPERATIONS_MAX as i64] {
        let change = Forged::new(count).fed().parse().unwrap();
        assert_eq!(change.ops.len() as i64, count);
        assert!(oracle::parse(change.bytes(), feed(0)).is_ok());
    }
}

/// A6, A7: a few bytes that stand for 2⁶² operations, or for 10⁸, or for more than there are bytes.
#[test]
fn a6_a7_huge_runs_of_operations_are_too_large() {
    for count in [500, 65_536, 100_000_000, HUGE, i64::MAX] {
        assert_eq!(Forged::new(count).parse(), Err(ChangeError::TooLarge), "{count}");
    }
    let more = CHANGE_OPERATIONS_MAX as i64 + 1;
    assert_eq!(Forged::new(more).fed().parse(), Err(ChangeError::TooLarge));
}

/// A byte for each operation, each predecessor and each sixteen bytes of keys; not one less.
#[test]
fn what_a_change_stands_for_takes_as_many_bytes() {
    let at = |forged: &Forged, bytes: usize| {
        let padding = bytes.checked_sub(forged.bytes().len()).unwrap();
        // The lengths of message and chunk take two more bytes from 128 on.
        let padded = (padding.saturating_sub(4)..=padding).map(|padding| Forged { padding, ..forged.clone() });
        let exact = padded.into_iter().find(|padded| padded.bytes().len() == bytes).unwrap();
        exact.parse().map(|change| change.operations())
    };
    let ops = Forged::new(5_000);
    assert_eq!((at(&ops, 4_999), at(&ops, 5_000)), (Err(ChangeError::TooLarge), Ok(5_000)));
    let preds = || {
        let mut counts = run(-1, &[]);
        put_uleb(&mut counts, 5_000);
        let counters = run(5_000, &[1]);
        Forged::new(1).column(0x71, &run(5_000, &[0])).column(0x73, &counters).column(PRED_COUNT, &counts)
    };
    assert_eq!((at(&preds(), 4_999), at(&preds(), 5_000)), (Err(ChangeError::TooLarge), Ok(1)));
    let key = [run(1_600, &[100]), vec![b'k'; 100]].concat();
    let keys = Forged::new(1_600).column(KEY_TEXT, &key);
    assert_eq!((at(&keys, 9_999), at(&keys, 10_000)), (Err(ChangeError::TooLarge), Ok(1_600)));
}

/// The entry has limits of its own, of operations and of predecessors, in any order of its changes.
#[test]
fn an_entry_stands_for_a_limited_number_of_operations() {
    let most = Forged::new(CHANGE_OPERATIONS_MAX as i64).fed().parse().unwrap();
    let one = Forged::new(1).parse().unwrap();
    assert_eq!((most.operations(), most.predecessors()), (CHANGE_OPERATIONS_MAX, 0));
    let mut budget = EntryBudget::new();
    assert_eq!(ENTRY_OPERATIONS_MAX, 2 * CHANGE_OPERATIONS_MAX);
    assert!(budget.take(&most) && budget.take(&most) && !budget.take(&one));
    let mut budget = EntryBudget::default();
    assert!(budget.take(&one) && budget.take(&most) && !budget.take(&most), "what does not fit is not taken in part");
    assert!(budget.take(&one));
}

/// A run in one column that the others do not have: never longer than they are.
#[test]
fn huge_runs_in_any_column_are_refused() {
    for spec in [0x01, 0x02, 0x11, 0x13, KEY_TEXT, INSERT, ACTION, VALUE_META, PRED_COUNT, 0x71, 0x73] {
        let entry: &[u8] = if spec == KEY_TEXT { b"\x01k" } else { &[1] };
        for count in [2, HUGE, i64::MIN, i64::MAX] {
            let refused = Forged::new(1).column(spec, &run(count, entry)).parse();
            assert!(matches!(refused, Err(error) if error != ChangeError::Unknown), "{spec:x} {count} {refused:?}");
        }
        assert!(Forged::new(1).column(spec, &null_run(1)).parse().is_err(), "{spec:x}");
    }
}

/// A10: a run of more nulls than a signed number counts.
#[test]
fn a10_null_runs_of_any_length_are_refused() {
    for count in [2, HUGE.unsigned_abs(), i64::MAX.unsigned_abs() + 1, u64::MAX] {
        for spec in [0x01, 0x02, 0x11, 0x13, 0x71, 0x73] {
            let refused = Forged::new(1).column(spec, &null_run(count)).parse();
            assert_eq!(refused, Err(ChangeError::Undecodable), "{spec:x} {count}");
        }
        assert!(Forged::new(1).column(ACTION, &null_run(count)).parse().is_err());
    }
}

#[test]
fn predecessors_and_keys_from_runs_are_bounded() {
    let mut count = run(-1, &[]);
    put_uleb(&mut count, 1 << 40);
    let preds = Forged::new(1).column(0x71, &run(HUGE, &[0])).column(0x73, &run(HUGE, &[1]));
    assert_eq!(preds.column(PRED_COUNT, &count).parse(), Err(ChangeError::TooLarge));
    let key = [run(60_000, &[100]), vec![b'k'; 100]].concat();
    assert_eq!(Forged::new(60_000).fed().column(KEY_TEXT, &key).parse(), Err(ChangeError::TooLarge));
    let meta = [run(-1, &[]), vec![0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat();
    assert_eq!(Forged::new(1).column(VALUE_META, &meta).parse(), Err(ChangeError::Undecodable));
}

/// A4: an operation names an actor that is not listed; A5: numbers over 32 bits.
#[test]
fn a4_a5_numbers_of_actors_and_counters_are_checked() {
    let object = |actor: u64, counter: u64| {
        let entry = |number| {
            let mut entry = vec![0x7f];
            put_uleb(&mut entry, number);
            entry
        };
        Forged::new(1).column(0x01, &entry(actor)).column(0x02, &entry(counter)).parse()
    };
    assert!(object(0, 1).is_ok());
    for actor in [1, 2, 1 << 32, u64::MAX] {
        assert_eq!(object(actor, 1), Err(ChangeError::Undecodable), "{actor}");
    }
    for counter in [0, 1 << 31, 1 << 32, u64::MAX] {
        assert_eq!(object(0, counter), Err(ChangeError::Range), "{counter}");
    }
    let delta = |number: i64| run(-1, &run(number, &[]));
    for counter in [-1, 1 << 31, 1 << 32, i64::MIN, i64::MAX] {
        let key = Forged::new(1).column(KEY_TEXT, &[]).column(0x11, &run(-1, &[0])).column(0x13, &delta(counter));
        assert_eq!(key.parse(), Err(ChangeError::Range), "{counter}");
        let pred = Forged::new(1).column(PRED_COUNT, &run(-1, &[1])).column(0x71, &run(-1, &[0]));
        assert_eq!(pred.column(0x73, &delta(counter)).parse(), Err(ChangeError::Range), "{counter}");
    }
}

/// A8: compressed chunks and columns are never inflated; documents and bundles are no changes.
#[test]
fn a8_other_chunks_and_deflated_columns_are_refused() {
    let good = Forged::new(1).bytes();
    for kind in [0, 2, 3, 4, 255] {
        let mut other = good.clone();
        other[8] = kind;
        assert_eq!(Change::parse(&other, feed(0)), Err(ChangeError::Chunk), "{kind}");
    }
    let deflated = Forged::new(1).column(ACTION, &[]).column(ACTION | 8, &run(-1, &[1]));
    assert_eq!(deflated.parse(), Err(ChangeError::Undecodable));
}

/// A1, A2: numbers no change has (a gap in them is the gate's to see); A9: a counter that leaves no room.
#[test]
fn a1_a2_a9_sequence_numbers_and_counters_are_in_range() {
    let numbered = |seq, start_op| Forged { seq, start_op, ..Forged::new(1) }.parse();
    let last = NUMBER_END - 1;
    assert!(numbered(last, last).is_ok());
    for (seq, start_op) in
        [(0, 1), (1, 0), (1, NUMBER_END), (NUMBER_END, 1), (1, 0xffff_ffff), (1, u64::MAX), (u64::MAX, 1)]
    {
        assert_eq!(numbered(seq, start_op), Err(ChangeError::Range), "{seq} {start_op}");
    }
    let two = Forged { start_op: last, ..Forged::new(2) };
    assert_eq!(two.parse(), Err(ChangeError::Range));
}

/// A3: actors nobody knows cannot hide in the list; A11: nor an author, or anything else, behind the columns.
#[test]
fn a3_a11_nothing_is_listed_or_appended_in_vain() {
    let unused = Forged { others: vec![vec![9; 16]], ..Forged::new(1) };
    assert_eq!(unused.parse(), Err(ChangeError::NotCanonical));
    let author = Forged { extra: vec![1, 3, b'a', b'n', b'n'], seq: 2, ..Forged::new(1) };
    assert_eq!(author.parse(), Err(ChangeError::NotCanonical));
    let own = Forged { others: vec![feed(0).as_bytes().to_vec()], ..Forged::new(1) };
    assert_eq!(own.parse(), Err(ChangeError::NotCanonical));
    for others in [vec![vec![9; 16], vec![8; 16]], vec![vec![9; 16]; 2]] {
        assert_eq!(Forged { others, ..Forged::new(1) }.parse(), Err(ChangeError::NotCanonical));
    }
    for length in [0, 15, 17, 32] {
        assert_eq!(Forged { others: vec![vec![9; length]], ..Forged::new(1) }.parse(), Err(ChangeError::Actor));
        assert_eq!(Forged { actor: vec![1; length], ..Forged::new(1) }.parse(), Err(ChangeError::Actor));
    }
    assert_eq!(Forged { actor: vec![2; 16], ..Forged::new(1) }.parse(), Err(ChangeError::Actor));
}

/// A14: any number of dependencies costs its bytes and no more. That they are unknown is the engine's to see.
#[test]
fn a14_dependencies_are_ascending_and_as_many_as_said() {
    let with =
        |deps: &[[u8; 32]]| Forged { deps: deps.to_vec(), ..Forged::new(1) }.parse().map(|change| change.deps.len());
    let hash = |n: u32| std::array::from_fn(|at| n.to_be_bytes().get(at).copied().unwrap_or(0));
    let many: Vec<[u8; 32]> = (0..30_000).map(hash).collect();
    assert_eq!(with(&many), Ok(30_000));
    assert_eq!(with(&[[1; 32], [1; 32]]), Err(ChangeError::Range));
    assert_eq!(with(&[[2; 32], [1; 32]]), Err(ChangeError::NotCanonical));
    for count in [1, 2, 1 << 30, u64::MAX] {
        let mut contents = Vec::new();
        put_uleb(&mut contents, count);
        contents.extend_from_slice(&Forged::new(1).contents()[1..30]);
        assert_eq!(Change::parse(&chunk::close(&contents).1, feed(0)), Err(ChangeError::Undecodable), "{count}");
    }
}

/// A15: two changes of one number are two changes; one change has one chunk.
#[test]
fn a15_equivocation_shows_in_the_hash() {
    let (one, other) = (Forged::new(1).parse().unwrap(), Forged::new(2).parse().unwrap());
    assert_eq!((one.actor(), one.seq()), (other.actor(), other.seq()));
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn tables_of_columns_are_canonical() {
    let mut unsorted = Forged::new(1);
    unsorted.columns.swap(0, 1);
    assert_eq!(unsorted.parse(), Err(ChangeError::NotCanonical));
    let mut twice = Forged::new(1);
    twice.columns.insert(0, twice.columns[0].clone());
    assert_eq!(twice.parse(), Err(ChangeError::NotCanonical));
    let mut empty = Forged::new(1);
    empty.columns.insert(0, (0x01, Vec::new()));
    assert_eq!(empty.parse(), Err(ChangeError::NotCanonical));
    for unknown in [0x00, 0x03, 0x60, 0x94, 0xa5, 0xffff_fff0] {
        let refused = Forged::new(1).column(unknown, &[1]).parse();
        assert_eq!(refused, Err(ChangeError::NotCanonical), "{unknown:x}");
    }
    assert_eq!(Forged::new(1).column(1 << 32, &[1]).parse(), Err(ChangeError::Undecodable));
    let none = Forged { columns: Vec::new(), ..Forged::new(1) };
    assert_eq!(none.parse().unwrap().ops.len(), 0);
    for missing in [KEY_TEXT, INSERT, VALUE_META, PRED_COUNT, ACTION] {
        assert_eq!(Forged::new(1).column(missing, &[]).parse(), Err(ChangeError::Undecodable), "{missing:x}");
    }
}

#[test]
fn actions_and_values_that_do_not_fit_are_refused_and_unknown_actions_are_held() {
    let action = |action: u8, meta: u8, raw: &[u8]| {
        let raw_column = Forged::new(1).column(0x57, raw);
        raw_column.column(ACTION, &run(-1, &[action])).column(VALUE_META, &run(-1, &[meta])).parse().map(|_| ())
    };
    for known in [0, 2, 3, 4, 6] {
        assert_eq!(action(known, 0, &[]), Ok(()), "{known}");
        assert_eq!(action(known, 1, &[]), Err(ChangeError::NotCanonical), "{known}");
    }
    for unknown in [7, 8, 100] {
        assert_eq!(action(unknown, 0, &[]), Err(ChangeError::Unknown), "{unknown}");
    }
    assert_eq!(action(5, 0x14, &[3]), Ok(()));
    assert_eq!(action(5, 0x13, &[3]), Err(ChangeError::NotCanonical));
    assert_eq!(action(5, 0, &[]), Err(ChangeError::Undecodable));
    for (meta, raw, error) in [
        (0x10, [0].as_slice(), ChangeError::NotCanonical),
        (0x23, &[0x80, 0], ChangeError::NotCanonical),
        (0x24, &[0xff, 0x7f], ChangeError::NotCanonical),
        (0x23, &[1, 1], ChangeError::NotCanonical),
        (0x13, &[0x80], ChangeError::Undecodable),
        (0x45, &[0; 4], ChangeError::Undecodable),
        (0x16, &[0xff], ChangeError::Undecodable),
        (0x17, &[1, 2], ChangeError::NotCanonical),
        (0x27, &[1], ChangeError::Undecodable),
    ] {
        assert_eq!(action(1, meta, raw), Err(error), "{meta:x} {raw:?}");
    }
    assert!(action(1, 0x2f, &[1, 2]).is_ok());
}

#[test]
fn runs_have_one_form() {
    let metas = |column: &[u8]| Forged::new(4).column(VALUE_META, column).parse().map(|_| ());
    assert_eq!(metas(&[4, 0]), Ok(()));
    assert_eq!(metas(&[0x7c, 0, 1, 0, 1]), Ok(()));
    assert_eq!(metas(&[2, 0, 2, 1]), Ok(()));
    for column in [
        [2, 0, 2, 0].as_slice(),
        &[0x7f, 0, 3, 0],
        &[3, 0, 0x7f, 0],
        &[1, 0, 3, 1],
        &[0x7e, 0, 1, 0x7e, 0, 1],
        &[0x7c, 0, 0, 1, 2],
        &[0x84, 0, 0],
        &[4, 0x80, 0],
    ] {
        assert_eq!(metas(column), Err(ChangeError::NotCanonical), "{column:?}");
    }
    let inserts = |column: &[u8]| Forged::new(4).column(INSERT, column).parse().map(|_| ());
    assert_eq!(inserts(&[0, 4]), Err(ChangeError::Range), "keys are not inserted");
    for column in [[2, 0, 2].as_slice(), &[0, 0, 4], &[0x84, 0]] {
        assert_eq!(inserts(column), Err(ChangeError::NotCanonical), "{column:?}");
    }
}

/// Cut anywhere, in the frame or inside it, a chunk is none; so it is with one byte more.
#[test]
fn what_is_cut_off_is_refused() {
    let good = Forged { deps: vec![[7; 32]], ..Forged::new(3) };
    let (bytes, contents) = (good.bytes(), good.contents());
    for end in 0..bytes.len() {
        assert_eq!(Change::parse(&bytes[..end], feed(0)), Err(ChangeError::Chunk), "{end}");
    }
    for end in 0..contents.len() {
        let refused = Change::parse(&chunk::close(&contents[..end]).1, feed(0));
        assert!(matches!(refused, Err(ChangeError::Undecodable)), "{end}: {refused:?}");
    }
    assert_eq!(Forged { extra: vec![0], ..good }.parse(), Err(ChangeError::NotCanonical));
    let mut checksum = bytes;
    checksum[4] ^= 1;
    assert_eq!(Change::parse(&checksum, feed(0)), Err(ChangeError::NotCanonical));
}

#[test]
fn numbers_have_one_form_and_64_bits() {
    let (mut read, mut forms) = (0, BTreeSet::new());
    for bytes in (0..=u16::MAX).map(u16::to_le_bytes) {
        let mut input = Cursor::new(&bytes);
        if let Ok(number) = input.uleb() {
            let used = bytes[..2 - input.len()].to_vec();
            assert_eq!(automerge_leb(number), used);
            forms.insert(used);
            read += 1;
        }
    }
    assert!(read > 0 && forms.len() == 128 * 128, "{}", forms.len());
    for (bytes, error) in [
        ([0xff; 11].as_slice(), ChangeError::Undecodable),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], ChangeError::Undecodable),
        (&[0x80, 0x80, 0], ChangeError::NotCanonical),
    ] {
        assert_eq!(Cursor::new(bytes).uleb(), Err(error));
        assert!(Cursor::new(bytes).sleb().is_err());
    }
    for number in [0, 1, -1, 63, 64, -64, -65, 8191, 8192, -8192, -8193, i64::MIN, i64::MAX, i64::MIN / 2 - 1] {
        assert_eq!(Cursor::new(&run(number, &[])).sleb(), Ok(number));
    }
}

fn automerge_leb(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uleb(&mut out, number);
    out
}

/// The writer's limits are the reader's: what is built is read, and what would not be read is not built.
#[test]
fn the_writer_keeps_to_the_limits_of_the_reader() {
    let change = Change::build(nulls(20)).unwrap();
    assert_eq!(Change::parse(change.bytes(), feed(0)), Ok(change));
    // From here on a message makes up for the bytes that the operations do not have.
    for more in [200, 65_536, CHANGE_OPERATIONS_MAX as u64] {
        let change = Change::build(nulls(more)).unwrap();
        assert!((more as usize..more as usize + 100).contains(&change.bytes().len()), "{}", change.bytes().len());
        assert_eq!(Change::parse(change.bytes(), feed(0)), Ok(change));
    }
    for more in [CHANGE_OPERATIONS_MAX as u64 + 1, CHANGE_BYTES_MAX as u64 + 1] {
        assert_eq!(Change::build(nulls(more)).err(), Some(ChangeError::TooLarge));
    }
    // A byte per operation: as many as there are.
    let mut numbers = nulls(100_000);
    for op in &mut numbers.ops {
        op.action = crate::entity::doc::Action::Put(crate::entity::doc::Value::Int(7));
    }
    let change = Change::build(numbers).unwrap();
    assert_eq!(Change::parse(change.bytes(), feed(0)), Ok(change));
    // One long key in many places: sixteen bytes of keys are a byte, and there is an end.
    let keys = |count, length| {
        let mut keys = nulls(count);
        let list = keys.ops.remove(0);
        for op in &mut keys.ops {
            (op.obj, op.key, op.insert) = (list.obj, crate::entity::doc::Key::Map("k".repeat(length)), false);
        }
        Change::build(keys)
    };
    let change = keys(2_000, 100).unwrap();
    assert!((12_494..12_600).contains(&change.bytes().len()), "{}", change.bytes().len());
    assert_eq!(Change::parse(change.bytes(), feed(0)), Ok(change));
    assert_eq!(keys(50_000, 100).err(), Some(ChangeError::TooLarge));
}
