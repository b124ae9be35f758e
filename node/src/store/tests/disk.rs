//! A disk in memory that fails and loses power when told to.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

/// xorshift64*.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Default)]
struct State {
    /// What a process reads.
    live: Vec<u8>,
    /// What a loss of power leaves for certain.
    durable: Vec<u8>,
    /// What has been done since the last sync.
    pending: Vec<Pending>,
    /// Writes, length changes and syncs so far.
    operations: u64,
    /// From this operation on every one fails so.
    fails: Option<(u64, ErrorKind)>,
}

/// Bytes that reach a disk whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    /// A disk of its own with what this one holds for certain.
    pub(super) fn copy(&self) -> Self {
        let durable = self.0.lock().unwrap().durable.clone();
        Self(Arc::new(Mutex::new(State { live: durable.clone(), durable, ..State::default() })))
    }

    pub(super) fn fail_from(&self, operation: u64, kind: ErrorKind) {
        self.0.lock().unwrap().fails = Some((operation, kind));
    }

    pub(super) fn heal(&self) {
        self.0.lock().unwrap().fails = None;
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    pub(super) fn failing(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.fails.is_some_and(|(from, _)| state.operations > from)
    }

    /// Loses power: of what was not synced any part may be there, sector by sector.
    pub(super) fn crash(&self, random: &mut Random) {
        let mut state = self.0.lock().unwrap();
        let mut left = std::mem::take(&mut state.durable);
        for pending in std::mem::take(&mut state.pending) {
            match pending {
                Pending::Length(length) if random.below(2) == 0 => left.resize(length, 0),
                Pending::Length(_) => {}
                Pending::Write(offset, data) => keep_some(&mut left, offset, &data, random),
            }
        }
        *state = State { live: left.clone(), durable: left, ..State::default() };
    }

    fn operate(&self, run: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let number = state.operations;
        state.operations += 1;
        if let Some((_, kind)) = state.fails.filter(|(from, _)| number >= *from) {
            return Err(kind.into());
        }
        run(&mut state);
        Ok(())
    }
}

fn keep_some(left: &mut Vec<u8>, mut offset: usize, mut data: &[u8], random: &mut Random) {
    while !data.is_empty() {
        let (sector, rest) = data.split_at((SECTOR - offset % SECTOR).min(data.len()));
        if random.below(2) == 0 {
            let end = offset + sector.len();
            if left.len() < end {
                left.resize(end, 0);
            }
            left[offset..end].copy_from_slice(sector);
        }
        offset += sector.len();
        data = rest;
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let from = offset as usize;
        let stored = state.live.get(from..from + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(stored);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(|state| {
            state.live.resize(len as usize, 0);
            state.pending.push(Pending::Length(len as usize));
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(|state| {
            state.durable.clone_from(&state.live);
            state.pending.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(|state| {
            let from = offset as usize;
            state.live[from..from + data.len()].copy_from_slice(data);
            state.pending.push(Pending::Write(from, data.to_vec()));
        })
    }
}
