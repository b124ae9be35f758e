//! Rows: the bytes an entity is stored as. Local; may be migrated (the version byte says from what).
//!
//! Numbers are LEB128; *sized* is a length and that many bytes; an *actor* is its index in the clock; tags and values
//! are those of the canonical part, objects without their content.
//!
//! ```text
//! row     = version 01 · kind (0 present, 1 tombstone, 2 frozen: another layout, 3 segmented: reserved)
//!         · count of heads, heads (32 bytes each, sorted)
//!         · clock: count, per actor in byte order: actor (16 bytes), seq, counter
//!         · updates: count, per actor: actor index, counter    · deleted: alike
//!         · journal position of the last change
//!         · count of objects, objects in order of id; the root, without an id, first
//!         · count of lines, per line in order of (actor, first): actor index, first, entry seq, hlc, rules id
//!         · first 16 bytes of blake3(all before)
//! object  = [id] · 0 (map) · count of keys, per key in byte order: sized key, ops
//!         | [id] · 1 (sequence) · count of elements, per element in order: id, ops (none for a tombstone)
//! ops     = count, per operation by id: id, tag, value
//! id      = counter, actor index
//! ```

use std::collections::BTreeMap;

use super::canonical::put_value;
use super::doc::{Doc, Keys, Kind, Live, Object, Value};
use super::id::{Clock, Mark, OpId};
use super::ops::Ops;
use super::seq::{Elem, Seq};
use super::{EntityState, Line, Provenance};
use crate::defect::{self, Defect};
use crate::{ChangeHash, FeedId, Hlc};

pub(super) const VERSION: u8 = 1;
const PRESENT: u8 = 0;
pub(super) const TOMBSTONE: u8 = 1;
pub(super) const FROZEN: u8 = 2;
pub(super) const CHECK_LEN: usize = 16;

/// Why a row cannot be read. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The hash at its end does not fit: the disk's fault, or other bytes than a row's.
    #[error("the row is damaged: its hash does not fit")]
    Damaged,
    /// Written by a newer version, or of a kind this one does not know.
    #[error("row version {version}, kind {kind} is not known here")]
    Version {
        /// The version byte.
        version: u8,
        /// The kind byte.
        kind: u8,
    },
    /// It was wrapped by [`EntityState::freeze`]: its content is in doubt and nothing better is known.
    #[error("the entity is frozen: its row is in doubt and cannot be built anew")]
    Frozen,
    /// The hash fits and the content does not: a defect in whoever wrote it.
    #[error("the row is malformed")]
    Malformed,
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = number.to_le_bytes().first().copied().unwrap_or(0) & 0x7f;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

impl EntityState {
    /// The bytes of the row.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder {
            out: Vec::with_capacity(1024),
            actors: self.clock.iter().map(|(actor, _)| *actor).collect(),
            used: vec![false; self.lines.len()],
            state: self,
            last: None,
        };
        encoder.head();
        encoder.objects();
        encoder.lines();
        let check = blake3::hash(&encoder.out);
        encoder.out.extend_from_slice(check.as_bytes().split_at(CHECK_LEN).0);
        debug_assert_eq!(Self::check(&encoder.out), Ok(()), "what is written is what is read");
        debug_assert_eq!(Self::heads_named(&encoder.out).as_deref(), Some(self.heads()), "heads can be read alone");
        encoder.out
    }

    /// Whether the bytes are those that were written and of a kind that [`EntityState::decode`] knows, by their hash
    /// and their first two bytes alone.
    ///
    /// # Errors
    /// Any [`RowError`] but [`RowError::Malformed`].
    pub fn check(row: &[u8]) -> Result<(), RowError> {
        known(row).map(drop)
    }

    /// Reads a row.
    pub fn decode(row: &[u8]) -> Result<Self, RowError> {
        let mut decoder = Decoder::over(known(row)?.get(2..).unwrap_or_default());
        let state = decoder.row().ok_or(RowError::Malformed)?;
        if decoder.rest.is_empty() { Ok(state) } else { Err(RowError::Malformed) }
    }
}

