//! Turns: work that takes a while is cut into pieces, and the pieces are made few at a time.
//!
//! The threads that serve requests are shared, so a handler works for at most some 10 ms before it gives way. What may
//! take longer runs on threads of its own, in lanes of named width. A lane serves its turns in the order in which they
//! were asked for, so a hundred exports share it evenly and none starves. A stream takes a turn per piece of its
//! answer, once its client has taken the piece before: a client that does not read holds no place in a lane.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};
use crate::handle::Stopped;

/// States of the past that are made at the same time: each keeps a core busy for up to some ten seconds.
const FOLDS_MAX: usize = 2;
/// Answers under way at the same time that have no known length: event streams, long polls, exports, imports. Each
/// holds some 64 KiB while its client does not read. A node has one token, so this is the bound per token.
const STREAMS_MAX: usize = 1_024;
/// Bytes of a row or a body that a handler decodes itself, in well under a millisecond; larger ones take a turn.
pub(super) const INLINE_BYTES: usize = 32 << 10;

/// Which kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// A piece of a long read: changes, listings, exports. A turn is bounded by what it reads.
    Pages,
    /// One value that is large by itself: a row, a body, a page of history.
    Values,
    /// A state of the past. A turn is the whole fold, in steps with a reading each.
    Folds,
}

/// The lanes of a node, and the places for streams.
#[derive(Debug)]
pub(super) struct Turns {
    pages: Arc<Semaphore>,
    values: Arc<Semaphore>,
    folds: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A place among the streams; free again when dropped.
#[derive(Debug)]
pub(super) struct StreamPlace(#[expect(dead_code, reason = "it is what it does when dropped")] OwnedSemaphorePermit);

impl Turns {
    /// Half of the cores, at least one, for each of pages and values: the engine and short requests keep the rest.
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let lane = |width: usize| Arc::new(Semaphore::new(width));
        let half = (cores / 2).max(1);
        Self { pages: lane(half), values: lane(half), folds: lane(FOLDS_MAX), streams: lane(STREAMS_MAX) }
    }

    /// Runs work on a thread of its own once it is its turn. Whoever no longer waits loses the turn, or the outcome if
    /// the work has begun; the place is free when the work is over, not before.
    ///
    /// # Errors
    /// The node is stopping, or the work panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let lane = match lane {
            Lane::Pages => &self.pages,
            Lane::Values => &self.values,
            Lane::Folds => &self.folds,
        };
        let place = Arc::clone(lane).acquire_owned().await.map_err(|_| Problem::from(Stopped))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        done.await.map_err(|error| Problem::new(Kind::Store, format!("the work ended early: {error}")))
    }

    /// Runs work that takes as long as `bytes` are many: here if they are few, else in a turn.
    ///
    /// # Errors
    /// As [`Turns::run`].
    pub(super) async fn value<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if bytes <= INLINE_BYTES { Ok(work()) } else { self.run(Lane::Values, work).await }
    }

    /// Takes a place among the streams.
    ///
    /// # Errors
    /// [`Kind::TooManyStreams`]: all are taken.
    pub(super) fn stream(&self) -> Result<StreamPlace, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let detail =
                format!("{STREAMS_MAX} streams, long polls, exports and imports are under way with this token");
            Problem::new(Kind::TooManyStreams, detail).with("limit", STREAMS_MAX as u64)
        })?;
        Ok(StreamPlace(place))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn turns_are_taken_in_order_and_a_place_is_kept_until_the_work_is_over() {
        let turns = Turns { pages: Arc::new(Semaphore::new(1)), ..Turns::new() };
        let (go, gone) = mpsc::channel::<()>();
        // Whoever waits for the first turn goes; the work does not, and keeps its place.
        let mut first = Box::pin(turns.run(Lane::Pages, move || gone.recv()));
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        let (done, order) = mpsc::channel();
        let turn = |number| {
            let done = done.clone();
            turns.run(Lane::Pages, move || done.send(number))
        };
        let (mut second, mut third) = (Box::pin(turn(2)), Box::pin(turn(3)));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(turns.pages.available_permits(), 0, "the work is still under way");
        go.send(()).expect("it waits");
        let ran = futures_util::future::join(third, second).await;
        assert!(matches!(ran, (Ok(Ok(())), Ok(Ok(())))));
        assert_eq!(order.try_iter().collect::<Vec<u32>>(), [2, 3]);
    }

    #[test]
    fn streams_have_a_bound_that_is_told() {
        let turns = Turns { streams: Arc::new(Semaphore::new(1)), ..Turns::new() };
        let place = turns.stream().expect("a place");
        let problem = turns.stream().expect_err("none left");
        assert_eq!(problem.status(), 429);
        drop(place);
        assert!(turns.stream().is_ok());
    }
}
