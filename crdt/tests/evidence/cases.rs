//! What is given to Automerge and to this crate: changes in the order in which they arrive.

use std::io::{Read, Write};

use automerge::ObjType;
use automerge::legacy::ObjectId;

use crate::chunks::{PUT, change, chunk, element, encoded, frame, id, make, put, puts};

/// What this crate says to the last change of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The codec refuses it.
    Codec(tombolo_crdt::entity::ChangeError),
    /// Not the next of its actor.
    Sequence,
    /// It names something outside its past.
    NotInPast,
    /// A dependency is not here: it is held, outside the entity.
    Held,
    /// It is taken, and does only what it may.
    Applied,
}

/// Changes that bring Automerge down, or make it keep or lose what it should not.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) answer: Answer,
    /// What must be under h in the end, if anything.
    pub(crate) h: Option<i64>,
}

/// 2⁶², signed and unsigned.
const HUGE: [u8; 10] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0];
const HUGE_UNSIGNED: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];

fn object(actor: &[u8], counter: &[u8]) -> Vec<u8> {
    let columns: [(u8, &[u8]); 3] = [(0x01, actor), (0x02, counter), (0x15, b"\x7f\x01k")];
    chunk(&[], &[columns.as_slice(), &PUT].concat())
}

/// The chunk that is well formed and names nothing wrong.
pub(crate) fn good() -> Vec<u8> {
    puts(&[0x7f], &[1])
}

/// What one piece of a deflated chunk becomes.
const PIECE: u64 = 1 << 24;

/// A deflated chunk of so many zeros in pieces: a thousandth of that.
fn bomb(pieces: usize) -> Vec<u8> {
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(0).take(PIECE), &mut deflate).unwrap();
    // Ends the piece at a byte, and refers to nothing before it: it can be repeated.
    deflate.flush().unwrap();
    let mut contents = deflate.get_ref().repeat(pieces);
    // An empty last block.
    contents.extend([0x03, 0]);
    frame(2, &contents)
}

/// A1 to A11 of what a crafted chunk can do, but those with other numbers. `pieces`: of 16 MiB, in the deflated one.
pub(crate) fn crafted(pieces: usize) -> Vec<Case> {
    use Answer::{Codec, NotInPast, Sequence};
    use tombolo_crdt::entity::ChangeError::{Chunk, NotCanonical, Range, TooLarge, Undecodable};
    let many = [0x80, 0xc2, 0xd7, 0x2f];
    let first = encoded(change(1, (1, 1), &[], vec![put(ObjectId::Root, "h", 1, &[])]));
    let by = |by, numbers| encoded(change(by, numbers, &[&first], vec![put(ObjectId::Root, "i", 2, &[])]));
    let unknown = |listed: &[u8; 16]| chunk(&[*listed], &[[(0x15, b"\x7f\x01k".as_slice())].as_slice(), &PUT].concat());
    let named = encoded(change(1, (1, 1), &[], vec![put(ObjectId::Root, "h", 1, &[id(1, 9)])]));
    let nulls: [u8; 11] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let null_run = chunk(&[], &[[(0x01, nulls.as_slice()), (0x15, b"\x7f\x01k")].as_slice(), &PUT].concat());
    let mut author = change(1, (2, 2), &[&first], vec![put(ObjectId::Root, "i", 2, &[])]);
    author.extra_bytes = vec![1, 3, b'a', b'n', b'n'];
    let case = |name, chunks, answer, h| Case { name, chunks, answer, h };
    vec![
        case("A1: number 7 after 1", vec![first.clone(), by(1, (7, 2))], Sequence, Some(1)),
        case("A2: number 2 of an unknown actor", vec![first.clone(), by(2, (2, 2))], Sequence, Some(1)),
        case("A3: an unknown actor in the list", vec![unknown(&[9; 16])], Codec(NotCanonical), None),
        case("A3: an unknown actor's operation", vec![named], NotInPast, None),
        case("A4: actor 5 of 1", vec![object(&[0x7f, 5], &[0x7f, 1])], Codec(Undecodable), None),
        case("A5: counter 2³²", vec![object(&[0x7f, 0], &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x10])], Codec(Range), None),
        case("A6: 2⁶² operations", vec![puts(&HUGE, &HUGE_UNSIGNED)], Codec(TooLarge), None),
        case("A7: 10⁸ operations", vec![puts(&many, &many)], Codec(TooLarge), None),
        case("A8: half a deflated gigabyte", vec![bomb(pieces)], Codec(Chunk), None),
        case("A9: the last counter there is", vec![first.clone(), by(2, (1, 0xffff_ffff))], Codec(Range), Some(1)),
        case("A10: 2⁶⁴ nulls, saved and loaded", vec![null_run], Codec(Undecodable), None),
        case("A11: an author after number 1", vec![first, encoded(author)], Codec(NotCanonical), Some(1)),
    ]
}

