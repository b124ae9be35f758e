//! 3 role: whether the author might do this under the rules it had seen.

use super::{Situation, Stop, Verdict};
use crate::ChainHash;
use crate::defect::{self, Defect};
use crate::entry::RawRecord;
use crate::rules::{Record, Role, Roster, admit_message};

/// A data entry.
pub(super) fn may_write<F>(situation: &Situation<'_>, roster: &Roster) -> Result<(), Stop<F>> {
    let may_write = roster.role(situation.author).is_some_and(Role::may_write);
    if may_write || defect::is(Defect::RolesIgnored) { Ok(()) } else { Err(Stop::Refuse(Verdict::Role)) }
}

/// A rules entry: each record under the rules and the records before it. What does not decode is passed over: that is a
/// matter of structure.
pub(super) fn may_record<F>(
    situation: &Situation<'_>,
    roster: &Roster,
    heads: &[ChainHash],
    records: &[RawRecord],
) -> Result<(), Stop<F>> {
    // Somebody who is nobody there can do nothing but found the space.
    if roster.role(situation.author).is_none() && !(heads.is_empty() && roster.founder().is_none()) {
        return Err(Stop::Refuse(Verdict::Role));
    }
    let mut within = roster.clone();
    for record in records.iter().filter_map(|raw| Record::from_raw(raw).ok()) {
        if !allows(situation, &within, heads, &record) {
            return Err(Stop::Refuse(Verdict::Role));
        }
        within.fold(&record);
    }
    Ok(())
}

fn allows(situation: &Situation<'_>, roster: &Roster, heads: &[ChainHash], record: &Record) -> bool {
    let Situation { author, rules, .. } = *situation;
    let role = roster.role(author);
    match record {
        Record::Found(found) => {
            heads.is_empty() && roster.founder().is_none() && found.founder == author && found.space() == rules.space()
        }
        Record::Invite(_) | Record::Grant(_) => role == Some(Role::Admin),
        Record::Admit(admit) => {
            role.is_some()
                && roster.invite(&admit.invite).is_some()
                && !roster.is_used(&admit.invite)
                && admit.signature.verify(&admit.invite, &admit_message(rules.space(), admit.node))
        }
    }
}
