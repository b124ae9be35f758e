//! Operations to columns and back.

use super::bytes::Cursor;
use super::chunk::Actors;
use super::columns::{
    ACTION, Columns, INSERT, KEY_ACTOR, KEY_COUNTER, KEY_TEXT, OBJ_ACTOR, OBJ_COUNTER, PRED_ACTOR, PRED_COUNT,
    PRED_COUNTER, VALUE_META, VALUE_RAW,
};
use super::limits::Budget;
use super::rle::{BooleanWriter, Booleans, DeltaWriter, Deltas, RunWriter, Runs};
use super::{ChangeError, values};
use crate::entity::doc::{Action, Key, Kind, Operation, Value};
use crate::entity::id::OpId;

impl Key {
    fn text(&self) -> Option<&str> {
        if let Self::Map(text) = self { Some(text) } else { None }
    }
}

/// Readers of all columns, one row at a time.
struct Rows<'a> {
    obj_actor: Runs<'a, u64>,
    obj_counter: Runs<'a, u64>,
    key_actor: Runs<'a, u64>,
    key_counter: Deltas<'a>,
    key_text: Runs<'a, &'a str>,
    insert: Booleans<'a>,
    action: Runs<'a, u64>,
    value_meta: Runs<'a, u64>,
    value_raw: Cursor<'a>,
    pred_count: Runs<'a, u64>,
    pred_actor: Runs<'a, u64>,
    pred_counter: Deltas<'a>,
}

/// Reads the operations. Everything in the columns is read, and every listed actor named, or it fails.
pub(super) fn read(
    columns: &Columns<'_>,
    actors: &mut Actors,
    mut budget: Budget,
) -> Result<Vec<Operation>, ChangeError> {
    let mut rows = Rows::new(columns);
    let (mut ops, mut unknown) = (Vec::new(), false);
    while !rows.action.is_done() {
        if ops.is_empty() {
            // Most changes have one operation.
            ops.reserve_exact(1);
        } else if ops.len() == ops.capacity() {
            ops.reserve(rows.action.ahead().min(budget.ops).max(1));
        }
        match rows.next(actors, &mut budget) {
            // What comes after it may still be wrong for every version.
            Err(ChangeError::Unknown) => unknown = true,
            op => ops.push(op?),
        }
    }
    rows.finish()?;
    if unknown {
        return Err(ChangeError::Unknown);
    }
    actors.finish()?;
    if columns.foreign { Err(ChangeError::NotCanonical) } else { Ok(ops) }
}

impl<'a> Rows<'a> {
    fn new(columns: &Columns<'a>) -> Self {
        Self {
            obj_actor: Runs::new(columns.get(OBJ_ACTOR)),
            obj_counter: Runs::new(columns.get(OBJ_COUNTER)),
            key_actor: Runs::new(columns.get(KEY_ACTOR)),
            key_counter: Deltas::new(columns.get(KEY_COUNTER)),
            key_text: Runs::new(columns.get(KEY_TEXT)),
            insert: Booleans::new(columns.get(INSERT)),
            action: Runs::new(columns.get(ACTION)),
            value_meta: Runs::new(columns.get(VALUE_META)),
            value_raw: Cursor::new(columns.get(VALUE_RAW)),
            pred_count: Runs::new(columns.get(PRED_COUNT)),
            pred_actor: Runs::new(columns.get(PRED_ACTOR)),
            pred_counter: Deltas::new(columns.get(PRED_COUNTER)),
        }
    }

    fn next(&mut self, actors: &mut Actors, budget: &mut Budget) -> Result<Operation, ChangeError> {
        let obj = match (self.obj_actor.next()?, self.obj_counter.next()?) {
            (None, None) => OpId::ROOT,
            (Some(actor), Some(counter)) => actors.id(actor, counter)?,
            _ => return Err(ChangeError::Undecodable),
        };
        let (actor, counter, text) = (self.key_actor.next()?, self.key_counter.next()?, self.key_text.next()?);
        let insert = self.insert.next()?;
        let action = self.action.value()?;
        let meta = self.value_meta.value()?;
        let preds = self.pred_count.value()?;
        budget.spend(usize::try_from(preds).unwrap_or(usize::MAX), text.map_or(0, str::len))?;
        let key = match (actor, counter, text) {
            (None, None, Some(text)) => Key::Map(text.to_owned()),
            (None, Some(0), None) => Key::Elem(OpId::ROOT),
            (Some(actor), Some(counter), None) => Key::Elem(actors.id(actor, counter)?),
            _ => return Err(ChangeError::Undecodable),
        };
        let value = values::read(meta, &mut self.value_raw)?;
        let pred = self.preds(preds, actors)?;
        let op = Operation { obj, key, insert, action: to_action(action, value)?, pred };
        if well_formed(&op) { Ok(op) } else { Err(ChangeError::Range) }
    }

    fn preds(&mut self, count: u64, actors: &mut Actors) -> Result<Vec<OpId>, ChangeError> {
        let mut pred: Vec<OpId> = Vec::new();
        for _ in 0..count {
            let (Some(actor), Some(counter)) = (self.pred_actor.next()?, self.pred_counter.next()?) else {
                return Err(ChangeError::Undecodable);
            };
            let id = actors.id(actor, counter)?;
            if pred.last().is_some_and(|last| *last >= id) {
                return Err(ChangeError::Range);
            }
            if pred.is_empty() {
                pred.reserve_exact(1);
            }
            pred.push(id);
        }
        Ok(pred)
    }

