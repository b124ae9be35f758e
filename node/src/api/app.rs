//! What every handler sees.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::guard::Guard;
use super::metrics::HttpMetrics;
use super::problem::Problem;
use super::spaces::Names;
use super::turns::Turns;
use crate::handle::EngineHandle;
use crate::runtime::{Addresses, Clock, DialReports, StepTimes, Traffic};
use crate::store::{Reader, Reading};

/// What the API is made of.
#[derive(Debug)]
pub(crate) struct AppConfig {
    pub(crate) engine: EngineHandle,
    pub(crate) reader: Reader,
    pub(crate) addresses: Addresses,
    pub(crate) clock: Clock,
    pub(crate) token: String,
    pub(crate) allow_hosts: Vec<String>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) dials: DialReports,
    pub(crate) steps: StepTimes,
    pub(crate) closing: watch::Receiver<bool>,
    /// The file of the store, for its size and the room on its volume.
    pub(crate) store: PathBuf,
}

/// What every handler sees.
#[derive(Debug)]
pub(crate) struct App {
    pub(super) engine: EngineHandle,
    pub(super) reader: Reader,
    pub(super) addresses: Addresses,
    pub(super) guard: Guard,
    /// Hash of the token: idempotency keys are bound to it.
    pub(super) token: [u8; 32],
    pub(super) traffic: Arc<Traffic>,
    pub(super) dials: DialReports,
    pub(super) steps: StepTimes,
    pub(super) closing: watch::Receiver<bool>,
    pub(super) http: HttpMetrics,
    pub(super) store: PathBuf,
    /// Turns of work that takes a while.
    pub(super) turns: Turns,
    /// The spaces by name.
    pub(super) names: Names,
    /// Counts from the start of the node.
    pub(super) clock: Clock,
}

pub(super) type SharedApp = Arc<App>;

impl App {
    pub(crate) fn new(config: AppConfig) -> Self {
        let AppConfig { engine, reader, addresses, clock, token, allow_hosts, traffic, dials, steps, closing, store } =
            config;
        Self {
            engine,
            reader,
            addresses,
            guard: Guard::new(addresses.http, &allow_hosts, &token),
            token: *blake3::hash(token.as_bytes()).as_bytes(),
            traffic,
            dials,
            steps,
            closing,
            http: HttpMetrics::default(),
            store,
            turns: Turns::new(),
            names: Names::default(),
            clock,
        }
    }

    /// The last committed state of the store.
    pub(super) fn reading(&self) -> Result<Reading, Problem> {
        Ok(self.reader.reading()?)
    }

    /// When the node started, in seconds since 1970.
    pub(super) fn started(&self) -> u64 {
        (Clock::wall_millis() / 1_000).saturating_sub(self.clock.mono().as_secs())
    }

    /// Resolves when the node stops: streams end then.
    pub(super) async fn closed(&self) {
        // An error means that the node is gone.
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
    }
}
