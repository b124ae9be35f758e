//! 2 rules: what an entry states of the rules its author had seen.

use super::{Situation, Stop, Verdict, Wait};
use crate::ChainHash;
use crate::entry::Entry;

/// The rules heads that the entry was written under. Stated ones differ from those in force, name nothing refused, hold
/// no entry that is an ancestor of another, and their ancestors contain those of the predecessor. So a feed states
/// heads at most as often as there are rules entries.
pub(super) fn stated<'e, F>(entry: &'e Entry, situation: &Situation<'e>) -> Result<&'e [ChainHash], Stop<F>> {
    let Situation { rules, before, .. } = *situation;
    let Some(heads) = entry.rules.as_deref() else { return Ok(before) };
    if let Some(head) = rules.missing(heads) {
        return Err(Stop::Wait(Wait::Rules(head)));
    }
    if holds(heads, situation) { Ok(heads) } else { Err(Stop::Refuse(Verdict::Rules)) }
}

/// The rules heads in force after a settled entry: its own, unless they are what it was refused for. Those never come
/// into force, so that a feed that states heads without end is not remembered without end.
#[must_use]
pub fn in_force<'e>(entry: &'e Entry, situation: &Situation<'e>) -> &'e [ChainHash] {
    entry.rules.as_deref().filter(|heads| holds(heads, situation)).unwrap_or(situation.before)
}

fn holds(heads: &[ChainHash], situation: &Situation<'_>) -> bool {
    let Situation { rules, before, .. } = *situation;
    let ancestry = rules.ancestry(heads);
    heads != before
        && heads.iter().all(|head| rules.stands(*head))
        && ancestry.is_antichain()
        && before.iter().all(|head| ancestry.contains(*head))
}
