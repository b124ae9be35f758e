//! The transport from outside, over real QUIC on the loopback interface. One binary: linking costs more than running.

#![expect(clippy::panic, reason = "tests report by panicking")]

mod discovery;
mod flow;
mod frames;
mod golden_frames;
mod handshake;
mod strangers;
mod support;
