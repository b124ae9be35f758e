//! A store that fails again and again on what peers send: they are kept away for a while, or they would send the same
//! for ever, on links that somebody pays for.

use std::time::Duration;

use tombolo_transport::CloseCode;

use crate::engine::interface::{Input, Now, Output};

/// How long peers are kept away after a second failure; doubles with every further one.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Without a failure for so long after a wait, all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// How a node stands with its own store.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// The last failure, and how long peers were kept away after it. A first one may have been the only one.
    last: Option<(Duration, Duration)>,
}

impl Trouble {
    /// A step failed in which something came from peers.
    pub(super) fn failed(&mut self, now: Now) {
        let wait = match self.last {
            Some((at, wait)) if now.mono < at + wait + FORGOTTEN_AFTER => (wait * 2).clamp(WAIT_MIN, WAIT_MAX),
            _ => Duration::ZERO,
        };
        assert!(wait <= WAIT_MAX, "nobody is kept away for ever");
        self.last = Some((now.mono, wait));
    }

    /// Takes connections that have just been made out of the inputs while peers are kept away, and closes them.
    pub(super) fn keep_away(&self, now: Now, inputs: &mut Vec<Input>, out: &mut Vec<Output>) {
        let Some(left) = self.last.and_then(|(at, wait)| (at + wait).checked_sub(now.mono)) else { return };
        if left.is_zero() {
            return;
        }
        let why = format!("the store failed several times: no exchange for {} s", left.as_secs() + 1);
        inputs.retain(|input| match input.connects() {
            Some(conn) => {
                out.push(Output::Close(conn, CloseCode::Overloaded, why.clone()));
                false
            }
            None => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::NodeId;

    use super::*;
    use crate::engine::interface::ConnId;

    fn turned_away(trouble: &Trouble, secs: u64) -> bool {
        let now = Now { mono: Duration::from_secs(secs), wall_millis: 0 };
        let (conn, peer) = (ConnId(1), NodeId::from_bytes([1; 32]));
        let mut inputs = vec![Input::Timer, Input::Connected { conn, peer, dialled: true, address: String::new() }];
        let mut out = Vec::new();
        trouble.keep_away(now, &mut inputs, &mut out);
        assert_eq!((inputs.len(), out.len()), if out.is_empty() { (2, 0) } else { (1, 1) });
        !out.is_empty()
    }

    #[test]
    fn one_failure_keeps_nobody_away_many_do_for_longer_and_longer_and_time_heals() {
        let mut trouble = Trouble::default();
        let mut fail = |secs: u64| {
            trouble.failed(Now { mono: Duration::from_secs(secs), wall_millis: 0 });
            (1..2_000).find(|after| !turned_away(&trouble, secs + after)).expect("not for ever") - 1
        };
        assert_eq!(fail(100), 0);
        assert_eq!([fail(101), fail(110), fail(120), fail(130)], [0, 1, 3, 7]);
        for n in 0..20 {
            fail(140 + n);
        }
        assert_eq!(fail(200), WAIT_MAX.as_secs() - 1);
        assert_eq!(fail(200 + 800), 0);
    }
}
