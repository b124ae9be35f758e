//! Frames over real QUIC: intact, in order, bounded; peers that break the rules are shown out.

use std::collections::BTreeMap;

use crate::support::{Numbers, Rude, closed, endpoint, frame, split_pair, told};
use tombolo_transport::{Channel, CloseCode, Endpoint, Event, Events, Lost, SendError, Standing, limits};

#[tokio::test]
async fn control_frames_arrive_both_ways_in_order() {
    let ((one, mut at_one), (two, mut at_two)) = split_pair().await;
    two.send_control(b"accepting side speaks first".to_vec()).expect("room");
    assert_eq!(frame(&mut at_one).await, (Channel::Control, b"accepting side speaks first".to_vec()));
    for i in 1..=100_u8 {
        one.send_control(vec![i; usize::from(i)]).expect("room");
    }
    for i in 1..=100_u8 {
        assert_eq!(frame(&mut at_two).await, (Channel::Control, vec![i; usize::from(i)]));
    }
    let counts = one.counts();
    assert_eq!((counts.frames_sent, counts.bytes_sent), (100, 5_050 + 400));
    assert!(counts.udp_bytes_sent > counts.bytes_sent);
    assert_eq!(two.counts().bytes_received, 5_050 + 400);
}

#[tokio::test]
async fn random_frames_arrive_intact_and_in_order() {
    let ((one, mut at_one), (_two, mut at_two)) = split_pair().await;
    let numbers = |channel: u32| Numbers(u64::from(channel));
    const FRAMES: usize = 60;
    let send = async {
        let mut left: BTreeMap<u32, (usize, Numbers, Option<Vec<u8>>)> = BTreeMap::new();
        for channel in [3, 5, 9] {
            one.open_transfer(channel).expect("opened");
            left.insert(channel, (FRAMES, numbers(channel), None));
        }
        while !left.is_empty() {
            let event = at_one.next().await.expect("running");
            let Event::Writable { channel: Channel::Transfer(channel), .. } = event else { continue };
            let Some((count, numbers, waiting)) = left.get_mut(&channel) else { continue };
            loop {
                let next = match waiting.take() {
                    Some(frame) => frame,
                    None if *count == 0 => {
                        one.finish_transfer(channel).expect("open");
                        left.remove(&channel);
                        break;
                    }
                    None => {
                        *count -= 1;
                        numbers.frame(limits::TRANSFER_FRAME_BYTES_MAX)
                    }
                };
                match one.send_transfer(channel, next) {
                    Ok(()) => {}
                    Err(SendError::Full { frame, .. }) => {
                        *waiting = Some(frame);
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let receive = async {
        let mut expected: BTreeMap<u32, (usize, Numbers)> =
            [3, 5, 9].into_iter().map(|channel| (channel, (0, numbers(channel)))).collect();
        let mut ended = 0;
        while ended < 3 {
            match at_two.next().await.expect("running") {
                Event::Frame { channel: Channel::Transfer(channel), frame } => {
                    let (count, numbers) = expected.get_mut(&channel).expect("opened");
                    assert!(frame == numbers.frame(limits::TRANSFER_FRAME_BYTES_MAX), "frame {count} of {channel}");
                    *count += 1;
                }
                Event::Ended { channel } => {
                    assert_eq!(expected.get(&channel).expect("opened").0, FRAMES);
                    ended += 1;
                }
                Event::Closed(lost) => panic!("{lost}"),
                _ => {}
            }
        }
    };
    tokio::join!(send, receive);
}

async fn writable(events: &mut Events, wanted: u32) -> usize {
    while let Some(event) = events.next().await {
        match event {
            Event::Writable { channel: Channel::Transfer(channel), bytes } if channel == wanted => return bytes,
            Event::Closed(lost) => panic!("{lost}"),
            _ => {}
        }
    }
    panic!("over");
}

#[tokio::test]
async fn transfers_are_counted_and_numbered_upwards() {
    let ((one, mut at_one), (_two, mut at_two)) = split_pair().await;
    assert_eq!(one.send_transfer(1, vec![1]), Err(SendError::NotOpen { channel: 1 }));
    for channel in 1..=limits::TRANSFERS_MAX as u32 {
        one.open_transfer(channel).expect("a place");
    }
    assert_eq!(one.open_transfer(100), Err(SendError::TooManyTransfers));
    assert_eq!(writable(&mut at_one, 3).await, limits::TRANSFER_SEND_BUFFER);
    assert_eq!(one.open_transfer(3), Err(SendError::NotNew { channel: 3 }));
    assert_eq!(one.send_transfer(3, Vec::new()), Err(SendError::Empty));
    let too_long = vec![0; limits::TRANSFER_FRAME_BYTES_MAX + 1];
    assert!(matches!(one.send_transfer(3, too_long), Err(SendError::TooLong { .. })));
    one.send_transfer(3, b"last".to_vec()).expect("room");
    one.finish_transfer(3).expect("open");
    assert_eq!(one.send_transfer(3, vec![1]), Err(SendError::NotOpen { channel: 3 }));
    while at_one.next().await.expect("running") != (Event::Finished { channel: 3 }) {}
    one.open_transfer(100).expect("a place again");
    assert_eq!(frame(&mut at_two).await, (Channel::Transfer(3), b"last".to_vec()));
    assert_eq!(at_two.next().await.expect("running"), Event::Ended { channel: 3 });
    assert_eq!(writable(&mut at_one, 100).await, limits::TRANSFER_SEND_BUFFER, "the peer granted the stream");
}

#[tokio::test]
async fn what_was_queued_arrives_before_a_gentle_close() {
    let ((one, mut at_one), (_two, mut at_two)) = split_pair().await;
    for i in 1..=200_u8 {
        one.send_control(vec![i; 10_000]).expect("room");
    }
    one.close_when_sent(CloseCode::Replaced, "a better one");
    assert_eq!(one.send_control(vec![1]), Err(SendError::Closed));
    for i in 1..=200_u8 {
        assert_eq!(frame(&mut at_two).await, (Channel::Control, vec![i; 10_000]));
    }
    assert!(matches!(closed(&mut at_two).await, Lost::ByPeer { code: CloseCode::Replaced, .. }));
    assert_eq!(at_two.next().await, None);
    assert_eq!(closed(&mut at_one).await, Lost::ByUs { code: CloseCode::Replaced });
}

#[tokio::test]
async fn letting_go_of_the_events_closes() {
    let ((one, at_one), (_two, mut at_two)) = split_pair().await;
    drop(at_one);
    assert!(matches!(closed(&mut at_two).await, Lost::ByPeer { code: CloseCode::Done, .. }));
    assert_eq!(one.send_control(vec![1]), Err(SendError::Closed));
}

async fn rude() -> (Rude, Events, Endpoint) {
    let (rude, handle, events, two) = Rude::meet(endpoint(2)).await;
    handle.set_standing(Standing::Member);
    (rude, events, two)
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_the_connection() {
    let control = limits::CONTROL_FRAME_BYTES_MAX;
    let transfer = limits::TRANSFER_FRAME_BYTES_MAX;
    for (channel, limit) in [(Channel::Control, control), (Channel::Transfer(7), transfer)] {
        for bytes in [limit + 1, u32::MAX as usize] {
            let (mut rude, mut events, _two) = rude().await;
            let length = (bytes as u32).to_le_bytes();
            match channel {
                Channel::Control => rude.control.0.write_all(&length).await.expect("sent"),
                Channel::Transfer(number) => {
                    let mut stream = rude.quinn.open_uni().await.expect("granted");
                    stream.write_all(&[number.to_le_bytes(), length].concat()).await.expect("sent");
                    stream.finish().expect("open");
                }
            }
            assert_eq!(closed(&mut events).await, Lost::FrameTooLong { channel, bytes, limit });
            assert_eq!(told(&rude.quinn).await.0, 4);
        }
    }
}

#[tokio::test]
async fn broken_framing_closes_the_connection() {
    let cases: [(&[u8], &str); 4] = [
        (&[1, 0], "a stream ended inside a frame"),
        (&[], "a transfer without a channel number"),
        (&[1, 0, 0, 0, 0, 0, 0, 0], "an empty frame"),
        (&[1, 0, 0, 0, 9, 0, 0, 0, 1, 2], "a stream ended inside a frame"),
    ];
    for (bytes, expected) in cases {
        let (rude, mut events, _two) = rude().await;
        let mut stream = rude.quinn.open_uni().await.expect("granted");
        stream.write_all(bytes).await.expect("sent");
        stream.finish().expect("open");
        assert_eq!(closed(&mut events).await, Lost::Protocol { what: expected });
        assert_eq!(told(&rude.quinn).await.0, 3);
    }
}

#[tokio::test]
async fn one_channel_number_on_two_streams_closes_the_connection() {
    let (rude, mut events, _two) = rude().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = rude.quinn.open_uni().await.expect("granted");
        stream.write_all(&[5, 0, 0, 0, 1, 0, 0, 0, 9]).await.expect("sent");
        streams.push(stream);
    }
    assert_eq!(closed(&mut events).await, Lost::Protocol { what: "a channel number used twice" });
}

#[tokio::test]
async fn a_length_alone_allocates_little_and_keeps_nobody_waiting() {
    let (mut rude, mut events, _two) = rude().await;
    let mut streams = Vec::new();
    for number in 0..limits::TRANSFERS_MAX as u32 {
        let mut stream = rude.quinn.open_uni().await.expect("granted");
        let length = limits::TRANSFER_FRAME_BYTES_MAX as u32;
        stream.write_all(&[number.to_le_bytes(), length.to_le_bytes()].concat()).await.expect("sent");
        streams.push(stream);
    }
    rude.control.0.write_all(&[2, 0, 0, 0, 8, 9]).await.expect("sent");
    assert_eq!(frame(&mut events).await, (Channel::Control, vec![8, 9]));
}
