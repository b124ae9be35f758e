//! Assertions of the scenario: CEL over what the survivors show.
//!
//! Maps have no order in CEL: an assertion must not rely on the order in which a macro goes through one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, ParseErrors, Program, Value};
use tombolo_crdt::entity::{Conflict, EntityState, Step};
use tombolo_crdt::json::Json;

use super::acks::Acks;
use super::fault::Fault;
use super::shown::shown;
use super::values::Rows;
use crate::outcome::{Oracle, Stats};
use crate::plan::{Action, NodeNo, Over, Plan};

/// Why an expression cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The expression does not parse.
    #[error("{0}")]
    Parse(#[from] ParseErrors),
}

/// Parses an expression, so that a scenario can be refused before it runs.
///
/// # Errors
/// [`AssertionError::Parse`]: where and what.
pub fn compile(expression: &str) -> Result<Program, AssertionError> {
    Ok(Program::compile(expression)?)
}

/// What an assertion sees: names and values.
pub(super) type Scope = BTreeMap<&'static str, Value>;

/// Most characters of an assertion's name in the place of a violation.
const NAME_CHARS_MAX: usize = 80;

/// Why an assertion does not hold: what is said of it, and more for people. Two that differ in the first are two
/// failures: one that is false must not be minimised into one whose data is not there any more.
type Why = (&'static str, String);

/// Evaluates an assertion. `Err`: it is false, no bool, or cannot be evaluated; which of them.
fn holds(program: &Program, scope: Scope) -> Result<(), Why> {
    let mut context = Context::default();
    for (name, value) in &scope {
        context.add_variable_from_value(*name, value.clone());
    }
    let (what, more) = match program.execute(&context) {
        Ok(Value::Bool(true)) => return Ok(()),
        Ok(Value::Bool(false)) => ("is false", String::new()),
        Ok(_) => ("gives no bool", String::new()),
        Err(error) => ("cannot be evaluated", format!(": {error}")),
    };
    let values = shown(program.expression(), &scope);
    let values = if values.is_empty() { values } else { format!("; {values}") };
    Err((what, more + &values))
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

fn list(values: Vec<Value>) -> Value {
    Value::List(Arc::new(values))
}

fn map(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    let fields: HashMap<Key, Value> = fields.into_iter().map(|(key, value)| (Key::from(key), value)).collect();
    Value::Map(Map { map: Arc::new(fields) })
}

/// JSON as CEL sees it: whole numbers are int, those beyond it uint.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Int(int) => Value::Int(*int),
        Json::Uint(uint) => Value::UInt(*uint),
        Json::Float(float) => json.as_i64().map_or(Value::Float(*float), Value::Int),
        Json::String(string) => text(string),
        Json::Array(items) => list(items.iter().map(value).collect()),
        Json::Object(fields) => map(fields.iter().map(|(key, json)| (key.clone(), value(json)))),
    }
}

/// JSON Pointer → values.
fn conflicts(found: &[Conflict]) -> Value {
    map(found.iter().map(|conflict| {
        let step = |step: &Step| match step {
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => format!("/{index}"),
        };
        let pointer: String = conflict.path.iter().map(step).collect();
        (pointer, list(conflict.values.iter().map(|shown| value(&shown.value)).collect()))
    }))
}

/// What readers see of an entity: nothing of one that is gone.
fn view(state: &EntityState) -> Value {
    if state.is_present() { value(&state.view()) } else { map([]) }
}

/// collection → id → what `of` gives for each present entity.
fn by_collection(rows: &Rows, of: impl Fn(&EntityState) -> Value) -> Value {
    let mut collections: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for ((collection, id), state) in rows.iter().filter(|(_, state)| state.is_present()) {
        collections.entry(collection.clone()).or_default().push((id.clone(), of(state)));
    }
    map(collections.into_iter().map(|(collection, ids)| (collection, map(ids))))
}

/// The acknowledged writes of the plan, in the order of their numbers, one per entity.
fn writes(plan: &Plan, acks: &Acks, space: usize) -> Value {
    let acknowledged = plan.writes.iter().filter(|write| write.space == space && acks.writes.contains_key(&write.no));
    let name = |node: NodeNo| plan.nodes.get(node).map_or("", |node| node.name.as_str());
    let all = acknowledged.flat_map(|write| {
        write.edits.iter().map(move |edit| {
            let at = i64::try_from(write.at.as_millis()).unwrap_or(i64::MAX);
            let mut fields = vec![
                ("node".to_owned(), text(name(write.node))),
                ("at".to_owned(), Value::Int(at)),
                ("collection".to_owned(), text(&edit.collection)),
                ("id".to_owned(), text(&edit.id)),
            ];
            let json = |value: &serde_json::Value| Json::parse(value.to_string().as_bytes()).unwrap_or(Json::Null);
            match &edit.action {
                Action::Put(put) => {
                    fields.extend([("action".into(), text("put")), ("value".into(), value(&json(put)))]);
                }
                Action::Patch(patch) => {
                    fields.extend([("action".into(), text("patch")), ("value".into(), value(&json(patch)))]);
                }
                Action::Increment { path, by } => fields.extend([
                    ("action".into(), text("increment")),
                    ("path".into(), text(path)),
                    ("by".into(), Value::Int(*by)),
                ]),
                Action::Delete => fields.push(("action".into(), text("delete"))),
            }
            map(fields)
        })
    });
    list(all.collect())
}

