//! Several writes, one entry; and what a write may look like in JSON.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use tombolo_crdt::Revision;
use tombolo_crdt::entity::{PatchOp, TypedOp, Write};
use tombolo_crdt::entry::ENTRY_CHANGES_MAX;
use tombolo_crdt::json::{Fields, Json};

use super::describe::{HttpMethod, JSON, Operation, Parameter, Shape, TEXT};
use super::problem::{Kind, Problem};
use super::request::{self, PathParts, check_collection_name, check_entity_id};
use super::{SharedApp, rows, write};
use crate::engine::{EntityWrite, Expect, WriteCommand};

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    method: HttpMethod::Post,
    path: "/v1/spaces/{space}/transactions",
    summary: "Several writes as one entry",
    headers: &[
        Parameter("Idempotency-Key", "A repeated request is answered as the first was", Shape::Text(1, 256)),
        Parameter("traceparent", "W3C trace context", TEXT),
    ],
    bodies: JSON,
    problems: &[
        Kind::Role,
        Kind::NotFound,
        Kind::InvalidName,
        Kind::RevisionMismatch,
        Kind::BaseUnknown,
        Kind::IdempotencyConflict,
        Kind::Damaged,
    ],
    ..Operation::PLAIN
}];

/// Members that a write of a transaction may have.
const MEMBERS: [&str; 10] =
    ["collection", "id", "put", "merge", "patch", "ops", "delete", "if_match", "if_none_match", "base"];

/// `POST /v1/spaces/{space}/transactions`
pub(super) async fn transact(
    State(app): State<SharedApp>,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (bytes, value) = request::read_write(&app, &headers, body, JSON).await?;
    let planned = parse(value)?;
    let idempotency = write::idempotency(&app, &headers, &format!("POST {}", uri.path()), &bytes)?;
    let space = app.space(path.space())?;
    let mut writes = Vec::with_capacity(planned.len());
    for Planned { mut write, base } in planned {
        if let (Some(revision), Write::Put { base, .. }) = (base, &mut write.write) {
            let found = write::base(&app, (space.space_no, &write.collection, &write.id), revision).await;
            *base = Some(rows::cared(&app, space.id, found).await?);
        }
        writes.push(write);
    }
    let names: Vec<(String, String)> =
        writes.iter().map(|write| (write.collection.clone(), write.id.clone())).collect();
    let command = WriteCommand { space: space.id, writes, atomic: true, idempotency, trace: request::trace(&headers) };
    let outcome = write::make(&app, command, bytes.len()).await?;
    let shown = names.iter().zip(&outcome.writes).map(|((collection, id), written)| {
        let mut shown = write::written(id, written);
        shown["collection"] = collection.as_str().into();
        shown
    });
    let shown: Vec<Value> = shown.collect();
    let receipt = outcome.receipt().map(|receipt| receipt.to_string());
    let answer = json!({ "receipt": receipt, "replayed": outcome.replayed, "writes": shown });
    let mut response = write::json_response(answer.to_string());
    outcome.headers(response.headers_mut());
    Ok(response)
}

/// A write whose base is still to be found.
#[derive(Debug)]
struct Planned {
    write: EntityWrite,
    base: Option<Revision>,
}

fn parse(body: Json) -> Result<Vec<Planned>, Problem> {
    let wrong = || Problem::new(Kind::InvalidValue, "a transaction is `{\"writes\":[…]}`");
    let Json::Object(mut fields) = body else { return Err(wrong()) };
    let Some(Json::Array(writes)) = fields.remove("writes") else { return Err(wrong()) };
    if !fields.is_empty() {
        return Err(wrong());
    }
    if writes.is_empty() || writes.len() > ENTRY_CHANGES_MAX {
        let detail = format!("a transaction has 1 to {ENTRY_CHANGES_MAX} writes; this one has {}", writes.len());
        let kind = if writes.is_empty() { Kind::InvalidValue } else { Kind::TooLarge };
        return Err(Problem::new(kind, detail).with("limit_changes", ENTRY_CHANGES_MAX as u64));
    }
    let parse = |(index, write)| parse_write(write).map_err(|problem: Problem| problem.with("index", index as u64));
    writes.into_iter().enumerate().map(parse).collect()
}