/// The row without its hash, if that fits and it is of a kind known here.
fn known(row: &[u8]) -> Result<&[u8], RowError> {
    match *checked(row)? {
        [VERSION, FROZEN, ..] => Err(RowError::Frozen),
        [version, kind, ..] if version != VERSION || kind > TOMBSTONE => Err(RowError::Version { version, kind }),
        ref body => Ok(body),
    }
}

/// The row without its hash, if that fits.
pub(super) fn checked(row: &[u8]) -> Result<&[u8], RowError> {
    let (body, check) = row.split_at_checked(row.len().saturating_sub(CHECK_LEN)).ok_or(RowError::Damaged)?;
    let sound = blake3::hash(body).as_bytes().split_at(CHECK_LEN).0 == check;
    if sound || defect::is(Defect::SumUnchecked) { Ok(body) } else { Err(RowError::Damaged) }
}

struct Encoder<'a> {
    out: Vec<u8>,
    actors: Vec<FeedId>,
    /// Which lines of provenance have a live operation.
    used: Vec<bool>,
    state: &'a EntityState,
    /// The actor met last and its index: most often also the next.
    last: Option<(FeedId, u64)>,
}

impl Encoder<'_> {
    fn number(&mut self, number: u64) {
        put_number(&mut self.out, number);
    }

    fn actor(&mut self, actor: FeedId) {
        let index = match self.last {
            Some((last, index)) if last == actor => index,
            // Every actor in a row has an applied change, so it is in the clock.
            _ => self.actors.binary_search(&actor).unwrap_or(self.actors.len()) as u64,
        };
        debug_assert!(index < self.actors.len() as u64, "every actor in a row is in its clock");
        self.last = Some((actor, index));
        self.number(index);
    }

    fn id(&mut self, id: OpId) {
        self.number(id.counter());
        self.actor(id.actor());
    }

    fn head(&mut self) {
        let state = self.state;
        self.out.extend_from_slice(&[VERSION, if state.is_present() { PRESENT } else { TOMBSTONE }]);
        self.number(state.heads.len() as u64);
        for head in &state.heads {
            self.out.extend_from_slice(head.as_bytes());
        }
        self.number(state.clock.len() as u64);
        for (actor, mark) in &state.clock {
            self.out.extend_from_slice(actor.as_bytes());
            self.number(mark.seq);
            self.number(mark.counter);
        }
        for counters in [&state.updates, &state.deleted] {
            self.number(counters.len() as u64);
            for (actor, counter) in counters {
                self.actor(*actor);
                self.number(*counter);
            }
        }
        self.number(state.journal);
    }

    fn objects(&mut self) {
        let state = self.state;
        self.number(state.doc.objects.len() as u64);
        for (id, object) in &state.doc.objects {
            if *id != OpId::ROOT {
                self.id(*id);
            }
            match object {
                Object::Map(keys) => {
                    self.out.push(0);
                    self.number(keys.len() as u64);
                    for (key, ops) in keys {
                        debug_assert!(!ops.is_empty(), "no key is without an operation");
                        put_sized(&mut self.out, key.as_bytes());
                        self.ops(ops);
                    }
                }
                Object::Seq(seq) => {
                    self.out.push(1);
                    self.number(seq.len() as u64);
                    for elem in seq.iter() {
                        self.id(elem.id);
                        self.ops(&elem.ops);
                    }
                }
            }
        }
    }

    fn ops(&mut self, ops: &Ops) {
        self.number(ops.len() as u64);
        for op in ops {
            self.id(op.id);
            put_value(&op.value, &mut self.out);
            if let Some(used) = self.state.line_of(&op.id).and_then(|at| self.used.get_mut(at)) {
                *used = true;
            }
        }
    }

    fn lines(&mut self) {
        let state = self.state;
        self.number(self.used.iter().filter(|used| **used).count() as u64);
        for at in 0..state.lines.len() {
            if let (Some(line), Some(true)) = (state.lines.get(at), self.used.get(at)) {
                self.actor(line.actor);
                self.number(line.first);
                self.number(line.provenance.entry_seq);
                self.number(line.provenance.hlc.raw());
                self.number(line.provenance.rules_seq);
            }
        }
    }
}

pub(super) struct Decoder<'a> {
    rest: &'a [u8],
    actors: Vec<FeedId>,
}

