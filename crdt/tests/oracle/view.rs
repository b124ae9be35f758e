//! The view and the conflicts of a document that Automerge holds, by the rules of docs/formats.md: written a second
//! time, over another structure, to be compared with what the live state shows.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ObjType, ScalarValue};
use tombolo_crdt::entity::Step;
use tombolo_crdt::json::Json;

use crate::tree::{Id, Map, Op, Value};

/// A value of a conflict set: what it wins or loses by, and what it shows.
struct Candidate<'a> {
    id: Id,
    shown: Shown<'a>,
}

enum Shown<'a> {
    Maps(Vec<&'a Map>),
    Empty,
    Value(&'a Value),
}

fn is_empty_map(value: &Value) -> bool {
    matches!(value, Value::Scalar(ScalarValue::Bytes(bytes)) if bytes == b"\0{}")
}

/// Whether something within, however deep, is no map.
fn has_content(map: &Map) -> bool {
    map.values().flatten().any(|op| match &op.value {
        Value::Map(_, inner) => has_content(inner),
        _ => true,
    })
}

/// The greatest first. Maps are one value, with the greatest id of those with content; so is the empty map with them.
fn candidates<'a>(ops: &[&'a Op], in_list: bool) -> Vec<Candidate<'a>> {
    let maps: Vec<(Id, &Map)> = ops
        .iter()
        .filter_map(|op| if let Value::Map(_, map) = &op.value { Some((op.id, map)) } else { None })
        .collect();
    let full = maps.iter().filter(|(_, map)| has_content(map)).map(|(id, _)| *id).max();
    let empty = ops.iter().filter(|op| is_empty_map(&op.value)).map(|op| op.id).max();
    let bare = maps.iter().map(|(id, _)| *id).max().filter(|_| in_list);
    let plain = ops.iter().filter(|op| !matches!(op.value, Value::Map(..)) && !is_empty_map(&op.value));
    let mut found: Vec<_> = plain.map(|op| Candidate { id: op.id, shown: Shown::Value(&op.value) }).collect();
    let group = || Shown::Maps(maps.iter().map(|(_, map)| *map).collect());
    match (full, bare, empty) {
        (Some(id), _, _) => found.push(Candidate { id, shown: group() }),
        (None, Some(bare), empty) => {
            found.push(Candidate { id: empty.map_or(bare, |id| id.max(bare)), shown: group() });
        }
        (None, None, Some(id)) => found.push(Candidate { id, shown: Shown::Empty }),
        (None, None, None) => {}
    }
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.id));
    found
}

/// The user's name of a root key, unless it is the register.
fn shown_key(key: &str, root: bool) -> Option<&str> {
    if root && key.starts_with('$') && key.trim_start_matches('$') == "deleted" {
        return (key != "$deleted").then(|| &key[1..]);
    }
    Some(key)
}

/// The keys of united maps with what all of them hold there.
fn united<'a>(maps: &[&'a Map]) -> BTreeMap<&'a str, Vec<&'a Op>> {
    let keys: BTreeSet<&String> = maps.iter().flat_map(|map| map.keys()).collect();
    let ops = |key: &String| maps.iter().filter_map(|map| map.get(key)).flatten().collect();
    keys.into_iter().map(|key| (key.as_str(), ops(key))).collect()
}

fn fields(maps: &[&Map], root: bool) -> Json {
    let mut shown = BTreeMap::new();
    for (key, ops) in united(maps) {
        if let (Some(key), Some(winner)) = (shown_key(key, root), candidates(&ops, false).first()) {
            shown.insert(key.to_owned(), json(winner));
        }
    }
    Json::Object(shown)
}

/// What readers get.
pub(crate) fn view(root: &Map) -> Json {
    fields(&[root], true)
}

fn json(candidate: &Candidate<'_>) -> Json {
    match &candidate.shown {
        Shown::Maps(maps) => fields(maps, false),
        Shown::Empty => Json::Object(BTreeMap::new()),
        Shown::Value(Value::Scalar(scalar)) => from_scalar(scalar),
        Shown::Value(Value::Seq(ObjType::Text, elems)) => Json::String(text(elems)),
        Shown::Value(Value::Seq(_, elems)) => {
            let winner = |ops: &Vec<Op>| candidates(&ops.iter().collect::<Vec<_>>(), true).first().map(json);
            Json::Array(elems.iter().filter_map(winner).collect())
        }
        Shown::Value(Value::Map(..)) => Json::Null,
    }
}

