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
        let below = if bound == 0 { 0 } else { usize::try_from(number % bound as u64).unwrap_or(0) };
        debug_assert!(below < bound.max(1), "a choice is one of those there are");
        below
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// What plans are made with.
impl Dice {
    /// Choices of their own, for one part of a plan: they depend on the seed and the label, not on what was drawn.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(label.as_bytes());
        let mut raw = [0; 8];
        raw.copy_from_slice(hasher.finalize().as_bytes().split_at(8).0);
        Self::new(u64::from_le_bytes(raw))
    }

    /// Any 64-bit number.
    pub fn number(&mut self) -> u64 {
        let mut raw = [0; 8];
        raw.copy_from_slice(self.bytes().split_at(8).0);
        u64::from_le_bytes(raw)
    }

    /// A number from `low` to `high`, both included; `low` if they are the wrong way round.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        let number = match high.checked_sub(low).map(|span| span.checked_add(1)) {
            None => low,
            Some(None) => self.number(),
            Some(Some(span)) => low + self.number() % span,
        };
        debug_assert!(low <= number && number <= high.max(low), "a number lies in its range");
        number
    }

    /// True in so many of a million.
    pub fn chance_ppm(&mut self, ppm: u32) -> bool {
        self.number() % 1_000_000 < u64::from(ppm)
    }

    /// One of them; none of none.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        from.get(self.below(from.len()))
    }

    /// Another order of them.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_depend_on_seed_and_label_alone() {
        let mut dice = Dice::new(7);
        let before = dice.fork("writes").number();
        dice.number();
        assert_eq!(dice.fork("writes").number(), before);
        assert_ne!(dice.fork("faults").number(), before);
        assert_ne!(Dice::new(8).fork("writes").number(), before);
    }

    #[test]
    fn ranges_and_shares_are_kept() {
        let mut dice = Dice::new(1);
        assert!((0..200).all(|_| (3..=5).contains(&dice.range(3, 5))));
        assert_eq!(dice.range(5, 3), 5);
        dice.range(0, u64::MAX);
        let hits = (0..2_000).filter(|_| dice.chance_ppm(250_000)).count();
        assert!((400..600).contains(&hits), "{hits}");
        assert!(!dice.chance_ppm(0) && dice.chance_ppm(1_000_000));
        let mut items = [1, 2, 3, 4];
        dice.shuffle(&mut items);
        assert_eq!(items.iter().sum::<i32>(), 10);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
