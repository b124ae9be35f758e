//! What passes between two processes on loopback, counted. One relay is one address; dropping it cuts the connection.

mod tcp;
mod udp;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

pub(crate) use tcp::TcpRelay;
pub(crate) use udp::UdpRelay;

/// Silence that counts as the end of a conversation.
pub(crate) const QUIET: Duration = Duration::from_millis(300);
/// Keep-alives may never be silent; then the bytes up to here count.
pub(crate) const QUIET_LIMIT: Duration = Duration::from_secs(3);
/// How often a figure is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Bytes of payload (of UDP datagrams, or of TCP streams) that have passed, both ways, over all relays of a system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<AtomicU64>);

impl Traffic {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Asks for a count of bytes until it stands still; answers it.
pub(crate) async fn settled(mut count: impl AsyncFnMut() -> Result<u64>) -> Result<u64> {
    let begin = Instant::now();
    let mut look = tokio::time::interval(LOOK);
    let (mut last, mut since) = (count().await?, Instant::now());
    loop {
        look.tick().await;
        let now = count().await?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() >= QUIET || begin.elapsed() >= QUIET_LIMIT {
            return Ok(last);
        }
    }
}

/// Ends the tasks and threads of a relay.
#[derive(Clone, Debug, Default)]
struct Over(Arc<AtomicBool>);

impl Over {
    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
