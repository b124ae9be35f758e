//! What needs a human: a line each, the most important words first, with names, and never more than can be read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::human;
use crate::model::{Connection, Dial, SpaceStatus, Status};
use crate::moment;

/// Lines of one kind before the rest is only counted.
const SHOWN: usize = 5;
/// A clock this far from a peer's is told, in milliseconds. A minute: with NTP they are milliseconds apart.
const CLOCK_OFF_MS: u64 = 60_000;
const _: () = assert!(CLOCK_OFF_MS == tombolo_node::engine::CLOCK_OFF_MILLIS, "status and node call one clock off");

/// What nodes are called.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// The members of these spaces. Where two have one name, their ids tell them apart.
    pub(super) fn of(spaces: &[SpaceStatus]) -> Self {
        let members = || spaces.iter().flat_map(|space| &space.members);
        let known: BTreeMap<String, String> =
            members().map(|member| (member.node.clone(), human::plain(&member.name).into_owned())).collect();
        let mut bearers: BTreeMap<&str, usize> = BTreeMap::new();
        for name in known.values() {
            *bearers.entry(name).or_default() += 1;
        }
        let shown = known.iter().map(|(node, name)| {
            let short = human::short(node);
            let name = match bearers.get(name.as_str()) {
                _ if name.is_empty() => short.to_owned(),
                Some(1) => name.clone(),
                _ => format!("{name} ({short})"),
            };
            (node.clone(), name)
        });
        Self(shown.collect())
    }

    /// The name of a node, or the beginning of its id.
    pub(super) fn shown(&self, node: &str) -> String {
        self.0.get(node).cloned().unwrap_or_else(|| human::short(node).to_owned())
    }

    fn has(&self, node: &str) -> bool {
        self.0.contains_key(node)
    }
}

/// What is wrong with the node as a whole.
pub(super) fn of_node(status: &Status) -> Vec<String> {
    let names = Names::of(&status.spaces);
    let mut lines = Vec::new();
    lines.extend(status.full.as_ref().map(|why| format!("writes are refused: {}", human::plain(why))));
    let failures = status.counters.failures;
    if failures > 0 {
        lines.push(format!(
            "{} failed since the start, on a full or failing disk or on damaged data: see the log, then stop the node \
             and run `tombolo verify`",
            human::some(failures, "commit")
        ));
    }
    let twins = status.twins.iter().map(|twin| match twin.own {
        true => format!(
            "another process runs with this node's key, at {}: stop one of the two",
            human::plain(&twin.address)
        ),
        false => {
            let name = names.shown(&twin.node);
            format!("{name} seems to run twice, the other time at {}: stop one of the two", human::plain(&twin.address))
        }
    });
    lines.extend(limited(twins.collect(), "keys run twice: `tombolo status --json`"));
    lines.extend(clocks(&status.connections, &names));
    let concerns = |dial: &&Dial| match &dial.node {
        // Other people's nodes on this network are tried, too; that they do not answer is nobody's concern.
        Some(node) => names.has(node) || !status.joins.is_empty(),
        None => true,
    };
    let mut dials: Vec<String> = status.dials.iter().filter(concerns).map(|dial| unreached(dial, &names)).collect();
    dials.sort();
    lines.extend(limited(dials, "cannot be reached: `tombolo peer ls`"));
    lines
}

fn unreached(dial: &Dial, names: &Names) -> String {
    let addrs = dial.addrs.join(" ");
    let whom = dial.node.as_deref().map_or_else(|| addrs.clone(), |node| names.shown(node));
    // Of a single address the reason names it, or the line has it already.
    let error = dial.error.strip_prefix(&format!("{addrs}: ")).unwrap_or(&dial.error);
    let tries = human::many(dial.failures, "try", "tries");
    format!("cannot reach {}: {} ({tries})", human::plain(&whom), human::plain(error))
}