fn parse_write(write: Json) -> Result<Planned, Problem> {
    let value = |detail: &str| Problem::new(Kind::InvalidValue, detail);
    let Json::Object(mut fields) = write else { return Err(value("a write is an object")) };
    if let Some(unknown) = fields.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        return Err(value(&format!(
            "a write has no member `{}`; it may have {}",
            request::clip(unknown),
            MEMBERS.join(", ")
        )));
    }
    let collection = text(&mut fields, "collection")?.ok_or_else(|| value("`collection` is missing"))?;
    check_collection_name(&collection)?;
    let id = text(&mut fields, "id")?.ok_or_else(|| value("`id` is missing"))?;
    check_entity_id(&id)?;
    let expect = match (text(&mut fields, "if_match")?, fields.remove("if_none_match")) {
        (None, None) => Expect::Any,
        (Some(any), None) if any == "*" => Expect::Present,
        (Some(revision), None) => Expect::Revision(request::revision(&revision)?),
        (None, Some(Json::Bool(true))) => Expect::Absent,
        (None, Some(_)) => return Err(value("`if_none_match` takes only true")),
        (Some(_), Some(_)) => return Err(value("`if_match` and `if_none_match` exclude each other")),
    };
    let base = text(&mut fields, "base")?.map(|revision| request::revision(&revision)).transpose()?;
    let mut kinds = fields.into_iter();
    let (Some((kind, content)), None) = (kinds.next(), kinds.next()) else {
        return Err(value("a write has exactly one of put, merge, patch, ops, delete"));
    };
    if base.is_some() && kind != "put" {
        return Err(value("`base` goes with `put`"));
    }
    let write = match (kind.as_str(), content) {
        ("put", value) => Write::Put { value, base: None },
        ("merge", patch) => Write::MergePatch(patch),
        ("patch", patch) => json_patch(&patch)?,
        ("ops", ops) => operations(&ops)?,
        ("delete", Json::Bool(true)) => Write::Delete,
        _ => return Err(value("`delete` takes only true")),
    };
    Ok(Planned { write: EntityWrite { collection, id, expect, write }, base })
}

fn text(fields: &mut Fields, name: &str) -> Result<Option<String>, Problem> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(Problem::new(Kind::InvalidValue, format!("`{name}` is not a string"))),
    }
}

/// A JSON Patch.
pub(super) fn json_patch(patch: &Json) -> Result<Write, Problem> {
    let ops = PatchOp::parse_list(patch).map_err(|error| Problem::new(Kind::InvalidValue, error.to_string()))?;
    Ok(Write::JsonPatch(ops))
}

/// Typed operations.
pub(super) fn operations(ops: &Json) -> Result<Write, Problem> {
    let Json::Array(ops) = ops else {
        return Err(Problem::new(Kind::InvalidValue, "typed operations are an array"));
    };
    let parse = |(index, op)| {
        operation(op).map_err(|lack| Problem::new(Kind::InvalidValue, format!("operation {index}: {lack}")))
    };
    Ok(Write::Ops(ops.iter().enumerate().map(parse).collect::<Result<_, _>>()?))
}