/// Checks the assertions about `space` at one survivor, and counts in `stats` how often each was evaluated.
pub(super) fn check(
    plan: &Plan,
    acks: &Acks,
    (space, node): (usize, NodeNo),
    rows: &Rows,
    stats: &mut Stats,
) -> Result<(), Fault> {
    let name = text(plan.nodes.get(node).map_or("", |node| node.name.as_str()));
    for assertion in &plan.assertions {
        let failed = |about: &str, (what, more): Why| {
            let detail = format!("`{}`{about}: it {what}{more}", assertion.name);
            Fault::new(Oracle::Assertion, what, detail).by(short(&assertion.name)).at(node)
        };
        let program =
            || compile(&assertion.expression).map_err(|error| failed("", ("is not CEL", format!(": {error}"))));
        match &assertion.over {
            Over::Entity { space: of, collection } if *of == space => {
                let program = program()?;
                let evaluated = stats.assertions.entry(assertion.name.clone()).or_default();
                for ((_, id), state) in rows.iter().filter(|((at, _), _)| at == collection) {
                    *evaluated += 1;
                    let scope = entity(id, state, &name);
                    holds(&program, scope).map_err(|why| failed(&format!(" for {collection}/{id}"), why))?;
                }
            }
            Over::Node { space: of } if *of == space => {
                let spaces = plan.spaces.iter().filter(|space| space.members.iter().any(|(member, _)| *member == node));
                let scope = Scope::from([
                    ("node", name.clone()),
                    ("views", by_collection(rows, view)),
                    ("conflicts", by_collection(rows, |state| conflicts(&state.conflicts()))),
                    ("writes", writes(plan, acks, space)),
                    ("spaces", list(spaces.map(|space| text(&space.name)).collect())),
                ]);
                *stats.assertions.entry(assertion.name.clone()).or_default() += 1;
                holds(&program()?, scope).map_err(|why| failed("", why))?;
            }
            Over::Entity { .. } | Over::Node { .. } => {}
        }
    }
    Ok(())
}

/// An assertion's name as part of a place.
fn short(name: &str) -> String {
    format!("`{}`", name.chars().take(NAME_CHARS_MAX).collect::<String>())
}

fn entity(id: &str, state: &EntityState, node: &Value) -> Scope {
    Scope::from([
        ("id", text(id)),
        ("entity", view(state)),
        ("conflicts", conflicts(&state.conflicts())),
        ("present", Value::Bool(state.is_present())),
        ("node", node.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::entity::{Provenance, Write, Writer};
    use tombolo_crdt::{FeedId, Hlc};

    use super::*;

    fn state(json: &str) -> EntityState {
        let empty = EntityState::new();
        let mut writer = Writer::new(&empty, FeedId::from_bytes([1; 16]), Hlc::from_millis(1));
        writer.write(&Write::Put { value: Json::parse(json.as_bytes()).unwrap(), base: None }).unwrap();
        writer.finish(&Provenance::default(), 1).unwrap().unwrap().1
    }

    fn says(expression: &str) -> Result<(), Why> {
        let state = state(r#"{"stock":3,"big":18446744073709551615,"tags":["a"],"price":1.5,"deep":{"x":null}}"#);
        holds(&compile(expression).unwrap(), entity("o-1", &state, &text("berlin")))
    }

    #[test]
    fn expressions_see_entities() {
        for truth in [
            "present && id == 'o-1' && node == 'berlin'",
            "entity.stock >= 0 && entity.price < 2.0 && entity.tags[0] == 'a'",
            "entity.deep.x == null && entity.big > 5u",
            "size(conflicts) == 0 && !('/stock' in conflicts)",
            "has(entity.stock) && !has(entity.other)",
        ] {
            assert_eq!(says(truth), Ok(()), "{truth}");
        }
    }

    #[test]
    fn what_is_false_no_bool_or_an_error_does_not_hold() {
        let what = |expression| says(expression).unwrap_err().0;
        let more = |expression| says(expression).unwrap_err().1;
        assert_eq!(
            more("entity.stock > 3 && conflicts.size() == 0 || entity.deep['x'] != null"),
            "; conflicts = {}, entity.deep.x = null, entity.stock = 3"
        );
        assert_eq!(more("entity.tags.all(tag, tag == 'b')"), "; entity.tags = [\"a\"]");
        let missing = more("entity.deep.y.z > 1");
        assert!(missing.ends_with("; entity.deep = {\"x\":null}"), "{missing}");
        assert_eq!(more("1 > 2"), "");
        assert_eq!(what("entity.stock > 3"), "is false");
        assert_eq!(what("entity.stock"), "gives no bool");
        assert_eq!(what("entity.other > 1"), "cannot be evaluated");
        assert!(compile("entity.stock >").is_err());
    }
}
