//! Panics of what is simulated, caught quietly and with their place.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use tombolo_node::store::is_guarded;

use crate::outcome::{Oracle, Violation};

/// A panic that was caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caught {
    /// File and line.
    pub(crate) place: String,
    /// What it said.
    pub(crate) message: String,
}

impl From<Caught> for Violation {
    fn from(caught: Caught) -> Self {
        let detail = format!("panic at {}: {}", caught.place, caught.message);
        Self { oracle: Oracle::Panic, place: caught.place, node: None, at: std::time::Duration::ZERO, detail }
    }
}

thread_local! {
    /// Whether panics of this thread are being caught, and the last one.
    static CATCHING: RefCell<Option<Option<Caught>>> = const { RefCell::new(None) };
}

/// Runs something; a panic of this thread in it is returned instead of printed.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Caught> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let caught = || {
                let payload = info.payload();
                let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
                let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
                Caught { place, message }
            };
            let ours = CATCHING.with_borrow_mut(|catching| match catching {
                Some(last) => {
                    // What the store makes an error of is none.
                    if !is_guarded() {
                        *last = Some(caught());
                    }
                    true
                }
                None => false,
            });
            if !ours {
                before(info);
            }
        }));
    });
    let outer = CATCHING.replace(Some(None));
    let result = catch_unwind(AssertUnwindSafe(run));
    let last = CATCHING.replace(outer).flatten();
    let nowhere = || Caught { place: "unknown".to_owned(), message: "a panic without a message".to_owned() };
    result.map_err(|_| last.unwrap_or_else(nowhere))
}

/// The last panic within the present [`catch`] that something else has caught already: a task's, which ends only the
/// task.
pub(crate) fn caught() -> Option<Caught> {
    CATCHING.with_borrow(|catching| catching.clone().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place() {
        let caught = catch(|| panic!("no {}", 1)).expect_err("panicked");
        assert_eq!(caught.message, "no 1");
        assert!(caught.place.contains("panics.rs:"), "{}", caught.place);
        assert_eq!(catch(|| 7), Ok(7));
    }
}
