//! A recursive-descent parser that sees the literal text of every number.

use super::{Fields, Json, VIEW_DEPTH_MAX};

/// A text that is not JSON as Tombolo takes it. Caller's fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct JsonError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: JsonReason,
}

/// Why a text is not taken. All are the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonReason {
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// Something else was expected here, or the text ended.
    #[error("expected {0}")]
    Expected(&'static str),
    /// More than [`VIEW_DEPTH_MAX`] containers within each other.
    #[error("nested deeper than 128")]
    TooDeep,
    /// One key twice in one object.
    #[error("key `{0}` twice in one object")]
    DuplicateKey(String),
    /// A number that cannot be kept exactly (an integer no double equals) or at all (overflow).
    #[error("number `{0}` cannot be kept: write it as a string")]
    Number(String),
    /// Half of a surrogate pair, which no UTF-8 string can hold.
    #[error("half a surrogate pair in a string")]
    Surrogate,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            return Err(locate(&String::from_utf8_lossy(good), JsonReason::Utf8));
        }
    };
    let mut parser = Parser { text, at: 0 };
    let parsed = parser.document();
    parsed.map_err(|reason| locate(text.get(..parser.at).unwrap_or(text), reason))
}

fn locate(before: &str, reason: JsonReason) -> JsonError {
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    JsonError { line, column, reason }
}

struct Parser<'a> {
    text: &'a str,
    /// Always on a character boundary: advanced past ASCII, or past runs that end before ASCII.
    at: usize,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Json, JsonReason> {
        let value = self.value(0)?;
        self.space();
        if self.at == self.text.len() { Ok(value) } else { Err(JsonReason::Expected("the end of the text")) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonReason> {
        self.space();
        debug_assert!(self.text.is_char_boundary(self.at) && depth <= VIEW_DEPTH_MAX, "between characters, in bounds");
        match self.peek() {
            Some(b'{' | b'[') if depth == VIEW_DEPTH_MAX => Err(JsonReason::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            _ => Err(JsonReason::Expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, JsonReason> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(value);
        }
        Err(JsonReason::Expected("a value"))
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonReason> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat(b']') {
                return Ok(Json::Array(items));
            }
            if !self.eat(b',') {
                return Err(JsonReason::Expected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonReason> {
        self.at += 1;
        let mut fields = Fields::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(JsonReason::Expected("a key in quotes"));
            }
            let key = self.string()?;
            if fields.contains_key(&key) {
                self.at = start;
                return Err(JsonReason::DuplicateKey(key));
            }
            self.space();
            if !self.eat(b':') {
                return Err(JsonReason::Expected("`:`"));
            }
            let value = self.value(depth)?;
            fields.insert(key, value);
            self.space();
            if self.eat(b'}') {
                return Ok(Json::Object(fields));
            }
            if !self.eat(b',') {
                return Err(JsonReason::Expected("`,` or `}`"));
            }
        }
    }

    fn string(&mut self) -> Result<String, JsonReason> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let run = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
            out.push_str(self.text.get(self.at..self.at + run).unwrap_or_default());
            self.at += run;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => {
                    return Err(JsonReason::Expected("an escape: control characters are not allowed in strings"));
                }
                None => return Err(JsonReason::Expected("the closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonReason> {
        let plain = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(JsonReason::Expected("a known escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, JsonReason> {
        let first = self.hex()?;
        if let Some(char) = char::from_u32(first) {
            return Ok(char);
        }
        if first >= 0xdc00 || !(self.eat(b'\\') && self.eat(b'u')) {
            return Err(JsonReason::Surrogate);
        }
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(JsonReason::Surrogate);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(JsonReason::Surrogate)
    }

    fn hex(&mut self) -> Result<u32, JsonReason> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or(JsonReason::Expected("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn digits(&mut self) -> Result<(), JsonReason> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(JsonReason::Expected("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json, JsonReason> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        let mut integer = true;
        if self.eat(b'.') {
            integer = false;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            integer = false;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        let literal = self.text.get(start..self.at).unwrap_or_default();
        number(literal, integer).ok_or_else(|| {
            self.at = start;
            JsonReason::Number(literal.chars().take(60).collect())
        })
    }
}

/// The value of a literal that follows the grammar, if it can be kept.
fn number(literal: &str, integer: bool) -> Option<Json> {
    if integer {
        if let Ok(int) = literal.parse() {
            return Some(Json::Int(int));
        }
        if let Ok(uint) = literal.parse() {
            return Some(Json::Uint(uint));
        }
    }
    let float: f64 = literal.parse().ok()?;
    if !float.is_finite() || (integer && format!("{float:.0}") != literal) {
        return None;
    }
    Some(Json::Float(if float == 0.0 { 0.0 } else { float }))
}
