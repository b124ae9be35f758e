//! Chunks put together by hand, with any lie in them.

use super::*;
use bytes::{put_sized, put_sleb, put_uleb};
use differential::feed;

/// The parts of a chunk as they are written, right or wrong.
#[derive(Debug, Clone)]
pub(super) struct Forged {
    pub(super) deps: Vec<[u8; 32]>,
    pub(super) actor: Vec<u8>,
    pub(super) seq: u64,
    pub(super) start_op: u64,
    /// Spaces of the message.
    pub(super) padding: usize,
    pub(super) others: Vec<Vec<u8>>,
    /// Specification and content.
    pub(super) columns: Vec<(u64, Vec<u8>)>,
    pub(super) extra: Vec<u8>,
}

/// Columns of the one operation that puts null under `k`, but for its predecessors: there are none.
pub(super) const KEY_TEXT: u64 = 0x15;
pub(super) const INSERT: u64 = 0x34;
pub(super) const ACTION: u64 = 0x42;
pub(super) const VALUE_META: u64 = 0x56;
pub(super) const PRED_COUNT: u64 = 0x70;

/// A run of equal entries, already written.
pub(super) fn run(count: i64, entry: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_sleb(&mut out, count);
    out.extend_from_slice(entry);
    out
}

/// So many nulls.
pub(super) fn null_run(count: u64) -> Vec<u8> {
    let mut out = vec![0];
    put_uleb(&mut out, count);
    out
}

impl Forged {
    /// `count` times the operation "put null under k".
    pub(super) fn new(count: i64) -> Self {
        let head = if count == 1 { -1 } else { count };
        let mut insert = Vec::new();
        put_uleb(&mut insert, count.unsigned_abs());
        let columns = vec![
            (KEY_TEXT, run(head, b"\x01k")),
            (INSERT, insert),
            (ACTION, run(head, &[1])),
            (VALUE_META, run(head, &[0])),
            (PRED_COUNT, run(head, &[0])),
        ];
        let actor = feed(0).as_bytes().to_vec();
        let (others, extra) = (Vec::new(), Vec::new());
        Self { deps: Vec::new(), actor, seq: 1, start_op: 1, padding: 0, others, columns, extra }
    }

    /// With a message that is as long as any change needs one.
    pub(super) fn fed(self) -> Self {
        Self { padding: CHANGE_BYTES_MAX - 65_536, ..self }
    }

    /// With another content of a column, which is added if it is not there; without it if it is empty.
    pub(super) fn column(mut self, spec: u64, content: &[u8]) -> Self {
        self.columns.retain(|(there, _)| *there != spec);
        if !content.is_empty() {
            self.columns.push((spec, content.to_vec()));
            self.columns.sort();
        }
        self
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_uleb(&mut out, self.deps.len() as u64);
        out.extend(self.deps.iter().flatten());
        put_sized(&mut out, &self.actor);
        put_uleb(&mut out, self.seq);
        put_uleb(&mut out, self.start_op);
        // No time.
        out.push(0);
        put_sized(&mut out, &vec![chunk::PADDING; self.padding]);
        put_uleb(&mut out, self.others.len() as u64);
        self.others.iter().for_each(|other| put_sized(&mut out, other));
        put_uleb(&mut out, self.columns.len() as u64);
        for (spec, content) in &self.columns {
            put_uleb(&mut out, *spec);
            put_uleb(&mut out, content.len() as u64);
        }
        self.columns.iter().for_each(|(_, content)| out.extend_from_slice(content));
        out.extend_from_slice(&self.extra);
        out
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        chunk::close(&self.contents()).1
    }

    pub(super) fn parse(&self) -> Result<Change, ChangeError> {
        Change::parse(&self.bytes(), feed(0))
    }
}