    fn finish(&self) -> Result<(), ChangeError> {
        self.obj_actor.finish()?;
        self.obj_counter.finish()?;
        self.key_actor.finish()?;
        self.key_counter.finish()?;
        self.key_text.finish()?;
        self.insert.finish()?;
        self.action.finish()?;
        self.value_meta.finish()?;
        self.pred_count.finish()?;
        self.pred_actor.finish()?;
        self.pred_counter.finish()?;
        if self.value_raw.is_empty() { Ok(()) } else { Err(ChangeError::NotCanonical) }
    }
}

const MAKE_MAP: u64 = 0;
const PUT: u64 = 1;
const MAKE_LIST: u64 = 2;
const DELETE: u64 = 3;
const MAKE_TEXT: u64 = 4;
const INCREMENT: u64 = 5;
const MAKE_TABLE: u64 = 6;

/// 7 are marks of rich text, and beyond lies what nobody knows.
fn to_action(action: u64, value: Value) -> Result<Action, ChangeError> {
    let kind = match (action, value) {
        (PUT, value) => return Ok(Action::Put(value)),
        (INCREMENT, Value::Int(by)) => return Ok(Action::Increment(by)),
        (INCREMENT, Value::Uint(_)) => return Err(ChangeError::NotCanonical),
        (INCREMENT, _) => return Err(ChangeError::Undecodable),
        (DELETE, Value::Null) => return Ok(Action::Delete),
        (MAKE_MAP, Value::Null) => Kind::Map,
        (MAKE_LIST, Value::Null) => Kind::List,
        (MAKE_TEXT, Value::Null) => Kind::Text,
        (MAKE_TABLE, Value::Null) => Kind::Table,
        (MAKE_MAP..=MAKE_TABLE, _) => return Err(ChangeError::NotCanonical),
        _ => return Err(ChangeError::Unknown),
    };
    Ok(Action::Put(Value::Object(kind)))
}

/// Keys are not inserted, only values are, and nothing but an insertion acts before the first element.
fn well_formed(op: &Operation) -> bool {
    match &op.key {
        Key::Map(_) => !op.insert,
        Key::Elem(_) if op.insert => matches!(op.action, Action::Put(_)),
        Key::Elem(elem) => *elem != OpId::ROOT,
    }
}

/// Every id that operations name.
pub(super) fn named(ops: &[Operation]) -> impl Iterator<Item = &OpId> {
    ops.iter().flat_map(|op| {
        let elem = if let Key::Elem(elem) = &op.key { Some(elem) } else { None };
        op.pred.iter().chain(elem).chain([&op.obj])
    })
}

/// The columns of operations, in the order of [`super::columns`].
pub(super) fn write(ops: &[Operation], actors: &Actors) -> [Vec<u8>; 12] {
    let numbered = |id: OpId| (id != OpId::ROOT).then(|| (actors.number(id.actor()), id.counter()));
    let (mut obj_actor, mut obj_counter) = (RunWriter::<u64>::new(), RunWriter::<u64>::new());
    let (mut key_actor, mut key_counter) = (RunWriter::<u64>::new(), DeltaWriter::new());
    let (mut key_text, mut insert) = (RunWriter::<&str>::new(), BooleanWriter::default());
    let (mut action, mut meta, mut raw) = (RunWriter::<u64>::new(), RunWriter::<u64>::new(), Vec::new());
    let (mut pred_count, mut pred_actor) = (RunWriter::<u64>::new(), RunWriter::<u64>::new());
    let mut pred_counter = DeltaWriter::new();
    for op in ops {
        let obj = numbered(op.obj);
        obj_actor.push(obj.map(|obj| obj.0));
        obj_counter.push(obj.map(|obj| obj.1));
        let (elem, before_first) = match op.key {
            Key::Elem(elem) => (numbered(elem), elem == OpId::ROOT),
            Key::Map(_) => (None, false),
        };
        key_actor.push(elem.map(|elem| elem.0));
        key_counter.push(elem.map(|elem| elem.1).or(before_first.then_some(0)));
        key_text.push(op.key.text());
        insert.push(op.insert);
        let (number, value) = from_action(&op.action);
        action.push(Some(number));
        meta.push(Some(values::write(value.as_ref(), &mut raw)));
        pred_count.push(Some(op.pred.len() as u64));
        for pred in &op.pred {
            pred_actor.push(Some(actors.number(pred.actor())));
            pred_counter.push(Some(pred.counter()));
        }
    }
    [
        obj_actor.finish(),
        obj_counter.finish(),
        key_actor.finish(),
        key_counter.finish(),
        key_text.finish(),
        insert.finish(),
        action.finish(),
        meta.finish(),
        raw,
        pred_count.finish(),
        pred_actor.finish(),
        pred_counter.finish(),
    ]
}

fn from_action(action: &Action) -> (u64, std::borrow::Cow<'_, Value>) {
    use std::borrow::Cow::{Borrowed, Owned};
    match action {
        Action::Put(value) => match value {
            Value::Object(Kind::Map) => (MAKE_MAP, Borrowed(value)),
            Value::Object(Kind::List) => (MAKE_LIST, Borrowed(value)),
            Value::Object(Kind::Text) => (MAKE_TEXT, Borrowed(value)),
            Value::Object(Kind::Table) => (MAKE_TABLE, Borrowed(value)),
            _ => (PUT, Borrowed(value)),
        },
        Action::Delete => (DELETE, Owned(Value::Null)),
        Action::Increment(by) => (INCREMENT, Owned(Value::Int(*by))),
    }
}
