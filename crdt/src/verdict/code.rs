//! The verdict of a settled entry, as one byte.

use serde::{Deserialize, Serialize};

/// The verdict of a settled entry. The code is final; details are local text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Applied.
    Applied,
    /// Refused: sizes, names, change bytes or known records that fail the gate.
    Structure,
    /// Refused: its rules heads are no statement of what its author had newly seen, or lack those of its predecessor.
    Rules,
    /// Refused: the author's role did not allow it under the rules it had seen.
    Role,
    /// Refused: a change depends on a refused one in its own entity.
    Depends,
    /// Refused: a field that its author does not own. Not given by version 1.
    Ownership,
    /// Refused: its collection's schema. Not given by version 1.
    Schema,
    /// Refused: a step backwards in a declared order. Not given by version 1.
    Forward,
    /// Refused: beyond the end of its feed. Not given by version 1.
    Ended,
}

impl Verdict {
    const ALL: [Self; 9] = [
        Self::Applied,
        Self::Structure,
        Self::Rules,
        Self::Role,
        Self::Depends,
        Self::Ownership,
        Self::Schema,
        Self::Forward,
        Self::Ended,
    ];

    /// The byte that stands for it.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The verdict of a byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Its name, as people and metrics see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Structure => "structure",
            Self::Rules => "rules",
            Self::Role => "role",
            Self::Depends => "depends",
            Self::Ownership => "ownership",
            Self::Schema => "schema",
            Self::Forward => "forward",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_final() {
        for (code, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(verdict.code()), code);
            assert_eq!(Verdict::from_code(verdict.code()), Some(verdict));
        }
        assert_eq!(Verdict::from_code(9), None);
        assert_eq!((Verdict::Depends.code(), Verdict::Ended.code()), (4, 8));
    }
}
