//! What was written, with its place: TOML and lines of NDJSON alike.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;
use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::scenario::place::{Place, Problem, Source};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Table(Vec<Entry>),
    /// Something no key takes: a date, an infinite number.
    Other(&'static str),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) value: Tree,
}

/// A text being read, and what was wrong with it so far.
#[derive(Debug)]
pub(super) struct Desk<'d> {
    pub(super) source: &'d Source,
    pub(super) problems: &'d mut Vec<Problem>,
}

impl Desk<'_> {
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.source.place(span.start)
    }

    /// Notes a problem; gives nothing, so that it can end a reader.
    pub(super) fn wrong<T>(&mut self, span: &Range<usize>, message: impl Into<String>) -> Option<T> {
        self.problems.push(Problem::new(&self.source.place(span.start), message));
        None
    }
}

impl Tree {
    /// What it is, for messages.
    pub(super) const fn is_a(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Other(what) => what,
        }
    }

    /// The whole of a TOML text. All errors of its grammar at once.
    pub(super) fn of_toml(desk: &mut Desk<'_>) -> Option<Self> {
        let source = desk.source;
        let (table, errors) = DeTable::parse_recoverable(source.text());
        if errors.is_empty() {
            let span = 0..source.text().len();
            return Some(Self { span, kind: Kind::Table(entries(table.into_inner())) });
        }
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            desk.wrong::<()>(&span, format!("not TOML: {}", error.message().replace('\n', "; ")));
        }
        None
    }

    /// JSON that stands verbatim at an offset of the source. Every value has its own place; a key has that of its
    /// value. O(text × depth), and JSON is at most 128 deep.
    pub(super) fn of_json(text: &str, offset: usize) -> Result<Self, serde_json::Error> {
        let at = |part: &RawValue| offset + (part.get().as_ptr().addr() - text.as_ptr().addr());
        let below = |part: &RawValue| Self::of_json(part.get(), at(part));
        let begin = offset + (text.len() - text.trim_start().len());
        let kind = match text.trim_start().as_bytes().first() {
            Some(b'{') => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
                let entry = |(key, part): (String, &RawValue)| {
                    let value = below(part)?;
                    Ok(Entry { key, span: value.span.clone(), value })
                };
                Kind::Table(fields.into_iter().map(entry).collect::<Result<_, serde_json::Error>>()?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                Kind::List(items.into_iter().map(below).collect::<Result<_, _>>()?)
            }
            _ => match serde_json::from_str(text)? {
                Value::Bool(value) => Kind::Bool(value),
                Value::Number(value) => Kind::Number(value),
                Value::String(value) => Kind::Text(value),
                Value::Null | Value::Array(_) | Value::Object(_) => Kind::Null,
            },
        };
        Ok(Self { span: begin..begin + text.trim().len(), kind })
    }

    /// As JSON, for the content of entities.
    pub(super) fn to_json(&self, desk: &mut Desk<'_>) -> Option<Value> {
        Some(match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(value) => Value::String(value.clone()),
            Kind::List(items) => Value::Array(items.iter().map(|item| item.to_json(desk)).collect::<Option<_>>()?),
            Kind::Table(fields) => {
                let pairs = fields.iter().map(|entry| Some((entry.key.clone(), entry.value.to_json(desk)?)));
                Value::Object(pairs.collect::<Option<_>>()?)
            }
            Kind::Other(what) => return desk.wrong(&self.span, format!("content is JSON and cannot be {what}")),
        })
    }
}

fn tree(value: Spanned<DeValue<'_>>) -> Tree {
    let span = value.span();
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let signed = i64::from_str_radix(number.as_str(), number.radix()).map(Number::from);
            let number = signed.or_else(|_| u64::from_str_radix(number.as_str(), number.radix()).map(Number::from));
            number.map_or(Kind::Other("a number beyond 64 bits"), Kind::Number)
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(Number::from_f64);
            number.map_or(Kind::Other("an infinite number"), Kind::Number)
        }
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Datetime(_) => Kind::Other("a date"),
        DeValue::Array(items) => Kind::List(items.into_iter().map(tree).collect()),
        DeValue::Table(table) => Kind::Table(entries(table)),
    };
    Tree { span, kind }
}

/// In the order of the file.
fn entries(table: DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, value): (Spanned<_>, _)| {
        let span = key.span();
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        Entry { key: key.into_owned(), span, value: tree(value) }
    };
    let mut entries: Vec<Entry> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.span.start);
    entries
}