impl<'a> Decoder<'a> {
    pub(super) fn over(rest: &'a [u8]) -> Self {
        Self { rest, actors: Vec::new() }
    }

    pub(super) fn heads(&mut self) -> Option<Vec<ChangeHash>> {
        (0..self.count()?).map(|_| self.array().map(ChangeHash::from_bytes)).collect()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A count of things that take at least one byte each.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.rest.len()).then_some(count)
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.count()?;
        self.take(len)
    }

    fn string(&mut self) -> Option<String> {
        Some(std::str::from_utf8(self.sized()?).ok()?.to_owned())
    }

    fn actor(&mut self) -> Option<FeedId> {
        let index = usize::try_from(self.number()?).ok()?;
        self.actors.get(index).copied()
    }

    fn id(&mut self) -> Option<OpId> {
        let counter = self.number()?;
        OpId::new(counter, self.actor()?)
    }

    fn row(&mut self) -> Option<EntityState> {
        let heads = self.heads()?;
        let marks = (0..self.count()?).map(|_| {
            let actor = FeedId::from_bytes(self.array()?);
            self.actors.push(actor);
            Some((actor, Mark { seq: self.number()?, counter: self.number()? }))
        });
        let clock = marks.collect::<Option<Clock>>()?;
        Some(EntityState {
            heads,
            clock,
            updates: self.counters()?,
            deleted: self.counters()?,
            journal: self.number()?,
            doc: self.doc()?,
            lines: self.lines()?,
        })
    }

    fn counters(&mut self) -> Option<BTreeMap<FeedId, u64>> {
        (0..self.count()?).map(|_| Some((self.actor()?, self.number()?))).collect()
    }

    fn doc(&mut self) -> Option<Doc> {
        let mut objects = BTreeMap::new();
        for index in 0..self.count()? {
            let id = if index == 0 { OpId::ROOT } else { self.id()? };
            objects.insert(id, self.object()?);
        }
        matches!(objects.get(&OpId::ROOT), Some(Object::Map(_))).then(|| Doc::of(objects))
    }

    fn object(&mut self) -> Option<Object> {
        match self.byte()? {
            0 => {
                let keys = (0..self.count()?).map(|_| Some((self.string()?, self.ops()?)));
                Some(Object::Map(keys.collect::<Option<Keys>>()?))
            }
            1 => {
                let elems = (0..self.count()?).map(|_| Some(Elem { id: self.id()?, ops: self.ops()? }));
                Some(Object::Seq(Seq::new(elems.collect::<Option<_>>()?)))
            }
            _ => None,
        }
    }

    fn ops(&mut self) -> Option<Ops> {
        let count = self.count()?;
        let mut live = || Some(Live { id: self.id()?, value: self.value()? });
        match count {
            1 => live().map(Ops::one),
            count => {
                let ops: Vec<Live> = (0..count).map(|_| live()).collect::<Option<_>>()?;
                ops.is_sorted_by(|a, b| a.id < b.id).then(|| Ops::new(ops))
            }
        }
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.byte()? {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Int(i64::from_le_bytes(self.array()?)),
            4 => Value::Uint(u64::from_le_bytes(self.array()?)),
            5 => Value::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            6 => Value::Str(self.string()?),
            7 => Value::Bytes(self.sized()?.to_vec()),
            8 => Value::Counter(i64::from_le_bytes(self.array()?)),
            9 => Value::Timestamp(i64::from_le_bytes(self.array()?)),
            10 => Value::Unknown(self.byte()?, self.sized()?.to_vec()),
            16 => Value::Object(Kind::Map),
            17 => Value::Object(Kind::List),
            18 => Value::Object(Kind::Text),
            19 => Value::Object(Kind::Table),
            _ => return None,
        })
    }

    fn lines(&mut self) -> Option<Vec<Line>> {
        let line = |decoder: &mut Self| {
            let (actor, first) = (decoder.actor()?, decoder.number()?);
            let (entry_seq, hlc) = (decoder.number()?, Hlc::from_raw(decoder.number()?));
            let provenance = Provenance { entry_seq, hlc, rules_seq: decoder.number()? };
            Some(Line { actor, first, provenance })
        };
        (0..self.count()?).map(|_| line(self)).collect()
    }
}