/// Changes that only their past gives away.
pub(crate) fn forged() -> Vec<Case> {
    use Answer::{Applied, NotInPast};
    // h (1), i (2), the list l (3), the table t (4).
    let ops = vec![
        put(ObjectId::Root, "h", 1, &[]),
        put(ObjectId::Root, "i", 2, &[]),
        make("l", ObjType::List),
        make("t", ObjType::Table),
    ];
    let first = encoded(change(1, (1, 1), &[], ops));
    // Somebody else's (5 to 19): what is forged begins at 20.
    let fill = (5..20).map(|n| put(ObjectId::Root, &format!("fill {n}"), n, &[])).collect();
    let fill = encoded(change(4, (1, 5), &[&first], fill));
    let forged = |op| encoded(change(2, (1, 20), &[&fill], vec![op]));
    let second = |value, pred: &[_]| encoded(change(3, (1, 5), &[&first], vec![put(ObjectId::Root, "h", value, pred)]));
    let list = || id(3, 1);
    let element = |elem, update| forged(element(list(), Some(elem), update));
    let over = |key, pred| forged(put(ObjectId::Root, key, 9, &[pred]));
    let case =
        |name, last, answer, h| Case { name, chunks: vec![first.clone(), fill.clone(), last], answer, h: Some(h) };
    let inside = |object: ObjectId| forged(put(object, "k", 9, &[]));
    vec![
        case("in an object that never existed", inside(ObjectId::Id(id(9, 1))), NotInPast, 1),
        case("after an element that never existed", element(id(9, 1), false), NotInPast, 1),
        case("over what never existed", over("h", id(9, 1)), NotInPast, 1),
        case("in place of an element that never existed", element(id(9, 1), true), NotInPast, 1),
        case("a key of a list", inside(ObjectId::Id(list())), Applied, 1),
        case("over another key's value", over("x", id(1, 1)), Applied, 1),
        Case {
            name: "over what does not exist yet, first",
            chunks: vec![first.clone(), fill.clone(), over("h", id(5, 3)), second(5, &[id(1, 1)])],
            answer: NotInPast,
            h: Some(5),
        },
        Case {
            name: "over what does not exist yet, last",
            chunks: vec![first.clone(), fill.clone(), second(5, &[id(1, 1)]), over("h", id(5, 3))],
            answer: NotInPast,
            h: Some(5),
        },
        // Nothing is wrong with this one.
        case("a key of a table", inside(ObjectId::Id(id(4, 1))), Applied, 1),
    ]
}

/// A14: changes that depend on what nobody has.
pub(crate) fn orphans(count: u32) -> Vec<Vec<u8>> {
    let orphan = |number: u32| {
        let mut orphan = change(2, (number.into(), 1), &[], vec![put(ObjectId::Root, "h", 1, &[])]);
        let mut dep = [0; 32];
        dep[..4].copy_from_slice(&number.to_be_bytes());
        orphan.deps = vec![automerge::ChangeHash(dep)];
        encoded(orphan)
    };
    (1..=count).map(orphan).collect()
}

/// A15: two changes of one actor with one number, and one of somebody else, which comes last.
pub(crate) fn equivocation() -> Vec<Vec<u8>> {
    let one = |by, value| encoded(change(by, (1, 1), &[], vec![put(ObjectId::Root, "h", value, &[])]));
    vec![one(1, 1), one(1, 2), one(2, 3)]
}
