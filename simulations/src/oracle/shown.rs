//! The values that an assertion looked at, for people who have to find out why it is false.

use std::collections::BTreeMap;

use cel::Value;
use cel::common::ast::operators::INDEX;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::{Key, Map};

use super::assertion::Scope;

/// Most values that are told of one assertion: more is no help.
const VALUES_MAX: usize = 6;
/// Most characters of one value: a whole view may have megabytes.
const VALUE_CHARS_MAX: usize = 160;

/// `conflicts = {"/guest":["Ada","Ben"]}, views.stats.day.delivered = 29`: every name of an expression with the fields
/// behind it, as far as they are there. Empty if it names nothing that is known. O(expression × fields of the maps on
/// its paths).
pub(super) fn shown(expression: &IdedExpr, scope: &Scope) -> String {
    let mut found = Found { scope, values: BTreeMap::new() };
    found.walk(expression);
    let more = found.values.len().saturating_sub(VALUES_MAX);
    let mut told: Vec<String> =
        found.values.iter().take(VALUES_MAX).map(|(path, value)| format!("{path} = {value}")).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join(", ")
}

struct Found<'s> {
    scope: &'s Scope,
    /// By path, so that each is told once and in one order.
    values: BTreeMap<String, String>,
}

impl Found<'_> {
    fn walk(&mut self, expression: &IdedExpr) {
        if let Some(steps) = path(expression) {
            self.look_up(&steps);
            return;
        }
        match &expression.expr {
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|part| self.walk(part)),
            // What a macro binds is no name of the scope: it goes through what is told here.
            Expr::Comprehension(all) => {
                for part in [&all.iter_range, &all.loop_cond, &all.loop_step, &all.result] {
                    self.walk(part);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|part| self.walk(part)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(fields) => fields.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Select(select) => self.walk(&select.operand),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.walk(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.walk(&entry.key);
                self.walk(&entry.value);
            }
        }
    }

    /// Tells the value at the end of a path, or where the path ends before.
    fn look_up(&mut self, steps: &[String]) {
        let Some((root, steps)) = steps.split_first() else { return };
        let Some(mut value) = self.scope.get(root.as_str()) else { return };
        let mut path = root.clone();
        for step in steps {
            let Value::Map(map) = value else { break };
            let Some(next) = map.map.get(&Key::from(step.as_str())) else { break };
            let plain = step.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            path.push_str(&if plain { format!(".{step}") } else { format!("['{step}']") });
            value = next;
        }
        self.values.entry(path).or_insert_with(|| short(value));
    }
}

/// The steps of `a.b['c']`; none if it is something else.
fn path(expression: &IdedExpr) -> Option<Vec<String>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut steps = path(&select.operand)?;
            steps.push(select.field.clone());
            Some(steps)
        }
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == INDEX => {
            let [of, at] = args.as_slice() else { return None };
            let Expr::Literal(LiteralValue::String(at)) = &at.expr else { return None };
            let mut steps = path(of)?;
            steps.push(at.inner().to_owned());
            Some(steps)
        }
        _ => None,
    }
}

fn short(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    if out.chars().count() <= VALUE_CHARS_MAX {
        return out;
    }
    out.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}

/// As JSON, with the keys of maps in order; not much further than what is shown of it.
fn write(value: &Value, out: &mut String) {
    if out.len() > VALUE_CHARS_MAX * 4 {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::UInt(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(&quoted(text)),
        Value::List(items) => {
            out.push('[');
            for (nth, item) in items.iter().enumerate() {
                out.push_str(if nth > 0 { "," } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => fields(map, out),
        other => out.push_str(&format!("a {}", other.type_of())),
    }
}

#[expect(clippy::disallowed_methods, reason = "they are put in order at once")]
fn fields(map: &Map, out: &mut String) {
    let ordered: BTreeMap<String, &Value> = map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
    out.push('{');
    for (nth, (key, value)) in ordered.into_iter().enumerate() {
        out.push_str(if nth > 0 { "," } else { "" });
        out.push_str(&quoted(&key));
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
