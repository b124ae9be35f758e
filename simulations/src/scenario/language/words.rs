//! A schedule as statements of words.

/// A word and where it begins, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

/// Statements end with `;` or the line, `#` makes the rest of a line a comment. A comma is a word; a list may go on
/// after it on the same line. Empty statements are left out.
pub(super) fn statements(text: &str) -> Vec<Vec<Word<'_>>> {
    let (mut statements, mut offset) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        let mut at = offset;
        for statement in code.split_inclusive(';') {
            let words = words(statement.trim_end_matches(';'), at);
            if !words.is_empty() {
                statements.push(words);
            }
            at += statement.len();
        }
        offset += line.len();
    }
    statements
}

fn words(statement: &str, offset: usize) -> Vec<Word<'_>> {
    let (mut words, mut begin) = (Vec::new(), None);
    let mut end_word = |begin: &mut Option<usize>, end: usize| {
        if let Some(begin) = begin.take() {
            words.push(Word { text: &statement[begin..end], at: offset + begin });
        }
    };
    for (at, c) in statement.char_indices() {
        if c.is_whitespace() || c == ',' {
            end_word(&mut begin, at);
        }
        if c == ',' {
            end_word(&mut Some(at), at + 1);
        } else if !c.is_whitespace() && begin.is_none() {
            begin = Some(at);
        }
    }
    end_word(&mut begin, statement.len());
    words
}
