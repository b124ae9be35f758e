//! The bytes of a file: sparse, in blocks that copies share until one of them writes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block: a page of redb and of most file systems.
pub(super) const BLOCK: usize = 4096;

/// What a hole reads as.
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A file. Copying it costs a pointer per block.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// `None`: a hole, which reads as zeros.
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
    len: usize,
}

/// The part of a range that lies in one block.
struct Piece {
    block: usize,
    within: Range<usize>,
    of_buffer: Range<usize>,
}

fn pieces(offset: usize, length: usize) -> impl Iterator<Item = Piece> {
    let end = offset + length;
    let mut at = offset;
    std::iter::from_fn(move || {
        let block = at / BLOCK;
        let until = end.min((block + 1) * BLOCK);
        let start = block * BLOCK;
        let piece =
            Piece { block, within: at - start..until.saturating_sub(start), of_buffer: at - offset..until - offset };
        let more = at < end;
        debug_assert_eq!(piece.within.len(), piece.of_buffer.len(), "a piece is as long in its block as in the buffer");
        at = until;
        more.then_some(piece)
    })
}

fn beyond() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the file")
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The range of `length` bytes at `offset`, if the file has it.
    pub(super) fn span(&self, offset: u64, length: usize) -> io::Result<Range<usize>> {
        let start = usize::try_from(offset).map_err(|_| beyond())?;
        let end = start.checked_add(length).filter(|end| *end <= self.len).ok_or_else(beyond)?;
        Ok(start..end)
    }

    /// Reads from `offset` on; beyond the end there are zeros.
    pub(super) fn read(&self, offset: usize, out: &mut [u8]) {
        for Piece { block, within, of_buffer } in pieces(offset, out.len()) {
            let bytes = self.blocks.get(block).and_then(Option::as_deref).unwrap_or(&ZEROS);
            out[of_buffer].copy_from_slice(&bytes[within]);
        }
    }

    /// Appends what a range holds to `out`; beyond the end there are zeros.
    pub(super) fn append_to(&self, range: Range<usize>, out: &mut Vec<u8>) {
        for Piece { block, within, .. } in pieces(range.start, range.len()) {
            let bytes = self.blocks.get(block).and_then(Option::as_deref).unwrap_or(&ZEROS);
            out.extend_from_slice(&bytes[within]);
        }
    }

    /// Writes at `offset`; a file that is too short grows.
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        if offset + data.len() > self.len {
            self.set_len(offset + data.len());
        }
        assert!(offset + data.len() <= self.len, "what is written lies in the file");
        for Piece { block, within, of_buffer } in pieces(offset, data.len()) {
            if let Some(slot) = self.blocks.get_mut(block) {
                let bytes = slot.get_or_insert_with(|| Arc::new(ZEROS));
                Arc::make_mut(bytes)[within].copy_from_slice(&data[of_buffer]);
            }
        }
    }

    /// Cuts off or adds zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        self.blocks.resize(len.div_ceil(BLOCK), None);
        if len < self.len
            && !len.is_multiple_of(BLOCK)
            && let Some(Some(last)) = self.blocks.last_mut()
        {
            Arc::make_mut(last)[len % BLOCK..].fill(0);
        }
        self.len = len;
        assert_eq!(self.blocks.len(), len.div_ceil(BLOCK), "a file has the blocks of its length");
    }

    /// Bytes of the holes that a write to this range would fill.
    pub(super) fn holes(&self, range: Range<usize>) -> u64 {
        let holes = pieces(range.start, range.len());
        let holes = holes.filter(|piece| self.blocks.get(piece.block).is_none_or(Option::is_none));
        (holes.count() * BLOCK) as u64
    }

    /// Numbers of the blocks that were ever written.
    pub(super) fn written(&self) -> Vec<usize> {
        self.blocks.iter().enumerate().filter_map(|(no, block)| block.as_ref().map(|_| no)).collect()
    }

    /// Hash over length and bytes; a hole is the same as zeros. Reads the whole file.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.len as u64).to_le_bytes());
        for (no, block) in self.blocks.iter().enumerate() {
            if let Some(bytes) = block.as_deref().filter(|bytes| **bytes != ZEROS) {
                hasher.update(&(no as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dice;

    /// Against a plain vector.
    #[test]
    fn it_reads_what_was_written_as_a_plain_vector_does() {
        let (mut dice, mut content, mut plain) = (Dice::new(1), Content::default(), Vec::new());
        for step in 0..500 {
            match dice.below(5) {
                0 => {
                    let len = dice.below(6 * BLOCK);
                    content.set_len(len);
                    plain.resize(len, 0);
                }
                _ if plain.is_empty() => {}
                _ => {
                    let from = dice.below(plain.len());
                    let until = from + dice.below(plain.len() - from + 1);
                    let data: Vec<u8> = (from..until).map(|at| (at * 7 + step) as u8).collect();
                    content.write(from, &data);
                    plain[from..until].copy_from_slice(&data);
                }
            }
            let mut read = vec![1; plain.len()];
            content.read(0, &mut read);
            assert_eq!((content.len(), &read), (plain.len(), &plain), "step {step}");
            let (from, mut part) = (plain.len() / 3, Vec::new());
            content.append_to(from..plain.len(), &mut part);
            assert_eq!(part, plain[from..], "step {step}");
        }
        let copy = content.clone();
        let before = copy.digest();
        content.set_len(BLOCK);
        content.write(5, b"other");
        assert_eq!(copy.digest(), before, "a copy does not change with its original");
        assert_ne!(content.digest(), before);
    }
}
