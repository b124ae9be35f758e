//! Random choices that depend on a seed and on nothing else.

/// A sequence of choices: blake3(seed ‖ counter).
#[derive(Debug, Clone)]
pub struct Dice {
    seed: u64,
    draws: u64,
}

impl Dice {
    /// Choices of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, draws: 0 }
    }

    /// The next 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.draws += 1;
        let mut input = [0; 16];
        input[..8].copy_from_slice(&self.seed.to_le_bytes());
        input[8..].copy_from_slice(&self.draws.to_le_bytes());
        *blake3::hash(&input).as_bytes()
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut raw = [0; 8];
        raw.copy_from_slice(self.bytes().split_at(8).0);
        let number = u64::from_le_bytes(raw);
        if bound == 0 { 0 } else { usize::try_from(number % bound as u64).unwrap_or(0) }
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
