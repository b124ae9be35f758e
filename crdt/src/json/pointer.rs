//! JSON Pointers (RFC 6901).

/// A text that is not a JSON Pointer. Caller's fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a JSON Pointer: write `/field/0`, `~1` for `/`, `~0` for `~`")]
pub struct PointerError(pub String);

/// The steps of a pointer; none for the whole document.
pub fn parse(text: &str) -> Result<Vec<String>, PointerError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = || PointerError(text.chars().take(200).collect());
    let steps = text.strip_prefix('/').ok_or_else(wrong)?;
    steps.split('/').map(|step| unescape(step).ok_or_else(wrong)).collect()
}

fn unescape(step: &str) -> Option<String> {
    let mut out = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(char) = chars.next() {
        out.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

/// The pointer of some steps: what [`parse`] reads.
#[must_use]
pub fn write<S: AsRef<str>>(steps: &[S]) -> String {
    let mut out = String::new();
    for step in steps {
        out.push('/');
        for char in step.as_ref().chars() {
            match char {
                '~' => out.push_str("~0"),
                '/' => out.push_str("~1"),
                other => out.push(other),
            }
        }
    }
    debug_assert!(parse(&out).is_ok_and(|read| read.iter().eq(steps.iter().map(S::as_ref))), "it is read as written");
    out
}

/// A step as an array index: decimal digits without a leading zero.
#[must_use]
pub fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { step.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_escapes() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("/"), Ok(vec![String::new()]));
        assert_eq!(parse("/a~1b/~01/0"), Ok(vec!["a/b".into(), "~1".into(), "0".into()]));
        for text in ["", "/", "/a~1b/~01/0"] {
            assert_eq!(write(&parse(text).unwrap()), text);
        }
        for wrong in ["a", "/~", "/~2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (index("0"), index("10"), index("01"), index(""), index("-1")),
            (Some(0), Some(10), None, None, None)
        );
    }
}
