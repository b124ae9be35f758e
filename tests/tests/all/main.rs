//! Tombolo from outside: real processes, real sockets, real files. One binary: linking costs more than running.

mod api;
mod cli;
mod durability;
mod history;
mod http;
mod import;
mod simulation;
mod stalled;
mod sync;
mod tidy;
mod verify;
