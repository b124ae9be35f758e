//! What belongs to connections: who is there, what each knows of the other, what has to be said.
//!
//! Nothing here reads or writes a row, or decides on an entry: of a space only what has been settled and what moved is
//! asked. Start at [`exchange`], which runs after every commit; `session` is one space on one connection.

pub(in crate::engine) mod acks;
pub(in crate::engine) mod agenda;
pub(in crate::engine) mod clocks;
pub(in crate::engine) mod conn;
pub(in crate::engine) mod contacts;
pub(in crate::engine) mod exchange;
pub(in crate::engine) mod hearing;
pub(in crate::engine) mod introduce;
pub(in crate::engine) mod pages;
pub(in crate::engine) mod session;
pub(in crate::engine) mod strangers;
pub(in crate::engine) mod transfer;
