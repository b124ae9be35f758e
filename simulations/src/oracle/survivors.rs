//! The survivors of a space when they are silent: equal in everything, whole, and as the writes say.

use std::ops::ControlFlow;

use tombolo_crdt::SpaceId;
use tombolo_crdt::entity::EntityState;
use tombolo_node::engine::Engine;
use tombolo_node::store::Reading;
use tombolo_node::verify;

use super::fault::Fault;
use super::values::Rows;
use crate::outcome::Oracle;
use crate::plan::{NodeNo, Plan};

/// A survivor.
pub(super) type Survivor<'e> = (NodeNo, &'e Engine);

/// Stores that are verified as a whole, seals and all; the others have to be equal to them.
const VERIFIED_MAX: usize = 4;

/// Feeds whose obstacles are told.
const REASONS_MAX: usize = 4;

/// Members of a space among the survivors, in groups that can reach each other without help of others.
pub(super) fn groups<'e>(plan: &Plan, space: usize, survivors: &[Survivor<'e>]) -> Vec<Vec<Survivor<'e>>> {
    let is_member = |node: NodeNo| {
        plan.spaces.get(space).is_some_and(|space| space.members.iter().any(|(member, _)| *member == node))
    };
    let mut rest: Vec<Survivor<'e>> = survivors.iter().filter(|(node, _)| is_member(*node)).copied().collect();
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let mut group = vec![rest.remove(0)];
        let mut at = 0;
        while let Some((node, _)) = group.get(at).copied() {
            let linked = |other: NodeNo| {
                plan.links
                    .iter()
                    .any(|link| (link.from, link.to) == (node, other) || (link.to, link.from) == (node, other))
            };
            let (near, far) = rest.into_iter().partition(|(other, _)| linked(*other));
            group.extend::<Vec<_>>(near);
            rest = far;
            at += 1;
        }
        assert!(!group.is_empty(), "a group has a survivor");
        groups.push(group);
    }
    groups
}

/// In what two survivors that share a space differ, and what one of them still waits for. Cheap: digests of frontiers.
pub(crate) fn difference<'e>(
    plan: &Plan,
    spaces: &[SpaceId],
    engine_of: impl Fn(NodeNo) -> Option<&'e Engine>,
) -> Option<String> {
    let name = |node: NodeNo| plan.nodes.get(node).map_or("nobody", |node| node.name.as_str());
    for (space, planned) in spaces.iter().zip(&plan.spaces) {
        let mut first = None;
        for (node, _) in planned.members.iter().filter(|(node, _)| plan.survivors.contains(node)) {
            let Some(engine) = engine_of(*node) else { return Some(format!("{} does not run", name(*node))) };
            let here = engine.frontier(*space).map(|frontier| (frontier.digest(), frontier.len()));
            let (there, other, other_engine) = *first.get_or_insert((here, *node, engine));
            if here != there {
                let waits = |engine: &Engine| {
                    let held = engine.held_by_feed(*space);
                    let reasons = held.iter().map(|held| format!("{} of {}: {}", held.entries, held.feed, held.reason));
                    reasons.take(REASONS_MAX).collect::<Vec<_>>().join("; ")
                };
                return Some(format!(
                    "{} and {} differ in space {}: frontiers {there:?} and {here:?}, held [{}] and [{}]",
                    name(other),
                    name(*node),
                    planned.name,
                    waits(other_engine),
                    waits(engine)
                ));
            }
        }
    }
    None
}

/// The last committed state of a survivor.
pub(super) fn reading((node, engine): Survivor<'_>) -> Result<Reading, Fault> {
    engine.reader().reading().map_err(|error| Fault::unreadable(&error).at(node))
}

