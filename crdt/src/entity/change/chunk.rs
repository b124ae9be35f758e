//! Frame and header of a chunk: everything but the operations.

use sha2::{Digest, Sha256};

use super::bytes::{Cursor, put_sized, put_sleb, put_uleb, utf8};
use super::columns::Columns;
use super::{ChangeError, Own};
use crate::entity::id::{NUMBER_END, OpId};
use crate::{ChangeHash, FeedId};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Chunk type of a change that is not deflated.
const CHUNK_CHANGE: u8 = 1;
/// Bytes before what the hash covers: magic and checksum.
const UNHASHED: usize = 8;

/// Checks the frame: magic, checksum, type, length, and exactly that many bytes. Gives the hash and the contents.
pub(super) fn open(bytes: &[u8]) -> Result<(ChangeHash, Cursor<'_>), ChangeError> {
    let frame = |_| ChangeError::Chunk;
    let mut input = Cursor::new(bytes);
    let magic: [u8; 4] = input.array().map_err(frame)?;
    let checksum: [u8; 4] = input.array().map_err(frame)?;
    let kind = input.byte().map_err(frame)?;
    let length = input.uleb().map_err(frame)?;
    if magic != MAGIC || kind != CHUNK_CHANGE || input.len() as u64 != length {
        return Err(ChangeError::Chunk);
    }
    let hash = hash(bytes);
    if hash.as_bytes().starts_with(&checksum) { Ok((hash, input)) } else { Err(ChangeError::NotCanonical) }
}

fn hash(chunk: &[u8]) -> ChangeHash {
    ChangeHash::from_bytes(Sha256::digest(chunk.get(UNHASHED..).unwrap_or_default()).into())
}

/// The actors that the operations of a change name by number: its own first, then the others, ascending.
#[derive(Debug)]
pub(super) struct Actors {
    own: FeedId,
    others: Vec<FeedId>,
    used: Vec<bool>,
}

impl Actors {
    fn read(own: FeedId, input: &mut Cursor<'_>) -> Result<Self, ChangeError> {
        let count = input.uleb()?;
        let mut others: Vec<FeedId> = Vec::new();
        for _ in 0..count {
            // Fails at the end of the input, whatever the count is.
            let other = feed(input.sized()?)?;
            if other == own || others.last().is_some_and(|last| *last >= other) {
                return Err(ChangeError::NotCanonical);
            }
            others.push(other);
        }
        let used = vec![false; others.len()];
        Ok(Self { own, others, used })
    }

    /// The others that operations of `own` name.
    pub(super) fn of<'a>(own: FeedId, named: impl Iterator<Item = &'a OpId>) -> Self {
        let mut others: Vec<_> = named.filter(|id| **id != OpId::ROOT).map(OpId::actor).collect();
        others.retain(|actor| *actor != own);
        others.sort_unstable();
        others.dedup();
        Self { own, others, used: Vec::new() }
    }

    /// The operation with a counter by the actor with a number, which is in use from now on.
    #[inline]
    pub(super) fn id(&mut self, number: u64, counter: u64) -> Result<OpId, ChangeError> {
        let actor = match usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) {
            None if number == 0 => self.own,
            at => {
                let at = at.unwrap_or(usize::MAX);
                *self.used.get_mut(at).ok_or(ChangeError::Undecodable)? = true;
                *self.others.get(at).ok_or(ChangeError::Undecodable)?
            }
        };
        OpId::new(counter, actor).ok_or(ChangeError::Range)
    }

    /// The number of an actor.
    pub(super) fn number(&self, actor: FeedId) -> u64 {
        if actor == self.own {
            return 0;
        }
        self.others.binary_search(&actor).map_or(0, |at| at as u64 + 1)
    }

    /// Checks that none is listed in vain.
    pub(super) fn finish(&self) -> Result<(), ChangeError> {
        if self.used.iter().all(|used| *used) { Ok(()) } else { Err(ChangeError::NotCanonical) }
    }
}

fn feed(bytes: &[u8]) -> Result<FeedId, ChangeError> {
    Ok(FeedId::from_bytes(bytes.try_into().map_err(|_| ChangeError::Actor)?))
}

/// What a change says of itself.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) deps: Vec<ChangeHash>,
    pub(super) seq: u64,
    pub(super) start_op: u64,
    pub(super) actors: Actors,
    pub(super) columns: Columns<'a>,
}

impl<'a> Header<'a> {
    /// Reads the contents of a chunk by `actor` to the end.
    pub(super) fn read(mut input: Cursor<'a>, actor: FeedId) -> Result<Self, ChangeError> {
        let deps = read_deps(&mut input)?;
        if feed(input.sized()?)? != actor {
            return Err(ChangeError::Actor);
        }
        let (seq, start_op) = (input.uleb()?, input.uleb()?);
        if seq == 0 || seq >= NUMBER_END || start_op == 0 || start_op > NUMBER_END {
            return Err(ChangeError::Range);
        }
        let _time = input.sleb()?;
        let _message = utf8(input.sized()?)?;
        let actors = Actors::read(actor, &mut input)?;
        let columns = Columns::read(&mut input)?;
        Ok(Self { deps, seq, start_op, actors, columns })
    }
}

fn read_deps(input: &mut Cursor<'_>) -> Result<Vec<ChangeHash>, ChangeError> {
    let count = input.uleb()?;
    let hashes = input.take(count.checked_mul(ChangeHash::LEN as u64).ok_or(ChangeError::Undecodable)?)?;
    let (hashes, _) = hashes.as_chunks();
    let deps: Vec<_> = hashes.iter().map(|hash| ChangeHash::from_bytes(*hash)).collect();
    for pair in deps.windows(2) {
        if pair.first() == pair.last() {
            return Err(ChangeError::Range);
        }
        if pair.first() > pair.last() {
            return Err(ChangeError::NotCanonical);
        }
    }
    Ok(deps)
}

/// What messages that are there for their length are made of.
pub(super) const PADDING: u8 = b' ';

/// The contents of a chunk up to the table of columns, with a message of `padding` bytes. The dependencies must be
/// sorted.
pub(super) fn write_header(own: &Own, actors: &Actors, padding: usize) -> Vec<u8> {
    debug_assert!(own.deps.is_sorted_by(|a, b| a < b), "dependencies are ascending, each once");
    let mut out = Vec::with_capacity(128);
    put_uleb(&mut out, own.deps.len() as u64);
    for dep in &own.deps {
        out.extend_from_slice(dep.as_bytes());
    }
    put_sized(&mut out, own.actor.as_bytes());
    put_uleb(&mut out, own.seq);
    put_uleb(&mut out, own.start_op);
    put_sleb(&mut out, own.time);
    put_uleb(&mut out, padding as u64);
    out.resize(out.len() + padding, PADDING);
    put_uleb(&mut out, actors.others.len() as u64);
    for other in &actors.others {
        put_sized(&mut out, other.as_bytes());
    }
    out
}

/// Puts contents into their frame.
pub(super) fn close(contents: &[u8]) -> (ChangeHash, Vec<u8>) {
    let mut chunk = Vec::with_capacity(contents.len() + 16);
    chunk.extend_from_slice(&MAGIC);
    chunk.extend_from_slice(&[0; 4]);
    chunk.push(CHUNK_CHANGE);
    put_sized(&mut chunk, contents);
    let hash = hash(&chunk);
    for (to, from) in chunk.iter_mut().skip(MAGIC.len()).zip(hash.as_bytes().iter().take(4)) {
        *to = *from;
    }
    debug_assert!(open(&chunk).is_ok_and(|opened| opened.0 == hash), "what is closed can be opened");
    (hash, chunk)
}
