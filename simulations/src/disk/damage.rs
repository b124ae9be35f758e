//! What happens to a file that nobody has open: the disk rots, or somebody's tool has cut it.

use super::content::BLOCK;
use super::{Disk, State};
use crate::Dice;

impl Disk {
    /// Flips `count` bits in places that were once written. Does nothing to an empty disk.
    pub fn flip_bits(&self, count: u32, seed: u64) {
        self.damage(seed, |state, dice| {
            let blocks = state.content.written();
            for _ in 0..count {
                let Some(block) = blocks.get(dice.below(blocks.len())) else { return };
                let offset = block * BLOCK + dice.below(BLOCK);
                let mut byte = [0];
                state.content.read(offset, &mut byte);
                if offset < state.content.len() {
                    state.content.write(offset, &[byte[0] ^ (1 << dice.below(8))]);
                }
            }
        });
    }

    /// Flips the same bit wherever the file holds `bytes`: in what is in use, and in copies that are not any more.
    /// Returns in how many places. O(size × length) at worst.
    pub fn flip_bit_in(&self, bytes: &[u8], seed: u64) -> usize {
        self.damage(seed, |state, dice| {
            let mut all = vec![0; state.content.len()];
            state.content.read(0, &mut all);
            let (offset, bit) = (dice.below(bytes.len()), dice.below(8));
            let places: Vec<usize> = match bytes {
                [] => Vec::new(),
                bytes => (0..all.len()).filter(|at| all[*at..].starts_with(bytes)).collect(),
            };
            for at in &places {
                state.content.write(at + offset, &[bytes[offset] ^ (1 << bit)]);
            }
            places.len()
        })
    }

    /// A block of what was once written lies where another belongs. Returns whether there were two that differ.
    pub fn misdirect(&self, seed: u64) -> bool {
        self.damage(seed, |state, dice| {
            let blocks = state.content.written();
            let (from, to) = (dice.below(blocks.len()), dice.below(blocks.len()));
            let (Some(from), Some(to)) = (blocks.get(from), blocks.get(to)) else { return false };
            let (mut bytes, mut lost) = ([0; BLOCK], [0; BLOCK]);
            state.content.read(from * BLOCK, &mut bytes);
            state.content.read(to * BLOCK, &mut lost);
            let length = (state.content.len() - to * BLOCK).min(BLOCK);
            state.content.write(to * BLOCK, &bytes[..length]);
            bytes[..length] != lost[..length]
        })
    }

    /// Cuts the file off, or adds zeros, so that it is `len` bytes long.
    pub fn set_size(&self, len: usize) {
        self.damage(0, |state, _| state.content.set_len(len));
    }

    /// What was not synced counts as synced: the damage comes long after.
    fn damage<T>(&self, seed: u64, run: impl FnOnce(&mut State, &mut Dice) -> T) -> T {
        let mut state = self.state();
        state.log = super::log::Log::default();
        run(&mut state, &mut Dice::new(seed))
    }
}