/// Frontiers and digests, as the engines keep them.
pub(super) fn digests(space: SpaceId, group: &[Survivor<'_>]) -> Result<(), Fault> {
    let Some((first, reference)) = group.first() else { return Ok(()) };
    for (node, engine) in group {
        let differ = |place, what: &str| {
            Err(Fault::new(Oracle::Convergence, place, format!("its {what} is not that of node {first}")).at(*node))
        };
        let frontier = engine.frontier(space);
        if frontier.is_none() {
            return Err(Fault::new(Oracle::Convergence, "a member without its space", space.to_string()).at(*node));
        }
        if frontier != reference.frontier(space) {
            return differ("survivors with other frontiers", "frontier");
        }
        if engine.state_digest(space) != reference.state_digest(space) {
            return differ("equal frontiers, other states", "state digest");
        }
    }
    Ok(())
}

/// All rows of a space, decoded.
pub(super) fn rows(reading: &Reading, space: SpaceId) -> Result<Rows, Fault> {
    let mut rows = Rows::new();
    let mut broken = None;
    let unreadable = |error| Fault::unreadable(&error);
    let Some(row) = reading.space(space).map_err(unreadable)? else { return Ok(rows) };
    let visited =
        reading.visit_rows(row.space_no, None, "", None, |collection, id, bytes| match EntityState::decode(bytes) {
            Ok(state) => {
                rows.insert((collection.to_owned(), id.to_owned()), state);
                ControlFlow::Continue(())
            }
            Err(error) => {
                broken =
                    Some(Fault::new(Oracle::Replay, "a row does not decode", error.to_string()).of(collection, id));
                ControlFlow::Break(())
            }
        });
    visited.map_err(unreadable)?;
    broken.map_or(Ok(rows), Err)
}

/// Rows of two survivors: canonical content, views, conflicts, one by one.
pub(super) fn equal(first: NodeNo, rows: &Rows, others: &Rows) -> Result<(), Fault> {
    let differ = |(collection, id): &(String, String), what: &str| {
        let detail = format!("{what} differ from those of node {first}");
        Err(Fault::new(Oracle::Convergence, "survivors with other rows", detail).of(collection, id))
    };
    let lacks = rows.keys().find(|name| !others.contains_key(*name));
    if let Some(name) = lacks.or_else(|| others.keys().find(|name| !rows.contains_key(*name))) {
        return differ(name, "rows");
    }
    for (name, state) in rows {
        let Some(other) = others.get(name) else { continue };
        if state.contribution(&name.0, &name.1) != other.contribution(&name.0, &name.1) {
            return differ(name, "canonical contents");
        }
        if state.view_bytes() != other.view_bytes() || state.is_present() != other.is_present() {
            return differ(name, "views");
        }
        let (ours, theirs) = (state.conflicts(), other.conflicts());
        let alike = ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(a, b)| {
                let values = |c: &tombolo_crdt::entity::Conflict| {
                    c.values.iter().map(|v| (v.id, v.value.to_bytes())).collect::<Vec<_>>()
                };
                (&a.path, a.in_view, a.unlisted) == (&b.path, b.in_view, b.unlisted) && values(a) == values(b)
            });
        if !alike {
            return differ(name, "conflicts");
        }
    }
    Ok(())
}

/// Chains, seals, journals, rows and sums of a few survivors, computed again by the product's own verification.
pub(super) fn verified(group: &[Survivor<'_>]) -> Result<(), Fault> {
    let stride = group.len().div_ceil(VERIFIED_MAX).max(1);
    for survivor in group.iter().step_by(stride) {
        let report = verify::reading(&reading(*survivor)?, &mut |_, _, _| {});
        let report = report.map_err(|error| Fault::unreadable(&error).at(survivor.0))?;
        if let Some(finding) = report.findings.first() {
            let (oracle, place) = match finding.place.split(' ').next() {
                Some("entity") => (Oracle::Replay, "a row is not its history"),
                Some("space") => (Oracle::Replay, "sums are not those of the rows"),
                Some("journal") => (Oracle::Stream, "a journal that is not chained"),
                _ => (Oracle::Frontier, "a feed is not whole"),
            };
            let detail = format!("{}: {}", finding.place, finding.detail);
            return Err(Fault::new(oracle, place, detail).at(survivor.0));
        }
    }
    Ok(())
}
