//! Every limit of the wire in one place: name, unit, reason. All are per connection unless they say otherwise.

use std::time::Duration;

use crate::places::Bound;

/// Application protocol of the TLS handshake. A peer that offers no such name speaks another version.
pub const ALPN: &[u8] = b"tombolo/1";

/// Transfer streams open at once, per direction. Eight spaces in parallel saturate a link; each further one costs
/// [`STREAM_WINDOW`] of memory at the receiver.
pub const TRANSFERS_MAX: usize = 8;

/// Bytes of one stream that may be under way without the receiver having taken them: 10 MiB/s at 100 ms.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// Transfer streams that QUIC grants a peer. One more than are used: quinn tells the peer of freed streams only when
/// more than an eighth of them (here: two) are free, so that one finished stream may go unannounced for ever.
pub const TRANSFER_STREAMS_GRANTED: u32 = TRANSFERS_MAX as u32 + 1;

/// Bytes of all streams together that may be under way. All transfer streams full and unread still leave the control
/// stream its whole window: data never blocks acknowledgements. The 64 KiB are for what is counted twice for a moment.
pub const RECEIVE_WINDOW: u32 = (TRANSFER_STREAMS_GRANTED + 1) * STREAM_WINDOW + RECEIVE_WINDOW_SLACK;

/// See [`RECEIVE_WINDOW`]. Bytes.
pub const RECEIVE_WINDOW_SLACK: u32 = 64 << 10;

/// Bytes sent and not yet acknowledged, all streams: 40 MiB/s at 100 ms. More would only
/// make control frames wait behind data on slow links.
pub const SEND_WINDOW: u64 = 4 << 20;

/// Bytes of the longest frame on a transfer stream: the largest entry (4 MiB) with its envelope and room to spare.
pub const TRANSFER_FRAME_BYTES_MAX: usize = 5 << 20;

/// Bytes of the longest frame on the control stream: 1 MiB of rules entries and their envelope.
pub const CONTROL_FRAME_BYTES_MAX: usize = (1 << 20) + (4 << 10);

/// Bytes of the longest control frame of a stranger: a hello or a join with sixteen addresses.
pub const STRANGER_FRAME_BYTES_MAX: usize = 16 << 10;

/// Bytes that a stranger's connection may have under way: two of its longest frames.
pub const STRANGER_WINDOW: u32 = 32 << 10;

/// Bytes of a stranger's frames that wait for the user (or one longer frame alone).
pub const STRANGER_RECEIVE_BUFFER: usize = 32 << 10;

/// Bytes of received data that one stranger can make this node hold: what is under way, what waits, what is read.
pub const STRANGER_BYTES_MAX: usize = STRANGER_WINDOW as usize + STRANGER_RECEIVE_BUFFER + STRANGER_FRAME_BYTES_MAX;

/// Bytes of received data that all strangers together can make this node hold: 20 MiB.
pub const STRANGERS_BYTES_MAX: usize = STRANGERS.all * STRANGER_BYTES_MAX;

/// Bytes of the longest control frame of a guest: a page of rules entries (128 KiB) and its envelope.
pub const GUEST_FRAME_BYTES_MAX: usize = (128 << 10) + (4 << 10);

/// Bytes that a guest's connection may have under way: nearly two pages.
pub const GUEST_WINDOW: u32 = 256 << 10;

/// How long a frame may stand still while this node takes bytes, before its connection is given up.
pub const FRAME_STALL: Duration = Duration::from_secs(30);

/// Bytes of frames that wait in one transfer channel before its stream took them (or one longer frame alone).
pub const TRANSFER_SEND_BUFFER: usize = 1 << 20;

/// Bytes of frames that wait for the control stream: two of the longest, or thousands of acknowledgements.
pub const CONTROL_SEND_BUFFER: usize = 2 * CONTROL_FRAME_BYTES_MAX;

/// Bytes of received frames of one transfer channel that wait for the user (or one longer frame alone).
pub const TRANSFER_RECEIVE_BUFFER: usize = 1 << 20;

/// Bytes of received control frames that wait for the user (or one longer frame alone).
pub const CONTROL_RECEIVE_BUFFER: usize = 1 << 20;

/// Bytes before the frames of a transfer stream: its channel number, u32 little-endian.
pub const CHANNEL_BYTES: usize = 4;

/// Bytes before every frame: its length, u32 little-endian.
pub const LENGTH_BYTES: usize = 4;

/// First bytes of the control stream. They make it visible to the accepting side before the dialler has a frame to
/// send.
pub const CONTROL_PREAMBLE: [u8; 4] = *b"tmb1";

/// Bytes that every received frame counts beyond its own: floods of tiny frames must not cost memory for nothing.
pub const FRAME_OVERHEAD: usize = 64;

/// Bytes by which the buffer of an arriving frame grows: a length alone allocates no more than this.
pub const FRAME_GROWTH: usize = 64 << 10;

