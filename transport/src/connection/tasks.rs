//! The tasks of a connection. Each ends when the connection does.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};

use super::Channel;
use super::hub::{Hub, Next};
use crate::error::{CloseCode, Lost};
use crate::limits;

pub(super) fn start(hub: &Arc<Hub>, control: (SendStream, RecvStream)) {
    let (send, receive) = control;
    // Acknowledgements go before data that QUIC has already taken.
    let _ = send.set_priority(1);
    hub.runtime.spawn(watch(hub.clone()));
    hub.runtime.spawn(control_out(hub.clone(), send));
    hub.runtime.spawn(control_in(hub.clone(), receive));
    hub.runtime.spawn(accept_transfers(hub.clone()));
}

/// Learns why the connection ended.
async fn watch(hub: Arc<Hub>) {
    let lost = hub.quinn.closed().await.into();
    hub.lose(lost);
}

async fn control_out(hub: Arc<Hub>, mut stream: SendStream) {
    if let Err(lost) = write_frames(&hub, Channel::Control, &mut stream).await {
        give_up(&hub, lost);
        return;
    }
    if let Some((code, reason)) = hub.closing() {
        let _ = stream.finish();
        let _ = tokio::time::timeout(limits::FLUSH_TIMEOUT, stream.stopped()).await;
        hub.fail(Lost::ByUs { code }, code, &reason);
    }
}

pub(super) async fn transfer_out(hub: Arc<Hub>, channel: u32) {
    let result = async {
        let mut stream = hub.quinn.open_uni().await?;
        write(&mut stream, &channel.to_le_bytes()).await?;
        hub.opened(channel);
        write_frames(&hub, Channel::Transfer(channel), &mut stream).await?;
        let _ = stream.finish();
        Ok(())
    };
    match result.await {
        Ok(()) => hub.finished(channel),
        Err(lost) => give_up(&hub, lost),
    }
}

async fn write_frames(hub: &Hub, channel: Channel, stream: &mut SendStream) -> Result<(), Lost> {
    loop {
        match hub.next_to_write(channel).await {
            Next::Write(frame) => {
                // The length fits: longer frames are not queued. Both in one call, or QUIC may send a packet of four
                // bytes.
                let (length, bytes) = ((frame.len() as u32).to_le_bytes(), frame.len());
                let mut chunks = [Bytes::copy_from_slice(&length), Bytes::from(frame)];
                stream.write_all_chunks(&mut chunks).await.map_err(write_error)?;
                hub.written(channel, bytes);
            }
            Next::Finish | Next::Stop => return Ok(()),
        }
    }
}

async fn control_in(hub: Arc<Hub>, mut stream: RecvStream) {
    let result = read_frames(&hub, Channel::Control, &mut stream).await;
    if let Err(lost) = result {
        give_up(&hub, lost);
    }
    hub.ended(Channel::Control);
}

async fn accept_transfers(hub: Arc<Hub>) {
    while hub.place().await {
        match hub.quinn.accept_uni().await {
            Ok(stream) => {
                hub.runtime.spawn(transfer_in(hub.clone(), stream));
            }
            Err(_) => return,
        }
    }
}

async fn transfer_in(hub: Arc<Hub>, mut stream: RecvStream) {
    let result = async {
        let mut number = [0; limits::CHANNEL_BYTES];
        if !read(&mut stream, &mut number).await? {
            return Err(Lost::Protocol { what: "a transfer without a channel number" });
        }
        let channel = u32::from_le_bytes(number);
        if !hub.name(channel) {
            return Err(Lost::Protocol { what: "a channel number used twice" });
        }
        let channel = Channel::Transfer(channel);
        if read_frames(&hub, channel, &mut stream).await? {
            hub.ended(channel);
        }
        Ok(())
    };
    if let Err(lost) = result.await {
        give_up(&hub, lost);
    }
}

/// Reads to the end of the stream. `false`: given up because the connection is gone.
async fn read_frames(hub: &Hub, channel: Channel, stream: &mut RecvStream) -> Result<bool, Lost> {
    let mut length = [0; limits::LENGTH_BYTES];
    while read(stream, &mut length).await? {
        let bytes = u32::from_le_bytes(length) as usize;
        let limit = channel.frame_bytes_max();
        if bytes == 0 {
            return Err(Lost::Protocol { what: "an empty frame" });
        }
        if bytes > limit {
            return Err(Lost::FrameTooLong { channel, bytes, limit });
        }
        if channel == Channel::Control && !hub.may_read(bytes).await? {
            return Ok(false);
        }
        if !hub.reserve(channel, bytes).await {
            return Ok(false);
        }
        let frame = read_frame(hub, channel, stream, bytes).await?;
        hub.received(channel, frame);
    }
    Ok(true)
}

/// The buffer grows with what arrives, not with what was announced. Room has been made for all of it, so if nothing
/// arrives it is the sender that stands still.
async fn read_frame(hub: &Hub, channel: Channel, stream: &mut RecvStream, bytes: usize) -> Result<Vec<u8>, Lost> {
    let mut frame = Vec::with_capacity(bytes.min(limits::FRAME_GROWTH));
    while frame.len() < bytes {
        let chunk = tokio::time::timeout(hub.frame_stall, stream.read_chunk(bytes - frame.len(), true)).await;
        match chunk.map_err(|_| Lost::Stalled { channel })?.map_err(read_error)? {
            Some(chunk) => frame.extend_from_slice(&chunk.bytes),
            None => return Err(CUT_OFF),
        }
    }
    Ok(frame)
}

/// Fills the buffer. `false`: the stream ended before its first byte.
pub(super) async fn read(stream: &mut RecvStream, buffer: &mut [u8]) -> Result<bool, Lost> {
    match stream.read_exact(buffer).await {
        Ok(()) => Ok(true),
        Err(ReadExactError::FinishedEarly(0)) => Ok(false),
        Err(ReadExactError::FinishedEarly(_)) => Err(CUT_OFF),
        Err(ReadExactError::ReadError(error)) => Err(read_error(error)),
    }
}

pub(super) async fn write(stream: &mut SendStream, bytes: &[u8]) -> Result<(), Lost> {
    stream.write_all(bytes).await.map_err(write_error)
}

fn write_error(error: WriteError) -> Lost {
    match error {
        WriteError::ConnectionLost(error) => error.into(),
        WriteError::Stopped(_) => Lost::Protocol { what: "it stopped one of our streams" },
        WriteError::ClosedStream | WriteError::ZeroRttRejected => Lost::Transport { reason: error.to_string() },
    }
}

fn read_error(error: ReadError) -> Lost {
    match error {
        ReadError::ConnectionLost(error) => error.into(),
        ReadError::Reset(_) => Lost::Protocol { what: "it reset a stream" },
        other => Lost::Transport { reason: other.to_string() },
    }
}

/// A stream failed: its cause becomes the connection's, and the peer is told if the fault is its own.
fn give_up(hub: &Hub, lost: Lost) {
    let reason = lost.to_string();
    match lost {
        Lost::FrameTooLong { .. } => hub.fail(lost, CloseCode::FrameTooLong, &reason),
        Lost::Stalled { .. } => hub.fail(lost, CloseCode::Stalled, &reason),
        Lost::Protocol { .. } | Lost::Transport { .. } => hub.fail(lost, CloseCode::Protocol, &reason),
        lost => {
            hub.lose(lost);
        }
    }
}

const CUT_OFF: Lost = Lost::Protocol { what: "a stream ended inside a frame" };
