//! Nothing is judged before everything that it names is settled and understood.

use super::{Past, Stop, Wait};
use crate::defect::{self, Defect};
use crate::entry::{Body, Entry};
use crate::rules::Record;

/// Every dependency is settled, and every record of a kind known to this version.
pub(super) fn all<P: Past>(entry: &Entry, past: &mut P) -> Result<(), Stop<P::Fault>> {
    if let Body::Rules(records) = &entry.body
        && !records.iter().all(Record::is_known)
    {
        return Err(Stop::Wait(Wait::Later));
    }
    for dep in entry.deps.iter().filter(|_| !defect::is(Defect::DepsIgnored)) {
        if let Some(wait) = past.dep(dep)? {
            return Err(Stop::Wait(wait));
        }
    }
    Ok(())
}
