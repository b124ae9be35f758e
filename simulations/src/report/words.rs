//! Plans and times in words, for people.

use std::time::Duration;

use crate::plan::{Action, Edit, Fault, NodeNo, Plan, PlannedFault, PlannedWrite, Unsynced};

/// Most characters of what a write says; the rest is cut off and the cut is shown.
pub const WRITE_CHARS_MAX: usize = 2_000;

/// Most names in a list; the others are counted.
const NAMES_MAX: usize = 6;

/// A length of time in its two greatest units: `250 µs`, `1.5 ms`, `2 h 5 min`, `3 d 4 h`.
#[must_use]
pub fn span(length: Duration) -> String {
    let us = micros(length);
    let two = |great: u64, great_unit: &str, small: u64, small_unit: &str| match us % great / small {
        0 => format!("{} {great_unit}", us / great),
        rest => format!("{} {great_unit} {rest} {small_unit}", us / great),
    };
    let decimal = |unit: u64, name: &str| {
        let fraction = format!("{:03}", us % unit / (unit / 1_000));
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction} {name}", us / unit)
    };
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => decimal(1_000, "ms"),
        1_000_000..60_000_000 => decimal(1_000_000, "s"),
        60_000_000..3_600_000_000 => two(60_000_000, "min", 1_000_000, "s"),
        3_600_000_000..86_400_000_000 => two(3_600_000_000, "h", 60_000_000, "min"),
        _ => two(86_400_000_000, "d", 3_600_000_000, "h"),
    }
}

/// A moment, exact: `00:14:05.250000`, from one day on `2d 03:14:05.250000`.
#[must_use]
pub fn moment(at: Duration) -> String {
    let seconds = at.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let days = if days == 0 { String::new() } else { format!("{days}d ") };
    format!("{days}{hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, at.subsec_micros())
}

/// Whole microseconds, at most what fits.
pub(super) fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// Name of a node; of one that the plan does not have, its number.
#[must_use]
pub fn node_name(plan: &Plan, node: NodeNo) -> String {
    plan.nodes.get(node).map_or_else(|| format!("node {node}"), |node| node.name.clone())
}

fn names(plan: &Plan, nodes: &[NodeNo]) -> String {
    let mut shown: Vec<String> = nodes.iter().take(NAMES_MAX).map(|node| node_name(plan, *node)).collect();
    if nodes.len() > NAMES_MAX {
        shown.push(format!("{} more", nodes.len() - NAMES_MAX));
    }
    shown.join(", ")
}

/// What part of the world a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultGroup {
    /// Links and connections.
    Network,
    /// A process.
    Process,
    /// A disk.
    Disk,
    /// A clock.
    Clock,
}

impl FaultGroup {
    /// The name of the kind in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Process => "process",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }
}

/// Name of a fault's kind, as plans spell it in JSON, and its group.
#[must_use]
pub const fn fault_kind(fault: &Fault) -> (&'static str, FaultGroup) {
    match fault {
        Fault::Cut { .. } => ("cut", FaultGroup::Network),
        Fault::Clog { .. } => ("clog", FaultGroup::Network),
        Fault::Slow { .. } => ("slow", FaultGroup::Network),
        Fault::Lossy { .. } => ("lossy", FaultGroup::Network),
        Fault::Reset { .. } => ("reset", FaultGroup::Network),
        Fault::HalfOpen { .. } => ("half_open", FaultGroup::Network),
        Fault::Readdress { .. } => ("readdress", FaultGroup::Network),
        Fault::Replay { .. } => ("replay", FaultGroup::Network),
        Fault::SlowReader { .. } => ("slow_reader", FaultGroup::Process),
        Fault::Crash { .. } => ("crash", FaultGroup::Process),
        Fault::Pause { .. } => ("pause", FaultGroup::Process),
        Fault::ClockJump { .. } => ("clock_jump", FaultGroup::Clock),
        Fault::DiskFull { .. } => ("disk_full", FaultGroup::Disk),
        Fault::DiskError { .. } => ("disk_error", FaultGroup::Disk),
        Fault::DiskSlow { .. } => ("disk_slow", FaultGroup::Disk),
        Fault::BitFlips { .. } => ("bit_flips", FaultGroup::Disk),
        Fault::RowFlips { .. } => ("row_flips", FaultGroup::Disk),
        Fault::Restore { .. } => ("restore", FaultGroup::Disk),
        Fault::Clone { .. } => ("clone", FaultGroup::Process),
        Fault::GoneBad { .. } => ("gone_bad", FaultGroup::Process),
    }
}

