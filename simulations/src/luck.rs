//! What is left to chance while running: numbers drawn from a seed and from what they are for.

/// Draws that depend on the seed and on the question, not on what was asked before: leaving out one thing does not
/// change the luck of another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Luck(u64);

/// A millionth, as scenarios say probabilities.
const MILLION: u64 = 1_000_000;

impl Luck {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits for a question. The finalizer of SplitMix64 (Steele, Lea, Flood 2014) over each part in turn.
    pub(crate) fn draw(self, question: [u64; 4]) -> u64 {
        question.into_iter().fold(self.0, |state, part| {
            let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    /// 32 bits for a question.
    pub(crate) fn draw32(self, question: [u64; 4]) -> u32 {
        u32::try_from(self.draw(question) >> 32).unwrap_or(u32::MAX)
    }

    /// True so many times of a million.
    pub(crate) fn chance(self, ppm: u32, question: [u64; 4]) -> bool {
        ppm > 0 && self.draw(question) % MILLION < u64::from(ppm)
    }

    /// 32 bytes for a question.
    pub(crate) fn bytes(self, [a, b, c, d]: [u64; 4]) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, nth) in bytes.chunks_exact_mut(8).zip(0..) {
            chunk.copy_from_slice(&Self(self.draw([a, b, c, d])).draw([nth; 4]).to_le_bytes());
        }
        bytes
    }
}
