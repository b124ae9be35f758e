//! The two bounded buffers of a channel, without tasks, locks or waiting.

use std::collections::VecDeque;

use crate::limits::FRAME_OVERHEAD;

/// Frames on their way out. Holds at most its capacity, or one longer frame alone. A frame counts until QUIC has taken
/// all of it.
#[derive(Debug)]
pub(super) struct SendQueue {
    capacity: usize,
    frames: VecDeque<Vec<u8>>,
    /// Bytes in `frames`, and of the frame being written.
    bytes: usize,
    /// What the user believes may still be sent; never more than is true.
    announced: usize,
}

impl SendQueue {
    /// A queue whose user knows nothing of its room yet.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, frames: VecDeque::new(), bytes: 0, announced: 0 }
    }

    /// Takes a frame, or hands it back if there is no room.
    pub(super) fn push(&mut self, frame: Vec<u8>) -> Result<(), Vec<u8>> {
        if self.bytes > 0 && frame.len() > self.room() {
            return Err(frame);
        }
        let most = self.capacity.max(self.bytes).max(frame.len());
        self.bytes += frame.len();
        assert!(self.bytes <= most, "a queue holds its capacity, or one longer frame alone");
        self.announced = self.announced.saturating_sub(frame.len());
        self.frames.push_back(frame);
        Ok(())
    }

    /// The next frame to write; it goes on counting until [`SendQueue::written`].
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    pub(super) fn written(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.bytes, "what is written was counted when it was queued");
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether the user should hear how much room there is.
    pub(super) fn is_worth_telling(&self) -> bool {
        let news = self.room().saturating_sub(self.announced);
        news >= self.capacity.div_ceil(2) || (self.bytes == 0 && news > 0)
    }

    /// The room, which the user is about to hear.
    pub(super) fn tell(&mut self) -> usize {
        self.announced = self.room();
        self.announced
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes)
    }
}

/// Frames that arrived. Holds at most its capacity, or one longer frame alone; each counts [`FRAME_OVERHEAD`] more than
/// its bytes.
#[derive(Debug)]
pub(super) struct ReceiveQueue {
    capacity: usize,
    frames: VecDeque<Vec<u8>>,
    /// Cost of `frames`, and of the frame that is being read.
    cost: usize,
}

impl ReceiveQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, frames: VecDeque::new(), cost: 0 }
    }

    /// Holds more from now on.
    pub(super) fn widen(&mut self, capacity: usize) {
        debug_assert!(capacity >= self.capacity, "a queue does not shrink");
        self.capacity = self.capacity.max(capacity);
    }

    /// Makes room for a frame of that length before it is read. `false`: not yet.
    pub(super) fn reserve(&mut self, bytes: usize) -> bool {
        let cost = bytes + FRAME_OVERHEAD;
        let fits = self.cost == 0 || self.cost + cost <= self.capacity;
        if fits {
            self.cost += cost;
        }
        assert!(self.cost <= self.capacity.max(cost) || !fits, "a queue holds its capacity, or one frame alone");
        fits
    }

    /// The frame for which room was made.
    pub(super) fn push(&mut self, frame: Vec<u8>) {
        debug_assert!(frame.len() + FRAME_OVERHEAD <= self.cost, "room is made before a frame is read");
        self.frames.push_back(frame);
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        debug_assert!(frame.len() + FRAME_OVERHEAD <= self.cost, "room was made for what arrived");
        self.cost = self.cost.saturating_sub(frame.len() + FRAME_OVERHEAD);
        Some(frame)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_was_told_is_always_taken() {
        let mut queue = SendQueue::new(100);
        assert!(queue.is_worth_telling());
        assert_eq!(queue.tell(), 100);
        assert!(!queue.is_worth_telling());
        queue.push(vec![0; 60]).expect("told");
        queue.push(vec![0; 40]).expect("told");
        assert_eq!(queue.push(vec![0; 1]), Err(vec![0; 1]));

        assert_eq!(queue.take().map(|frame| frame.len()), Some(60));
        assert_eq!(queue.push(vec![0; 1]), Err(vec![0; 1]), "being written still counts");
        queue.written(60);
        assert!(queue.is_worth_telling());
        assert_eq!(queue.tell(), 60);
        queue.push(vec![0; 60]).expect("told");
    }

    #[test]
    fn small_gains_are_not_told_but_emptiness_is() {
        let mut queue = SendQueue::new(100);
        queue.tell();
        queue.push(vec![0; 90]).expect("told");
        queue.push(vec![0; 10]).expect("told");
        queue.take();
        queue.written(90);
        assert_eq!(queue.tell(), 90);
        queue.take();
        queue.written(10);
        assert!(queue.is_worth_telling());
        assert_eq!(queue.tell(), 100);
    }

    #[test]
    fn a_frame_longer_than_the_buffer_goes_alone() {
        let mut queue = SendQueue::new(100);
        queue.push(vec![0; 1]).expect("room");
        assert!(queue.push(vec![0; 500]).is_err());
        queue.take();
        queue.written(1);
        queue.push(vec![0; 500]).expect("empty");
        assert!(queue.push(vec![0; 1]).is_err());
    }

    #[test]
    fn received_frames_are_bounded_in_bytes_and_number() {
        let mut queue = ReceiveQueue::new(1_000);
        assert!(queue.reserve(5_000), "alone");
        assert!(!queue.reserve(1));
        queue.push(vec![0; 5_000]);
        assert_eq!(queue.pop().map(|frame| frame.len()), Some(5_000));

        let taken = (0..10_000).take_while(|_| queue.reserve(1)).count();
        assert_eq!(taken, 1_000 / (FRAME_OVERHEAD + 1));
    }
}