/// The nodes a fault is about: the side it starts from, and the other side if it lies between nodes.
#[must_use]
pub fn fault_nodes(fault: &Fault) -> (&[NodeNo], &[NodeNo]) {
    use std::slice::from_ref;
    match fault {
        Fault::Cut { from, to, .. }
        | Fault::Clog { from, to }
        | Fault::Slow { from, to, .. }
        | Fault::Lossy { from, to, .. }
        | Fault::Reset { from, to }
        | Fault::Replay { from, to } => (from, to),
        Fault::HalfOpen { node }
        | Fault::Readdress { node }
        | Fault::SlowReader { node, .. }
        | Fault::Crash { node, .. }
        | Fault::Pause { node }
        | Fault::ClockJump { node, .. }
        | Fault::DiskFull { node }
        | Fault::DiskError { node, .. }
        | Fault::DiskSlow { node, .. }
        | Fault::BitFlips { node, .. }
        | Fault::RowFlips { node, .. }
        | Fault::Restore { node, .. }
        | Fault::Clone { node }
        | Fault::GoneBad { node, .. } => (from_ref(node), &[]),
    }
}

/// A fault in a few words.
#[must_use]
pub fn fault(plan: &Plan, planned: &PlannedFault) -> String {
    let (near, far) = fault_nodes(&planned.fault);
    let (a, b) = (names(plan, near), names(plan, far));
    match &planned.fault {
        Fault::Cut { one_way: false, .. } => format!("cut {a} | {b}"),
        Fault::Cut { one_way: true, .. } => format!("cut {a} → {b}, one way"),
        Fault::Clog { .. } => format!("clog {a} → {b}"),
        Fault::Slow { factor, .. } => format!("latency × {factor}: {a} | {b}"),
        Fault::Lossy { loss_ppm, .. } => format!("{} % of packets lost: {a} | {b}", percent(*loss_ppm)),
        Fault::Reset { .. } => format!("connections reset: {a} | {b}"),
        Fault::HalfOpen { .. } => format!("{a} forgets its connections"),
        Fault::Readdress { .. } => format!("{a} gets another address"),
        Fault::Replay { .. } => format!("old transfers carried again: {a} | {b}"),
        Fault::SlowReader { bytes_per_second: 0, .. } => format!("{a} reads nothing"),
        Fault::SlowReader { bytes_per_second, .. } => format!("{a} reads {bytes_per_second} B/s"),
        Fault::Crash { unsynced, in_commit, in_repair, .. } => crash(&a, *unsynced, *in_commit, *in_repair),
        Fault::Pause { .. } => format!("{a} stands still"),
        Fault::ClockJump { by_ms, .. } => {
            let sign = if *by_ms < 0 { '-' } else { '+' };
            format!("clock of {a} jumps by {sign}{}", span(Duration::from_millis(by_ms.unsigned_abs())))
        }
        Fault::DiskFull { .. } => format!("disk of {a} is full"),
        Fault::DiskError { after, .. } => format!("disk of {a} fails once, after {after} operations"),
        Fault::DiskSlow { factor, .. } => format!("disk of {a} × {factor} slower"),
        Fault::BitFlips { count, .. } => format!("{count} bits flip on the disk of {a}"),
        Fault::RowFlips { count, .. } => format!("a bit flips in each of {count} rows of {a}"),
        Fault::Restore { taken, .. } => format!("{a} restored to its backup of {}", moment(*taken)),
        Fault::Clone { .. } => format!("a copy of {a} runs beside it"),
        Fault::GoneBad { .. } => format!("a member gone bad has the key of {a}"),
    }
}

fn percent(ppm: u32) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn crash(node: &str, unsynced: Unsynced, in_commit: Option<u32>, in_repair: Option<u32>) -> String {
    let fate = match unsynced {
        Unsynced::Kept => "kept",
        Unsynced::Lost => "lost",
        Unsynced::Subset => "kept in part",
        Unsynced::Torn => "torn",
    };
    let place = in_commit.map_or(String::new(), |after| format!(" in a commit, after {after} operations"));
    let again = in_repair.map_or(String::new(), |after| format!("; again in its repair, after {after} operations"));
    format!("{node} crashes{place}, unsynced {fate}{again}")
}

/// What a write says, without its number and node: `shop: put stock/a {"n":1}; delete stock/b`.
#[must_use]
pub fn write(plan: &Plan, write: &PlannedWrite) -> String {
    let space = plan.spaces.get(write.space).map_or("?", |space| &space.name);
    let edits: Vec<String> = write.edits.iter().map(edit).collect();
    clip(format!("{space}: {}", edits.join("; ")), WRITE_CHARS_MAX)
}

fn edit(edit: &Edit) -> String {
    let entity = format!("{}/{}", edit.collection, edit.id);
    match &edit.action {
        Action::Put(value) => format!("put {entity} {value}"),
        Action::Patch(value) => format!("patch {entity} {value}"),
        Action::Increment { path, by } => format!("increment {entity} {path} by {by}"),
        Action::Delete => format!("delete {entity}"),
    }
}

/// At most so many characters, with `…` where some were cut off.
pub(super) fn clip(text: String, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
