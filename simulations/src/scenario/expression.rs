//! Assertions in CEL: whether they can be computed at all, found out before any run.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use cel::objects::ValueType;
use cel::{Context, Program};

/// What an assertion over entities may name.
pub(super) const OF_ENTITY: &[&str] = &["id", "entity", "conflicts", "present", "node"];
/// What an assertion over nodes may name.
pub(super) const OF_NODE: &[&str] = &["node", "views", "conflicts", "writes", "spaces"];

/// What is wrong with an expression, and where in it (line and column from 1; 0: all of it).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

/// Checks grammar, names and functions, and that it is not plainly something else than true or false. O(expression).
pub(super) fn check(expression: &str, variables: &[&str]) -> Result<(), Vec<Wrong>> {
    let program = Program::compile(expression).map_err(|errors| {
        let wrong = |error: &cel::ParseError| Wrong {
            line: usize::try_from(error.pos.0).unwrap_or(0),
            column: usize::try_from(error.pos.1).unwrap_or(0),
            message: format!("the assertion is not CEL: {}", error.msg),
        };
        errors.errors.iter().map(wrong).collect::<Vec<_>>()
    })?;
    let mut used = Used::default();
    used.walk(program.expression(), &mut Vec::new());
    let whole = |message| Wrong { line: 0, column: 0, message };
    let mut wrong: Vec<Wrong> = Vec::new();
    for name in used.names.iter().filter(|name| !variables.contains(*name) && !is_type(name)) {
        wrong.push(whole(format!("the assertion names `{name}`; it may name {}", variables.join(", "))));
    }
    for name in used.functions.iter().filter(|name| is_word(name) && !is_function(name)) {
        wrong.push(whole(format!("the assertion calls `{name}`, which CEL does not have")));
    }
    if wrong.is_empty() {
        wrong.extend(no_bool(&program, &used).map(whole));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// What an expression gives that cannot give true or false, as far as it is known without data.
fn no_bool(program: &Program, used: &Used<'_>) -> Option<String> {
    if let Some(kind) = kind(program.expression()) {
        return Some(format!("the assertion gives {kind}; it must give true or false"));
    }
    // Without names and loops it is the same everywhere, and takes no longer than it is long.
    if !used.names.is_empty() || used.loops {
        return None;
    }
    match program.execute(&Context::default()) {
        Ok(value) => {
            let kind = value.type_of();
            (!matches!(kind, ValueType::Bool))
                .then(|| format!("the assertion gives {kind}; it must give true or false"))
        }
        Err(error) => Some(format!("the assertion can never be evaluated: {error}")),
    }
}

/// What an expression gives for certain, if that is neither true nor false.
fn kind(expression: &IdedExpr) -> Option<&'static str> {
    match &expression.expr {
        Expr::List(_) => Some("a list"),
        Expr::Map(_) | Expr::Struct(_) => Some("a map"),
        Expr::Call(CallExpr { func_name, args, .. }) => match (func_name.as_str(), args.as_slice()) {
            ("_?_:_", [_, one, other]) => kind(one).or_else(|| kind(other)),
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_" | "-_", _) => Some("the result of a calculation"),
            ("size" | "int" | "uint" | "double", _) => Some("a number"),
            ("string", _) => Some("a text"),
            _ => None,
        },
        _ => None,
    }
}

fn is_type(name: &str) -> bool {
    ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "dyn", "optional"]
        .contains(&name)
}

/// Operators have signs in their names.
fn is_word(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_')
}

/// What cannot be added is there already.
fn is_function(name: &str) -> bool {
    Context::default().add_function(name, |number: i64| number).is_err()
}

/// Names and functions of an expression, without what comprehensions bind.
#[derive(Default)]
struct Used<'e> {
    names: BTreeSet<&'e str>,
    functions: BTreeSet<&'e str>,
    /// Whether it goes through lists or maps.
    loops: bool,
}

impl<'e> Used<'e> {
    fn walk(&mut self, expression: &'e IdedExpr, bound: &mut Vec<&'e str>) {
        match &expression.expr {
            Expr::Ident(name) => {
                if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                    self.names.insert(name);
                }
            }
            Expr::Call(call) => {
                self.functions.insert(&call.func_name);
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.walk(part, bound);
                }
            }
            Expr::Comprehension(all) => {
                self.loops = true;
                self.walk(&all.iter_range, bound);
                self.walk(&all.accu_init, bound);
                let before = bound.len();
                bound.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
                bound.extend(all.iter_var2.as_deref());
                for part in [&all.loop_cond, &all.loop_step, &all.result] {
                    self.walk(part, bound);
                }
                bound.truncate(before);
            }
            Expr::List(list) => list.elements.iter().for_each(|part| self.walk(part, bound)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, bound)),
            Expr::Struct(fields) => fields.entries.iter().for_each(|entry| self.entry(&entry.expr, bound)),
            Expr::Select(select) => self.walk(&select.operand, bound),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &'e EntryExpr, bound: &mut Vec<&'e str>) {
        match entry {
            EntryExpr::StructField(field) => self.walk(&field.value, bound),
            EntryExpr::MapEntry(entry) => {
                self.walk(&entry.key, bound);
                self.walk(&entry.value, bound);
            }
        }
    }
}