/// Bytes of received data one connection can make this node hold at most, whatever the peer does and the user leaves.
pub const RECEIVE_BYTES_MAX: usize =
    RECEIVE_WINDOW as usize + TRANSFERS_MAX * TRANSFER_FRAME_BYTES_MAX + CONTROL_FRAME_BYTES_MAX;

/// Interval of packets on a silent connection: keeps home routers' UDP mappings (typically 30 s) and notices a dead
/// path early.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Silence after which a connection is lost: six keep-alives.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// From the first packet to the open control stream, either side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a closing connection waits for the peer to acknowledge its last control frames.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Handshakes under way at once; beyond it the oldest is given up. An honest one takes two round trips.
pub const HANDSHAKES: Bound = Bound { all: 128, per_address: 32 };

/// Finished handshakes whose control stream has not begun. A dialler begins it with its last packet of the handshake.
pub const WAITING: Bound = Bound { all: 128, per_address: 32 };

/// Strangers at once; beyond it the oldest goes. A member is one for a round trip, unless its key is known. Guests
/// whose keys are not known have as many places of their own.
pub const STRANGERS: Bound = Bound { all: 256, per_address: 64 };

/// Accepted connections of one key that are no member's. Two are there when a node dials again before it gave up the
/// first.
pub const PER_KEY: usize = 4;

/// Handshakes under way from which on newcomers must first prove their address (QUIC Retry), whole endpoint.
pub const HANDSHAKES_BEFORE_RETRY: usize = 32;

/// Accepted connections at once, whole endpoint; beyond it newcomers are refused. Strangers have at most half of them,
/// guests a quarter, and a mesh has tens of peers.
pub const CONNECTIONS_MAX: usize = 1_024;

/// Connections at once, with those that are closed and whose last packets are awaited, whole endpoint.
pub const OPEN_CONNECTIONS_MAX: usize = 4 * CONNECTIONS_MAX;

/// Connection attempts that wait for [`crate::Endpoint::accept`], whole endpoint.
pub const INCOMING_MAX: usize = 256;

/// Bytes buffered per waiting attempt.
pub const INCOMING_BUFFER: u64 = 64 << 10;

/// Bytes buffered for all waiting attempts.
pub const INCOMING_BUFFER_TOTAL: u64 = 4 << 20;

/// Validity of an address proof (QUIC Retry).
pub const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(15);

/// Addresses of one target that are tried; the rest is left out. A name with more is a mistake or an attack.
pub const DIAL_ADDRESSES_MAX: usize = 16;

/// Addresses of one target that are tried at once.
pub const DIAL_AT_ONCE_MAX: usize = 4;

/// Head start of an address over the next one when a target has several.
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);

const _: () = assert!(RECEIVE_WINDOW >= (TRANSFER_STREAMS_GRANTED + 1) * STREAM_WINDOW + (64 << 10));
const _: () = assert!(TRANSFER_STREAMS_GRANTED - TRANSFER_STREAMS_GRANTED / 8 >= TRANSFERS_MAX as u32);
const _: () = assert!(CONTROL_FRAME_BYTES_MAX <= CONTROL_SEND_BUFFER);
const _: () = assert!(KEEP_ALIVE.as_millis() * 2 < IDLE_TIMEOUT.as_millis());
const _: () = assert!(HANDSHAKES_BEFORE_RETRY < HANDSHAKES.all);
const _: () = assert!(HANDSHAKES.all + WAITING.all + 2 * STRANGERS.all <= CONNECTIONS_MAX / 4 * 3);
const _: () = assert!(STRANGERS_BYTES_MAX <= 32 << 20);
const _: () =
    assert!(STRANGER_FRAME_BYTES_MAX < GUEST_FRAME_BYTES_MAX && GUEST_FRAME_BYTES_MAX < CONTROL_FRAME_BYTES_MAX);

// What the reasons above rest on.
const _: () = assert!(TRANSFERS_MAX < TRANSFER_STREAMS_GRANTED as usize, "a finished stream may go unannounced");
const _: () = assert!(CONTROL_FRAME_BYTES_MAX <= CONTROL_SEND_BUFFER, "the longest frame does not wait for others");
const _: () = assert!(STRANGER_FRAME_BYTES_MAX <= STRANGER_WINDOW as usize, "a stranger's frame can arrive");
const _: () = assert!(GUEST_FRAME_BYTES_MAX <= GUEST_WINDOW as usize, "a guest's frame can arrive");
const _: () = assert!(KEEP_ALIVE.as_secs() * 3 <= IDLE_TIMEOUT.as_secs(), "a lost packet ends no connection");
const _: () =
    assert!(STRANGERS.all + WAITING.all + HANDSHAKES.all <= CONNECTIONS_MAX / 2, "members come in past strangers");
