//! Where a history's decisions come from: a seed, or bytes that a fuzzer turns over.

/// A source of small numbers.
#[derive(Debug)]
pub(crate) enum Choices<'a> {
    /// Never ends.
    Seed(u64),
    /// A byte or two per decision; zeros after the last.
    Bytes(&'a [u8]),
}

impl Choices<'_> {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end < 2 {
            return 0;
        }
        match self {
            Self::Seed(state) => (split_mix(state) % end as u64) as usize,
            Self::Bytes(bytes) => {
                let mut byte = || {
                    let Some((first, rest)) = bytes.split_first() else { return 0 };
                    *bytes = rest;
                    usize::from(*first)
                };
                let low = byte();
                if end <= 256 { low % end } else { (low | byte() << 8) % end }
            }
        }
    }

    /// Whether the one in so many cases came up.
    pub(crate) fn once_in(&mut self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }

    /// One of some values.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Whether there is nothing left to decide from.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