/// Clocks that are off. If all others agree against it, it is this machine's.
fn clocks(connections: &[Connection], names: &Names) -> Vec<String> {
    let off = |connection: &&Connection| connection.clock_skew_ms.unsigned_abs() >= CLOCK_OFF_MS;
    let wrong: Vec<&Connection> = connections.iter().filter(off).collect();
    let apart = |skew: i64| human::duration(Duration::from_millis(skew.unsigned_abs()));
    let one_way = |ahead: bool| wrong.iter().all(|connection| (connection.clock_skew_ms > 0) == ahead);
    if wrong.len() > 1 && wrong.len() == connections.len() && (one_way(true) || one_way(false)) {
        let least = wrong.iter().map(|connection| connection.clock_skew_ms).min_by_key(|skew| skew.unsigned_abs());
        let least = least.unwrap_or_default();
        let side = if least > 0 { "behind" } else { "ahead of" };
        return vec![format!(
            "this machine's clock is {} {side} those of all {} nodes it is connected to: set it",
            apart(least),
            wrong.len()
        )];
    }
    let lines = wrong.iter().map(|connection| {
        let side = if connection.clock_skew_ms > 0 { "ahead of" } else { "behind" };
        let (name, apart) = (names.shown(&connection.node), apart(connection.clock_skew_ms));
        format!("the clock of {name} is {apart} {side} this machine's: one of them is wrong")
    });
    limited(lines.collect(), "clocks are off: `tombolo status --json`")
}

/// What is wrong in a space.
pub(super) fn of_space(space: &SpaceStatus, names: &Names, now_ms: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let held = space.held.iter().map(|held| {
        let entries = human::many(held.entries, "entry", "entries");
        let wait = if held.entries == 1 { "waits" } else { "wait" };
        format!("{entries} of {} {wait}: {}", names.shown(&held.node), human::plain(&held.reason))
    });
    let mut held: Vec<String> = limited(held.collect(), "feeds wait: `tombolo status --json`");
    // Of more than a hundred only the number is told.
    let untold = space.held_feeds.saturating_sub(space.held.len() as u64);
    if untold > 0 {
        held.push(format!("{} wait beside these", human::many(untold, "feed", "feeds")));
    }
    lines.extend(held);
    if space.refused > 0 {
        let entries = human::many(space.refused, "entry", "entries");
        lines.push(format!("{entries} refused and kept in quarantine"));
    }
    if let Some(ahead) = space.clock_ahead.filter(|ahead| *ahead > now_ms) {
        lines.push(format!("a change says that it was made on {}: a member's clock is ahead", moment::text(ahead)));
    }
    let frozen = space.frozen.iter().map(|entity| {
        let name = format!("{}/{}", entity.collection, entity.id);
        format!("{} is damaged here and frozen: {}", human::plain(&name), human::plain(&entity.reason))
    });
    let mut frozen = limited(frozen.take(SHOWN).collect(), "");
    let more = space.frozen_entities.saturating_sub(frozen.len() as u64);
    if more > 0 {
        frozen.push(format!("{} more are damaged here and frozen", human::many(more, "entity", "entities")));
    }
    lines.extend(frozen);
    let disputed = space.disputed.iter().map(|entity| {
        let (name, with) = (format!("{}/{}", entity.collection, entity.id), names.shown(&entity.with));
        format!("{} is another at {with} with the same entries: please report it", human::plain(&name))
    });
    lines.extend(limited(disputed.collect(), "entities differ: `tombolo status --json`"));
    lines.extend(running_out(space));
    lines
}

/// Entities that take no more writes one day, and what keeps them going.
fn running_out(space: &SpaceStatus) -> Vec<String> {
    let named = space.running_out.iter().take(SHOWN).map(|entity| {
        let (name, left) = (format!("{}/{}", entity.collection, entity.id), human::count(entity.numbers_left));
        format!(
            "{} takes {left} more operations in all its life: go on under a new id before they end, and edit arrays in \
             place instead of replacing them (`x-merge: list`)",
            human::plain(&name)
        )
    });
    let mut lines: Vec<String> = named.collect();
    let more = space.running_out_entities.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!(
            "{} more will run out of operations: `tombolo status --json`",
            human::many(more, "entity", "entities")
        ));
    }
    lines
}

/// The first few of many lines of a kind, and how many more there are.
fn limited(mut lines: Vec<String>, what: &str) -> Vec<String> {
    let more = lines.len().saturating_sub(SHOWN);
    // One more takes no more room than the word about it.
    if more > 1 {
        lines.truncate(SHOWN);
        lines.push(format!("and {more} more {what}"));
    }
    assert!(lines.len() <= SHOWN + 1, "lines of one kind are never more than can be read");
    lines
}
