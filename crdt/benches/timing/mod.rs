//! Time per call.

use std::time::{Duration, Instant};

/// The best of so many rounds counts: the others met something else on the machine.
const ROUNDS: usize = 7;
/// Time per round and subject.
const ROUND: Duration = Duration::from_millis(100);

/// Time per call in the best round.
pub(crate) fn best(mut call: impl FnMut()) -> Duration {
    (0..ROUNDS).map(|_| round(&mut call)).min().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "measures time and decides nothing")]
fn round(call: &mut impl FnMut()) -> Duration {
    let (begin, mut calls) = (Instant::now(), 0);
    while begin.elapsed() < ROUND || calls == 0 {
        call();
        calls += 1;
    }
    begin.elapsed() / calls
}
