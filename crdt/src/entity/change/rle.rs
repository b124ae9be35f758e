//! The three encodings of a column: runs, differences in runs, and booleans.
//!
//! Readers hand out one entry per call and hold nothing but the present run, so a count costs nothing by being large.
//! They take the one form that the writers give, no other: runs as long as they can be, literals only of entries
//! that differ from their neighbours, no column of nulls alone, and exactly as many entries as were asked for.

use super::ChangeError;
use super::bytes::{Cursor, put_sized, put_sleb, put_uleb};
use crate::entity::id::NUMBER_END;

/// What a column of runs holds.
pub(super) trait Cell<'a>: Copy + PartialEq {
    fn read(input: &mut Cursor<'a>) -> Result<Self, ChangeError>;
    fn write(self, out: &mut Vec<u8>);
}

impl Cell<'_> for u64 {
    fn read(input: &mut Cursor<'_>) -> Result<Self, ChangeError> {
        input.uleb()
    }

    fn write(self, out: &mut Vec<u8>) {
        put_uleb(out, self);
    }
}

impl Cell<'_> for i64 {
    fn read(input: &mut Cursor<'_>) -> Result<Self, ChangeError> {
        input.sleb()
    }

    fn write(self, out: &mut Vec<u8>) {
        put_sleb(out, self);
    }
}

impl<'a> Cell<'a> for &'a str {
    fn read(input: &mut Cursor<'a>) -> Result<Self, ChangeError> {
        input.text()
    }

    fn write(self, out: &mut Vec<u8>) {
        put_sized(out, self.as_bytes());
    }
}

#[derive(Debug, Clone, Copy)]
enum Run<T> {
    /// The column is left out: all its entries are null.
    Absent,
    /// Nothing was read yet.
    Start,
    Null,
    Same(T),
    /// With the entry before the next one.
    Literal(Option<T>),
}

/// Reads runs.
#[derive(Debug)]
pub(super) struct Runs<'a, T> {
    input: Cursor<'a>,
    left: u64,
    run: Run<T>,
    /// Whether there was an entry that is not null.
    valued: bool,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    pub(super) fn new(column: &'a [u8]) -> Self {
        let (left, run) = if column.is_empty() { (u64::MAX, Run::Absent) } else { (0, Run::Start) };
        Self { input: Cursor::new(column), left, run, valued: false }
    }

    /// Whether all entries are read. An absent column has none to read, however many nulls it can give.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.run, Run::Absent) || (self.left == 0 && self.input.is_empty())
    }

    /// How many entries the present run may still have: never more than said, nor more literals than there are bytes.
    pub(super) fn ahead(&self) -> usize {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if matches!(self.run, Run::Literal(_)) { left.min(self.input.len()) } else { left }
    }

    /// The next entry. Fails at the end of a column that is there.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<T>, ChangeError> {
        if self.left == 0 {
            self.begin()?;
        }
        self.left -= 1;
        match self.run {
            Run::Absent | Run::Start | Run::Null => Ok(None),
            Run::Same(value) => Ok(Some(value)),
            Run::Literal(before) => {
                let value = T::read(&mut self.input)?;
                if before == Some(value) {
                    return Err(ChangeError::NotCanonical);
                }
                self.run = Run::Literal(Some(value));
                Ok(Some(value))
            }
        }
    }

    /// The next entry of a column without nulls.
    #[inline]
    pub(super) fn value(&mut self) -> Result<T, ChangeError> {
        self.next()?.ok_or(ChangeError::Undecodable)
    }

    fn begin(&mut self) -> Result<(), ChangeError> {
        let before = match self.run {
            Run::Same(value) => Some(value),
            Run::Literal(before) => before,
            Run::Absent | Run::Start | Run::Null => None,
        };
        let count = self.input.sleb()?;
        let canonical = match count {
            1.. => {
                let value = T::read(&mut self.input)?;
                let canonical = count > 1 && before != Some(value);
                (self.left, self.run, self.valued) = (count.unsigned_abs(), Run::Same(value), true);
                canonical
            }
            0 => {
                let canonical = !matches!(self.run, Run::Null);
                (self.left, self.run) = (self.input.uleb()?, Run::Null);
                canonical && self.left > 0
            }
            _ => {
                let canonical = !matches!(self.run, Run::Literal(_));
                (self.left, self.run, self.valued) = (count.unsigned_abs(), Run::Literal(before), true);
                canonical
            }
        };
        if canonical { Ok(()) } else { Err(ChangeError::NotCanonical) }
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&self) -> Result<(), ChangeError> {
        match self.run {
            Run::Absent => Ok(()),
            _ if !self.is_done() => Err(ChangeError::Undecodable),
            _ if !self.valued => Err(ChangeError::NotCanonical),
            _ => Ok(()),
        }
    }
}

