//! Back-pressure: a reader that does not read holds up its own channel and nothing else, within bounds.

use std::collections::BTreeMap;

use crate::support::split_pair;
use tombolo_transport::{Channel, ConnectionHandle, Event, Events, SendError, limits};

/// Bytes of every transfer in [`five_channels_both_ways_with_one_unread`].
const TOTAL: usize = 12 << 20;
const FRAME: usize = 100_000;
/// The channel that is left unread for a while.
const UNREAD: u32 = 2;

/// What one end does: sends `TOTAL` on channels 0 to 4 and echoes control frames, and reads all but `UNREAD` until the
/// other four are through.
struct Side {
    handle: ConnectionHandle,
    events: Events,
    sent: BTreeMap<u32, usize>,
    credit: BTreeMap<u32, usize>,
    received: BTreeMap<u32, usize>,
    /// Control frames received.
    echoes: u32,
    ended: usize,
}

impl Side {
    fn new((handle, events): (ConnectionHandle, Events)) -> Self {
        let zeros = || (0..5).map(|channel| (channel, 0)).collect();
        (0..5).for_each(|channel| handle.open_transfer(channel).expect("a place"));
        Self { handle, events, sent: zeros(), credit: zeros(), received: zeros(), echoes: 0, ended: 0 }
    }

    /// Sends what the last `Writable` allows, which must always be taken.
    fn send(&mut self, channel: u32) {
        let (credit, sent) = (self.credit.get_mut(&channel).expect("ours"), self.sent.get_mut(&channel).expect("ours"));
        while *credit >= FRAME && *sent < TOTAL {
            let bytes = FRAME.min(TOTAL - *sent);
            self.handle.send_transfer(channel, vec![channel as u8; bytes]).expect("told so");
            *sent += bytes;
            *credit -= bytes;
        }
        if *sent == TOTAL {
            *credit = 0;
            self.handle.finish_transfer(channel).expect("open");
        }
    }

    async fn step(&mut self) {
        match self.events.next().await.expect("running") {
            Event::Writable { channel: Channel::Transfer(channel), bytes } => {
                assert!(bytes <= limits::TRANSFER_SEND_BUFFER);
                self.credit.insert(channel, bytes);
                self.send(channel);
            }
            Event::Frame { channel: Channel::Control, frame } => {
                self.echoes += 1;
                self.handle.send_control(frame).expect("room");
            }
            Event::Frame { channel: Channel::Transfer(channel), frame } => {
                assert!(frame.iter().all(|byte| u32::from(*byte) == channel));
                *self.received.get_mut(&channel).expect("theirs") += frame.len();
                if channel == UNREAD && self.ended < 4 {
                    assert!(self.handle.set_paused(UNREAD, true));
                }
            }
            Event::Ended { channel } => {
                assert_eq!(self.received[&channel], TOTAL, "{channel}");
                self.ended += 1;
            }
            Event::Closed(lost) => panic!("{lost}"),
            _ => {}
        }
    }
}

/// At the worst this much of a transfer is between two users of which one does not read: the sender's buffer, what QUIC
/// allows under way, the receiver's buffer, and the frame it is assembling.
const UNDER_WAY_MAX: usize =
    limits::TRANSFER_SEND_BUFFER + limits::STREAM_WINDOW as usize + limits::TRANSFER_RECEIVE_BUFFER + FRAME;

#[tokio::test]
async fn five_channels_both_ways_with_one_unread() {
    let (one, two) = split_pair().await;
    let (mut one, mut two) = (Side::new(one), Side::new(two));
    one.handle.send_control(b"to and fro".to_vec()).expect("room");
    while one.ended < 4 || two.ended < 4 {
        tokio::select! { () = one.step() => {}, () = two.step() => {} }
    }
    for (sender, receiver) in [(&one, &two), (&two, &one)] {
        assert!(receiver.received[&UNREAD] < TOTAL);
        assert!(sender.sent[&UNREAD] - receiver.received[&UNREAD] <= UNDER_WAY_MAX);
    }
    // Control goes on while the channel stands still.
    let before = one.echoes;
    assert!(before > 0);
    while one.echoes < before + 10 {
        tokio::select! { () = one.step() => {}, () = two.step() => {} }
    }
    for (sender, receiver) in [(&one, &two), (&two, &one)] {
        assert!(sender.sent[&UNREAD] - receiver.received[&UNREAD] <= UNDER_WAY_MAX);
    }
    one.handle.set_paused(UNREAD, false);
    two.handle.set_paused(UNREAD, false);
    while one.ended < 5 || two.ended < 5 {
        tokio::select! { () = one.step() => {}, () = two.step() => {} }
    }
}