/// The text that Automerge shows too, but for elements that are no strings.
pub(crate) fn text(elems: &[Vec<Op>]) -> String {
    let part = |ops: &Vec<Op>| match ops.last().map(|op| &op.value) {
        Some(Value::Scalar(ScalarValue::Str(text))) => text.to_string(),
        _ => "\u{fffc}".to_owned(),
    };
    elems.iter().map(part).collect()
}

fn from_scalar(scalar: &ScalarValue) -> Json {
    match scalar {
        ScalarValue::Null => Json::Null,
        ScalarValue::Boolean(bool) => Json::Bool(*bool),
        ScalarValue::Int(int) => Json::Int(*int),
        ScalarValue::Uint(uint) => Json::Uint(*uint),
        ScalarValue::F64(float) if float.is_finite() => Json::Float(*float),
        ScalarValue::F64(_) => Json::Null,
        ScalarValue::Str(text) => Json::String(text.to_string()),
        ScalarValue::Counter(counter) => Json::Int(i64::from(counter)),
        ScalarValue::Bytes(bytes) | ScalarValue::Unknown { bytes, .. } => {
            Json::String(data_encoding::BASE64.encode(bytes))
        }
        // The two that the generator writes.
        ScalarValue::Timestamp(0) => Json::String("1970-01-01T00:00:00.000Z".into()),
        ScalarValue::Timestamp(951_782_400_123) => Json::String("2000-02-29T00:00:00.123Z".into()),
        ScalarValue::Timestamp(millis) => Json::Int(*millis),
    }
}

/// What Automerge shows: of every key the winner, and nothing united.
pub(crate) fn plain(map: &Map) -> Json {
    let winner = |(key, ops): (&String, &Vec<Op>)| Some((key.clone(), plain_value(&ops.last()?.value)));
    Json::Object(map.iter().filter_map(winner).collect())
}

fn plain_value(value: &Value) -> Json {
    match value {
        Value::Scalar(scalar) => from_scalar(scalar),
        Value::Map(_, map) => plain(map),
        Value::Seq(ObjType::Text, elems) => Json::String(text(elems)),
        Value::Seq(_, elems) => {
            Json::Array(elems.iter().filter_map(|ops| Some(plain_value(&ops.last()?.value))).collect())
        }
    }
}

/// A conflict: where, whether in the view, and its values by id, the shown one first.
pub(crate) type Listed = (Vec<Step>, bool, Vec<(Id, Json)>);

/// All conflicts in the order of the view, those within values that lost too.
pub(crate) fn conflicts(root: &Map) -> Vec<Listed> {
    let mut found = Vec::new();
    list_fields(&[root], true, &mut (Vec::new(), true), &mut found);
    found
}

fn list_fields(maps: &[&Map], root: bool, place: &mut (Vec<Step>, bool), found: &mut Vec<Listed>) {
    for (key, ops) in united(maps) {
        if let Some(key) = shown_key(key, root) {
            place.0.push(Step::Key(key.to_owned()));
            list(&candidates(&ops, false), place, found);
            place.0.pop();
        }
    }
}

fn list(candidates_here: &[Candidate<'_>], place: &mut (Vec<Step>, bool), found: &mut Vec<Listed>) {
    if candidates_here.len() > 1 {
        let values = candidates_here.iter().map(|candidate| (candidate.id, json(candidate))).collect();
        found.push((place.0.clone(), place.1, values));
    }
    let above = place.1;
    for (rank, candidate) in candidates_here.iter().enumerate() {
        place.1 = above && rank == 0;
        match &candidate.shown {
            Shown::Maps(maps) => list_fields(maps, false, place, found),
            Shown::Value(Value::Seq(ObjType::List, elems)) => {
                for (index, ops) in elems.iter().enumerate() {
                    place.0.push(Step::Index(index));
                    list(&candidates(&ops.iter().collect::<Vec<_>>(), true), place, found);
                    place.0.pop();
                }
            }
            _ => {}
        }
    }
    place.1 = above;
}
