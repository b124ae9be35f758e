//! NDJSON coming in: lines out of chunks, and ids out of lines.

use tombolo_crdt::json::Json;

/// Bytes of the longest line that is taken: the largest entry, so that also an entity goes in again that merging made
/// larger than a write may make it.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// Cuts chunks into lines. Holds at most one line.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    open: Vec<u8>,
    number: u64,
    /// The open line is beyond the limit; its rest is dropped.
    is_over: bool,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its bytes, without the line feed; `None`: over [`LINE_BYTES_MAX`].
    pub(super) bytes: Option<Vec<u8>>,
}

impl LineSplitter {
    /// Calls `take` for every line that ends in the chunk.
    pub(super) fn push(&mut self, chunk: &[u8], mut take: impl FnMut(Line)) {
        let mut pieces = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.add(piece);
            if pieces.peek().is_some() {
                take(self.end());
            }
        }
    }

    /// The last line, if it has no line feed.
    pub(super) fn finish(&mut self) -> Option<Line> {
        (self.is_over || !self.open.is_empty()).then(|| self.end())
    }

    fn add(&mut self, piece: &[u8]) {
        if self.open.len() + piece.len() > LINE_BYTES_MAX {
            self.is_over = true;
            self.open = Vec::new();
        }
        if !self.is_over {
            self.open.extend_from_slice(piece);
        }
        assert!(self.open.len() <= LINE_BYTES_MAX, "what is held of a line is bounded");
    }

    fn end(&mut self) -> Line {
        self.number += 1;
        let bytes = std::mem::take(&mut self.open);
        let is_over = std::mem::take(&mut self.is_over);
        Line { number: self.number, bytes: (!is_over).then_some(bytes) }
    }
}

/// How a line's id is found: text and fields in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl IdTemplate {
    /// The id is a field's value.
    pub(super) fn field(name: &str) -> Self {
        Self(vec![Part::Field(name.to_owned())])
    }

    /// Text with `{field}` placeholders; `{{` and `}}` stand for braces.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.peek() == Some(&c) => {
                    chars.next();
                    literal.push(c);
                }
                '}' => return Err("a `}` without its `{`; write `}}` for the character".to_owned()),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some('}') if name.is_empty() => return Err("`{}` names no field".to_owned()),
                            Some('}') => break,
                            Some(c) => name.push(c),
                            None => return Err("a `{` without its `}`; write `{{` for the character".to_owned()),
                        }
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Field(name));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.iter().any(|part| matches!(part, Part::Field(_))) {
            Ok(Self(parts))
        } else {
            Err("it has no `{field}`: every line would get the same id".to_owned())
        }
    }

    /// The id of a value.
    pub(super) fn id(&self, value: &Json) -> Result<String, String> {
        let Some(fields) = value.as_object() else { return Err("the line is not an object".to_owned()) };
        let mut id = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => id.push_str(text),
                Part::Field(name) => match fields.get(name) {
                    Some(Json::String(text)) => id.push_str(text),
                    Some(number @ (Json::Int(_) | Json::Uint(_))) => {
                        id.push_str(&String::from_utf8_lossy(&number.to_bytes()));
                    }
                    Some(_) => return Err(format!("field `{name}` is neither a string nor an integer")),
                    None => return Err(format!("there is no field `{name}`")),
                },
            }
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&str]) -> Vec<(u64, Option<String>)> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk.as_bytes(), |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        lines.into_iter().map(|line| (line.number, line.bytes.map(text))).collect()
    }

    #[test]
    fn lines_do_not_depend_on_chunks() {
        let whole = split(&["a\nbc\n\nd"]);
        let expected = [(1, "a"), (2, "bc"), (3, ""), (4, "d")].map(|(n, text)| (n, Some(text.to_owned())));
        assert_eq!(whole, expected);
        assert_eq!(split(&["a", "\nb", "c\n", "\n", "d"]), expected);
        assert_eq!(split(&[""]), []);
        assert_eq!(split(&["a\n"]), [(1, Some("a".to_owned()))]);
    }

    #[test]
    fn a_line_over_the_limit_is_told_and_the_next_is_whole() {
        let long = "x".repeat(LINE_BYTES_MAX / 2 + 1);
        assert_eq!(split(&[&long, &long, "y\nz\n"]), [(1, None), (2, Some("z".to_owned()))]);
    }

    #[test]
    fn ids_from_fields_and_templates() {
        let value = Json::parse(br#"{"region":"eu","sku":17,"x":1.5,"s":""}"#).expect("JSON");
        assert_eq!(IdTemplate::field("sku").id(&value), Ok("17".to_owned()));
        let template = IdTemplate::parse("{{{region}-{sku}}}").expect("a template");
        assert_eq!(template.id(&value), Ok("{eu-17}".to_owned()));
        for (template, reason) in [("{x}", "neither"), ("{none}", "no field")] {
            let error = IdTemplate::parse(template).expect("a template").id(&value).expect_err(template);
            assert!(error.contains(reason), "{error}");
        }
        assert!(IdTemplate::field("a").id(&Json::Null).is_err());
        for wrong in ["", "constant", "{", "}", "{}", "a{b"] {
            assert!(IdTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
