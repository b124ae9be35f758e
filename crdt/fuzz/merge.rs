//! Any bytes as the decisions of a history: the oracle of `crdt/tests/oracle` with a fuzzer to decide.
#![no_main]
#![expect(dead_code, reason = "the tests need more of the oracle")]

use libfuzzer_sys::fuzz_target;

#[path = "../tests/oracle/choices.rs"]
mod choices;
#[path = "../tests/oracle/compare.rs"]
mod compare;
#[path = "../tests/oracle/edits.rs"]
mod edits;
#[path = "../tests/oracle/history.rs"]
mod history;
#[path = "../tests/oracle/tree.rs"]
mod tree;
#[path = "../tests/oracle/view.rs"]
mod view;
#[path = "../tests/oracle/writes.rs"]
mod writes;

fuzz_target!(
    init: {
        // libFuzzer's hook ends the process, which only our own panics shall do.
        let fatal = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !compare::is_automerges_own(panic.payload()) {
                fatal(panic);
            }
        }));
    },
    |data: &[u8]| {
        let run = || compare::run(&mut choices::Choices::Bytes(data));
        let _ = std::panic::catch_unwind(run);
    }
);
