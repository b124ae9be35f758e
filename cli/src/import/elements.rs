//! Takes a JSON array apart without parsing or holding it: each element becomes one line.
//!
//! Only as much is understood as is needed to find where elements end; whether an element is JSON is for the node to
//! say. Line ends between tokens become spaces. Within strings, where JSON forbids them, they become another forbidden
//! character, so that a malformed element stays malformed.

use std::io::{self, BufRead};

/// Most bytes of one element.
pub(crate) const ELEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why an array cannot be taken apart any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElementError {
    /// The source failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The source ends within the array.
    #[error("the array has no end: the file is cut off")]
    Truncated,
    /// Something else than what may stand there.
    #[error("expected {expected}, found `{}`", found.escape_ascii())]
    Unexpected {
        /// What may stand there.
        expected: &'static str,
        /// What does.
        found: u8,
    },
    /// An element over the limit.
    #[error("an element is larger than {ELEMENT_BYTES_MAX} bytes")]
    TooLarge,
}

/// Where in the array we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    /// After `[`.
    Begin,
    /// After an element.
    Between,
    /// After `]`.
    End,
}

impl Elements {
    /// Appends the next element to `line`; `false` at the end of the array.
    pub(crate) fn next(&mut self, input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, ElementError> {
        if *self == Self::End {
            return Ok(false);
        }
        let mut byte = peek_token(input)?.ok_or(ElementError::Truncated)?;
        if byte == b']' {
            input.consume(1);
            *self = Self::End;
            return match peek_token(input)? {
                None => Ok(false),
                Some(found) => Err(ElementError::Unexpected { expected: "nothing after the array", found }),
            };
        }
        if *self == Self::Between {
            if byte != b',' {
                return Err(ElementError::Unexpected { expected: "`,` or `]` after an element", found: byte });
            }
            input.consume(1);
            byte = peek_token(input)?.ok_or(ElementError::Truncated)?;
        }
        if matches!(byte, b',' | b']' | b'}' | b':') {
            return Err(ElementError::Unexpected { expected: "an element", found: byte });
        }
        scan(input, line)?;
        *self = Self::Between;
        Ok(true)
    }
}

/// The next byte that is no white space, not consumed.
fn peek_token(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let white = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let found = buffer.get(white).copied();
        input.consume(white);
        if found.is_some() {
            return Ok(found);
        }
    }
}

/// Copies one element, up to but without the `,` or `]` behind it.
fn scan(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<(), ElementError> {
    let (begin, mut state) = (line.len(), Scan::default());
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Err(ElementError::Truncated);
        }
        let mut used = 0;
        let mut ended = false;
        for &byte in buffer {
            let step = state.step(byte);
            if step == Step::Before {
                ended = true;
                break;
            }
            used += 1;
            line.push(match byte {
                b'\n' | b'\r' if state.in_string => 1,
                b'\n' | b'\r' => b' ',
                _ => byte,
            });
            if step == Step::Last {
                ended = true;
                break;
            }
        }
        input.consume(used);
        if ended {
            assert!(state.depth == 0 && !state.in_string, "an element ends where all that it opened is closed");
            debug_assert!(!line[begin..].contains(&b'\n'), "an element is one line");
            return Ok(());
        }
        if line.len() - begin > ELEMENT_BYTES_MAX {
            return Err(ElementError::TooLarge);
        }
    }
}

#[derive(Default)]
struct Scan {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

#[derive(PartialEq, Eq)]
enum Step {
    /// The byte belongs to the element.
    Take,
    /// The byte is its last.
    Last,
    /// The element has ended before it.
    Before,
}

impl Scan {
    fn step(&mut self, byte: u8) -> Step {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Step::Last;
                    }
                }
                _ => (),
            }
            return Step::Take;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Last;
                }
            }
            b']' | b',' if self.depth == 0 => return Step::Before,
            _ if self.depth == 0 && byte.is_ascii_whitespace() => return Step::Before,
            _ => (),
        }
        Step::Take
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn split(text: &[u8], capacity: usize) -> Result<Vec<Vec<u8>>, ElementError> {
        let mut input = BufReader::with_capacity(capacity, Cursor::new(text));
        assert_eq!(peek_token(&mut input)?, Some(b'['));
        input.consume(1);
        let (mut elements, mut lines) = (Elements::Begin, Vec::new());
        loop {
            let mut line = Vec::new();
            if !elements.next(&mut input, &mut line)? {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\[\\]{}\",\\\\\n ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_array_gives_its_elements(items in prop::collection::vec(any_json(), 0..8), capacity in 1_usize..64, pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&items) } else { serde_json::to_vec(&items) }.expect("writes");
            let lines = split(&text, capacity).expect("splits");
            prop_assert!(lines.iter().all(|line| !line.contains(&b'\n') && !line.contains(&b'\r')));
            let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_slice(line).expect("parses")).collect();
            prop_assert_eq!(parsed, items);
        }

        #[test]
        fn a_cut_off_array_is_noticed(items in prop::collection::vec(any_json(), 1..5), at in any::<prop::sample::Index>()) {
            let text = serde_json::to_vec(&items).expect("writes");
            let cut = &text[..1 + at.index(text.len() - 1)];
            prop_assert!(matches!(split(cut, 16), Err(ElementError::Truncated)), "{}", cut.escape_ascii());
        }

        #[test]
        fn garbage_never_loops_or_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            bytes.insert(0, b'[');
            split(&bytes, 7).ok();
        }
    }

    #[test]
    fn what_is_no_array() {
        for text in ["[,]", "[1,]", "[1 2]", "[{}{}]", "[1]x", "[}", "[\"a\"\"b\"]"] {
            assert!(matches!(split(text.as_bytes(), 8), Err(ElementError::Unexpected { .. })), "{text}");
        }
        for text in ["[", "[1", "[1,", "[\"a", "[{\"a\":[1,2]"] {
            assert!(matches!(split(text.as_bytes(), 8), Err(ElementError::Truncated)), "{text}");
        }
    }

    #[test]
    fn a_line_end_in_a_string_stays_malformed() {
        let lines = split(b"[\"a\nb\"]", 8).expect("splits");
        assert!(serde_json::from_slice::<Value>(&lines[0]).is_err());
    }
}
