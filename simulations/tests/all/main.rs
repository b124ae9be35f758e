//! The simulator, and the product in it. One binary: linking costs more than running.

mod attack;
mod bad;
mod care;
mod convergence;
mod crashes;
mod quic;
mod repro;
mod review;
mod support;
mod world;
