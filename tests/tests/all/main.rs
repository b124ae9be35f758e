//! Tombolo from outside: real processes, real sockets, real files. One binary: linking costs more than running.

#![expect(clippy::disallowed_methods, reason = "deadlines of real processes are in real time")]

mod api;
mod cli;
mod durability;
mod history;
mod http;
mod import;
mod long;
mod running;
mod simulation;
mod stalled;
mod strangers;
mod sync;
mod tidy;
mod verify;