fn operation(op: &Json) -> Result<TypedOp, String> {
    let fields = op.as_object().ok_or("not an object")?;
    let text = |name: &str| fields.get(name).and_then(Json::as_str).ok_or_else(|| format!("`{name}` is not a string"));
    let whole = |name: &str| {
        let number = fields.get(name).and_then(Json::as_i64);
        number.ok_or_else(|| format!("`{name}` is not an integer"))
    };
    let count = |name: &str| {
        whole(name).and_then(|number| usize::try_from(number).map_err(|_| format!("`{name}` is negative")))
    };
    let values = || match fields.get("values") {
        Some(Json::Array(values)) => Ok(values.clone()),
        _ => Err("`values` is not an array".to_owned()),
    };
    let only = |names: &[&str]| match fields.keys().find(|key| *key != "op" && !names.contains(&key.as_str())) {
        Some(unknown) => Err(format!("it has no member `{}`", request::clip(unknown))),
        None => Ok(()),
    };
    let kind = text("op")?;
    let path = text("path")?.to_owned();
    match kind {
        "increment" => {
            only(&["path", "by"])?;
            Ok(TypedOp::Increment { path, by: whole("by")? })
        }
        "insert" => {
            only(&["path", "index", "values"])?;
            Ok(TypedOp::Insert { path, index: count("index")?, values: values()? })
        }
        "delete" => {
            only(&["path", "index", "count"])?;
            let number = if fields.contains_key("count") { count("count")? } else { 1 };
            Ok(TypedOp::Delete { path, index: count("index")?, count: number })
        }
        "splice" => {
            only(&["path", "index", "delete", "values"])?;
            Ok(TypedOp::Splice { path, index: count("index")?, delete: count("delete")?, values: values()? })
        }
        _ => Err("`op` is none of increment, insert, delete, splice".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Vec<Planned>, Problem> {
        parse(Json::parse(text.as_bytes()).expect("JSON"))
    }

    #[test]
    fn writes_are_read() {
        let planned = parse_text(
            r#"{"writes":[
                {"collection":"a","id":"1","put":{"x":1},"base":"abababababababababababababababab"},
                {"collection":"a","id":"2","merge":{"x":null},"if_match":"*"},
                {"collection":"a","id":"3","patch":[{"op":"remove","path":"/x"}],"if_none_match":true},
                {"collection":"a","id":"4","ops":[{"op":"increment","path":"/n","by":-1},{"op":"delete","path":"/l","index":0}]},
                {"collection":"a","id":"5","delete":true,"if_match":"\"abababababababababababababababab\""}]}"#,
        )
        .expect("a transaction");
        let [put, merge, patch, ops, delete] = planned.as_slice() else { panic!("{planned:?}") };
        assert!(put.base.is_some() && matches!(put.write.write, Write::Put { .. }));
        assert!(merge.write.expect == Expect::Present && matches!(merge.write.write, Write::MergePatch(_)));
        assert!(patch.write.expect == Expect::Absent && matches!(patch.write.write, Write::JsonPatch(_)));
        let expected = [
            TypedOp::Increment { path: "/n".to_owned(), by: -1 },
            TypedOp::Delete { path: "/l".to_owned(), index: 0, count: 1 },
        ];
        assert_eq!(ops.write.write, Write::Ops(expected.into()));
        assert!(matches!(delete.write.expect, Expect::Revision(_)) && delete.write.write == Write::Delete);
    }

    #[test]
    fn wrong_writes_are_named() {
        for (write, reason) in [
            (r#"{"id":"1","put":{}}"#, "`collection` is missing"),
            (r#"{"collection":"a","put":{}}"#, "`id` is missing"),
            (r#"{"collection":"a","id":"1"}"#, "exactly one"),
            (r#"{"collection":"a","id":"1","put":{},"delete":true}"#, "exactly one"),
            (r#"{"collection":"a","id":"1","delete":false}"#, "only true"),
            (r#"{"collection":"a","id":"1","delete":true,"base":"00000000000000000000000000000000"}"#, "`base`"),
            (r#"{"collection":"a","id":"1","upsert":{}}"#, "no member `upsert`"),
            (r#"{"collection":"changes","id":"1","put":{}}"#, "cannot be called"),
            (r#"{"collection":"a","id":"1","ops":[{"op":"increment","path":"/n","by":1.5}]}"#, "not an integer"),
            (r#"{"collection":"a","id":"1","ops":[{"op":"insert","path":"/n","index":-1,"values":[]}]}"#, "negative"),
            (r#"{"collection":"a","id":"1","ops":[{"op":"increment","path":"/n","by":1,"at":2}]}"#, "no member `at`"),
        ] {
            let problem = parse_text(&format!("{{\"writes\":[{write}]}}")).expect_err(write);
            let shown = problem.to_json();
            assert!(shown["detail"].as_str().is_some_and(|detail| detail.contains(reason)), "{write}: {shown}");
            assert_eq!(shown["index"], 0);
        }
        assert!(parse_text(r#"{"writes":[]}"#).is_err());
        assert!(parse_text("[]").is_err());
    }
}