/// Reads counters written as differences, the first from 0.
#[derive(Debug)]
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    at: i64,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(column: &'a [u8]) -> Self {
        Self { runs: Runs::new(column), at: 0 }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<u64>, ChangeError> {
        let Some(delta) = self.runs.next()? else { return Ok(None) };
        self.at = self.at.checked_add(delta).ok_or(ChangeError::Range)?;
        let at = u64::try_from(self.at).ok().filter(|at| *at < NUMBER_END);
        at.map(Some).ok_or(ChangeError::Range)
    }

    pub(super) fn finish(&self) -> Result<(), ChangeError> {
        self.runs.finish()
    }
}

/// Reads counts of `false` and `true` in turn.
#[derive(Debug)]
pub(super) struct Booleans<'a> {
    input: Cursor<'a>,
    left: u64,
    value: bool,
    started: bool,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(column: &'a [u8]) -> Self {
        Self { input: Cursor::new(column), left: 0, value: true, started: false }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<bool, ChangeError> {
        if self.left == 0 {
            self.value = !self.value;
            self.left = self.input.uleb()?;
            if self.left == 0 && !self.started {
                // The column begins with `true`.
                self.value = true;
                self.left = self.input.uleb()?;
            }
            self.started = true;
        }
        self.left = self.left.checked_sub(1).ok_or(ChangeError::NotCanonical)?;
        Ok(self.value)
    }

    pub(super) fn finish(&self) -> Result<(), ChangeError> {
        if self.left == 0 && self.input.is_empty() { Ok(()) } else { Err(ChangeError::Undecodable) }
    }
}

/// Writes runs.
#[derive(Debug)]
pub(super) struct RunWriter<T> {
    out: Vec<u8>,
    /// The present entry and how often it came.
    run: Option<(Option<T>, u64)>,
    /// Entries that stand alone and are not in `out` yet.
    literal: Vec<u8>,
    literals: i64,
}

impl<'a, T: Cell<'a>> RunWriter<T> {
    pub(super) fn new() -> Self {
        Self { out: Vec::new(), run: None, literal: Vec::new(), literals: 0 }
    }

    pub(super) fn push(&mut self, entry: Option<T>) {
        match &mut self.run {
            Some((present, count)) if *present == entry => *count += 1,
            _ => {
                self.close();
                self.run = Some((entry, 1));
            }
        }
    }

    fn close(&mut self) {
        match self.run {
            None => {}
            Some((Some(value), 1)) => {
                value.write(&mut self.literal);
                self.literals += 1;
            }
            Some((value, count)) => {
                self.flush_literals();
                put_sleb(&mut self.out, if value.is_some() { count.cast_signed() } else { 0 });
                match value {
                    Some(value) => value.write(&mut self.out),
                    None => put_uleb(&mut self.out, count),
                }
            }
        }
    }

    fn flush_literals(&mut self) {
        if self.literals > 0 {
            put_sleb(&mut self.out, -self.literals);
            self.out.append(&mut self.literal);
            self.literals = 0;
        }
    }

    /// The column; empty if all entries are null.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let only_nulls = self.out.is_empty() && self.literals == 0 && matches!(self.run, Some((None, _)));
        if !only_nulls {
            self.close();
            self.flush_literals();
        }
        self.out
    }
}

/// Writes counters as differences.
#[derive(Debug)]
pub(super) struct DeltaWriter {
    runs: RunWriter<i64>,
    at: i64,
}

impl DeltaWriter {
    pub(super) fn new() -> Self {
        Self { runs: RunWriter::new(), at: 0 }
    }

    pub(super) fn push(&mut self, counter: Option<u64>) {
        let delta = counter.map(|counter| {
            let before = std::mem::replace(&mut self.at, counter.cast_signed());
            self.at - before
        });
        self.runs.push(delta);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.runs.finish()
    }
}

/// Writes booleans.
#[derive(Debug, Default)]
pub(super) struct BooleanWriter {
    out: Vec<u8>,
    value: bool,
    count: u64,
}

impl BooleanWriter {
    pub(super) fn push(&mut self, value: bool) {
        if value != self.value {
            put_uleb(&mut self.out, self.count);
            (self.value, self.count) = (value, 0);
        }
        self.count += 1;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            put_uleb(&mut self.out, self.count);
        }
        self.out
    }
}