/// Both ends write on all channels and neither reads: each must come to a stop within its buffers, and once both read
/// again everything arrives.
#[tokio::test]
async fn two_ends_that_only_write_do_not_deadlock() {
    let (one, two) = split_pair().await;
    let (mut one, mut two) = (Side::new(one), Side::new(two));
    for side in [&mut one, &mut two] {
        let mut writable = 0;
        while writable < 5 {
            if let Event::Writable { channel: Channel::Transfer(channel), bytes } =
                side.events.next().await.expect("running")
            {
                side.credit.insert(channel, bytes);
                writable += 1;
            }
        }
        for channel in 0..5 {
            side.send(channel);
            let error = side.handle.send_transfer(channel, vec![0; FRAME * 8]).expect_err("full");
            assert!(matches!(error, SendError::Full { .. }), "{error}");
        }
    }
    while one.ended < 4 || two.ended < 4 {
        tokio::select! { () = one.step() => {}, () = two.step() => {} }
    }
    one.handle.set_paused(UNREAD, false);
    two.handle.set_paused(UNREAD, false);
    while one.ended < 5 || two.ended < 5 {
        tokio::select! { () = one.step() => {}, () = two.step() => {} }
    }
}

/// Every transfer there may be stands still, in both directions, with all buffers full: control frames go on.
#[tokio::test]
async fn control_goes_on_when_no_transfer_is_read() {
    let ((one, mut at_one), (two, mut at_two)) = split_pair().await;
    let channels = 0..limits::TRANSFERS_MAX as u32;
    for channel in channels.clone() {
        one.open_transfer(channel).expect("a place");
        two.open_transfer(channel).expect("a place");
    }
    one.send_control(vec![7; 1_000]).expect("room");
    let mut sent = [vec![0; limits::TRANSFERS_MAX], vec![0; limits::TRANSFERS_MAX]];
    let mut echoes_when_full = 0;
    while echoes_when_full < 500 {
        let (side, handle, event) = tokio::select! {
            event = at_one.next() => (0, &one, event),
            event = at_two.next() => (1, &two, event),
        };
        match event.expect("running") {
            Event::Frame { channel: Channel::Control, frame } => {
                handle.send_control(frame).expect("room");
                let is_full = |sent: &usize| *sent >= limits::TRANSFER_SEND_BUFFER + limits::TRANSFER_RECEIVE_BUFFER;
                echoes_when_full += usize::from(sent.iter().flatten().all(is_full));
            }
            Event::Frame { channel: Channel::Transfer(channel), .. } => assert!(handle.set_paused(channel, true)),
            Event::Writable { channel: Channel::Transfer(channel), bytes } => {
                for _ in 0..bytes / FRAME {
                    handle.send_transfer(channel, vec![0; FRAME]).expect("told so");
                    sent[side][channel as usize] += FRAME;
                }
            }
            Event::Closed(lost) => panic!("{lost}"),
            _ => {}
        }
    }
    assert!(sent.iter().flatten().all(|sent| *sent <= UNDER_WAY_MAX + FRAME), "{sent:?}");
}

/// A peer that takes no control frames meets a bound, not an endless queue.
#[tokio::test]
async fn control_frames_are_bounded_too() {
    let ((one, _at_one), (_two, _at_two)) = split_pair().await;
    let most = limits::CONTROL_SEND_BUFFER
        + limits::STREAM_WINDOW as usize
        + limits::CONTROL_RECEIVE_BUFFER
        + limits::CONTROL_FRAME_BYTES_MAX;
    let mut taken = 0;
    // Longer than the queue is deep: as long as QUIC takes frames, others can follow.
    let mut refusals = 0;
    while refusals < 1_000 {
        match one.send_control(vec![1; 10_000]) {
            Ok(()) => taken += 10_000,
            Err(SendError::Full { .. }) => {
                refusals += 1;
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken <= most, "{taken}");
    }
}
