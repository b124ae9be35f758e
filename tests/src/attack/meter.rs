//! What others see while a node is attacked: its memory, and how long it lets an honest client wait.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Api, Node};

/// Resident memory of a process in MiB.
///
/// # Panics
/// If `/proc` does not tell.
#[must_use]
pub fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status"))).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident memory");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kib / 1024.0
}

/// The longest step of the node's engine since its start, in milliseconds.
///
/// # Panics
/// If the node does not tell: a figure that is missing must not look like one that is kept.
#[must_use]
pub fn longest_step_ms(node: &Node) -> f64 {
    let metrics = node.api.get("/metrics").body;
    let longest = metrics.lines().filter(|line| line.starts_with("tombolo_step_longest_seconds{"));
    let longest = longest.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).fold(0.0, f64::max);
    assert!(longest > 0.0, "the metrics have tombolo_step_longest_seconds");
    longest * 1_000.0
}

/// The time of all steps of the node's engine since its start, with their commits, in milliseconds.
///
/// # Panics
/// As [`longest_step_ms`].
#[must_use]
pub fn steps_ms(node: &Node) -> f64 {
    metric_ms(node, "tombolo_step_seconds_sum")
}

fn metric_ms(node: &Node, name: &str) -> f64 {
    let metrics = node.api.get("/metrics").body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("the metrics have {name}"));
    value.trim().parse::<f64>().expect("a number of seconds") * 1_000.0
}

/// How long requests took, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    sorted: Vec<f64>,
}

impl Waits {
    fn of(mut waits: Vec<f64>) -> Self {
        waits.sort_by(f64::total_cmp);
        Self { sorted: waits }
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The wait that `percent` of a hundred do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.sorted.len() * percent / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(at).copied().unwrap_or(f64::INFINITY)
    }

    /// The longest.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(f64::INFINITY)
    }
}

/// An honest client that writes and asks `/healthz` in turn, and watches the node's memory.
#[derive(Debug)]
pub struct Witness {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a [`Witness`] saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Waits for writes.
    pub writes: Waits,
    /// Waits for `/healthz`.
    pub health: Waits,
    /// Most resident memory, MiB.
    pub peak_mib: f64,
    /// Writes that were not taken.
    pub refused: usize,
    /// How long it watched.
    pub time: Duration,
}

impl Seen {
    /// Writes per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.writes.count() as f64 / self.time.as_secs_f64().max(0.001)
    }
}

impl Witness {
    /// Begins to watch a node.
    #[must_use]
    pub fn watch(node: &Node, space: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ends, pid, space) = (Arc::clone(&over), node.pid(), space.to_owned());
        let api = Api::new(node.api.address(), node.api.token());
        let thread = std::thread::spawn(move || {
            let (mut writes, mut health, mut seen) = (Vec::new(), Vec::new(), Seen::default());
            let began = Instant::now();
            let mut n = 0_u64;
            while !ends.load(Ordering::Relaxed) {
                n += 1;
                let at = Instant::now();
                let path = format!("/v1/spaces/{space}/witness/{}", n % 100);
                let body = Some(json!({ "n": n }).to_string());
                match api.try_send("PUT", &path, &[("content-type", "application/json")], body) {
                    Ok(answer) if answer.status < 300 => writes.push(at.elapsed().as_secs_f64() * 1_000.0),
                    _ => seen.refused += 1,
                }
                let at = Instant::now();
                if api.try_send("GET", "/healthz", &[], None).is_ok() {
                    health.push(at.elapsed().as_secs_f64() * 1_000.0);
                }
                seen.peak_mib = seen.peak_mib.max(resident_mib(pid));
                std::thread::park_timeout(Duration::from_millis(2));
            }
            Seen { writes: Waits::of(writes), health: Waits::of(health), time: began.elapsed(), ..seen }
        });
        Self { over, thread }
    }

    /// Ends it.
    ///
    /// # Panics
    /// If the node was gone.
    #[must_use]
    pub fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the witness saw it to the end")
    }
}
