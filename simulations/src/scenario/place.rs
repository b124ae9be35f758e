//! Where something was written, and what is wrong with it.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Where something was written. Nowhere, if it came from Rust.
#[derive(Clone, Debug, Default)]
pub struct Place {
    file: Option<Arc<str>>,
    line: usize,
    column: usize,
}

impl Place {
    /// A file as such, with no line.
    fn file(file: &str) -> Self {
        Self { file: Some(Arc::from(file)), line: 0, column: 0 }
    }

    /// The beginning of a file.
    fn top(file: &str) -> Self {
        Self { file: Some(Arc::from(file)), line: 1, column: 1 }
    }

    /// Line, from 1; 0: nowhere.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Column in characters, from 1; 0: nowhere.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.column
    }

    /// `FILE:LINE`.
    pub(super) fn file_and_line(&self) -> String {
        match &self.file {
            Some(file) => format!("{file}:{}", self.line),
            None => self.to_string(),
        }
    }

    /// So many characters further in the same line.
    pub(super) fn right_of(&self, characters: usize) -> Self {
        let moved = if self.file.is_some() { self.column + characters } else { 0 };
        Self { column: moved, ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) if self.line == 0 => f.write_str(file),
            Some(file) => write!(f, "{file}:{}:{}", self.line, self.column),
            None => f.write_str("scenario"),
        }
    }
}

/// Something wrong with a scenario: where, what, and what is allowed.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what is allowed.
    pub message: String,
}

impl Problem {
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// All that is wrong with a scenario, in the order of the file; never empty.
#[derive(Clone, Debug)]
pub struct ScenarioError {
    /// The problems.
    pub problems: Vec<Problem>,
}

impl ScenarioError {
    /// Sorted by place; a file's problems stay together.
    pub(super) fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| {
            let key = |p: &Problem| (p.place.file.clone(), p.place.line, p.place.column);
            key(a).cmp(&key(b))
        });
        Self { problems }
    }

    /// A file that could not be read.
    pub(super) fn unread(file: &str, message: String) -> Self {
        Self { problems: vec![Problem { place: Place::file(file), message }] }
    }

    /// Problems that stand nowhere are the file's.
    pub(super) fn in_file(mut self, file: &str) -> Self {
        for problem in &mut self.problems {
            if problem.place.file.is_none() {
                problem.place = Place::top(file);
            }
        }
        Self::of(self.problems)
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioError {}

/// A text and its name, to turn offsets into places.
#[derive(Clone, Debug)]
pub(super) struct Source {
    file: Arc<str>,
    text: Arc<str>,
    /// Offset of the beginning of every line.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: Arc::from(file), text: Arc::from(text), lines }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The name of a file that lies beside this one, as it is found from where this one is.
    pub(super) fn beside(&self, name: &str) -> String {
        let folder = Path::new(&*self.file).parent().unwrap_or(Path::new(""));
        folder.join(name).display().to_string()
    }

    /// Place of a byte offset. O(log lines + line).
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        Place { file: Some(self.file.clone()), line, column: before.chars().count() + 1 }
    }

    /// Place of line and column, both from 1, of a text that stands verbatim at an offset of this one.
    pub(super) fn place_within(&self, offset: usize, line: usize, column: usize) -> Place {
        let first = self.place(offset);
        match line {
            0 | 1 => Place { column: first.column + column.max(1) - 1, ..first },
            _ => Place { line: first.line + line - 1, column: column.max(1), ..first },
        }
    }

    /// Where a decoded text stands verbatim in its literal, if it does.
    pub(super) fn verbatim(&self, literal: &Range<usize>, decoded: &str) -> Option<usize> {
        let raw = self.text.get(literal.clone())?;
        raw.find(decoded).map(|at| literal.start + at)
    }
}
