//! What a node must show: what was acknowledged, nothing half, everything verified.

use std::collections::BTreeMap;

use tombolo_node::verify;

use super::pair::{Node, Pair, content, mark};
use super::{Side, Step, Wrong, wrong};

/// The place of content out of nowhere.
pub(super) const NEVER_WRITTEN: &str = "a view that was never written";

/// Views of all entities once all of `steps` are carried out.
pub(super) fn expected(steps: &[Step]) -> BTreeMap<String, String> {
    let mut views = BTreeMap::new();
    for step in steps {
        if let Step::Write { no, entities, bytes, .. } = step {
            views.extend(entities.iter().map(|id| ((*id).to_owned(), content(*no, *bytes))));
        }
    }
    views
}

/// Every chain, seal, hash and row.
pub(super) fn verified(node: &Node) -> Result<(), Wrong> {
    node.engine.check_invariants();
    let unreadable = |error| wrong("the store cannot be verified", error);
    let reading = node.engine.reader().reading().map_err(unreadable)?;
    let report = verify::reading(&reading, &mut |_, _, _| {}).map_err(unreadable)?;
    if report.differences > 0 { Err(wrong("verification found differences", report.findings)) } else { Ok(()) }
}

/// Whether the node under test shows each of the writes it has acknowledged, or a later one.
pub(super) fn acknowledged(node: &Node, steps: &[Step], acknowledged: impl Fn(u32) -> bool) -> Result<(), Wrong> {
    let views = node.views()?;
    for step in steps {
        let Step::Write { side: Side::Tested, no, entities, .. } = step else { continue };
        if !acknowledged(*no) {
            continue;
        }
        for id in entities {
            let shown = views.get(*id).and_then(|view| number(view));
            if shown.is_none_or(|shown| shown < *no) {
                return Err(wrong("an acknowledged write is missing", format!("write {no} of {id}: {shown:?}")));
            }
        }
    }
    Ok(())
}

fn number(view: &str) -> Option<u32> {
    let value: serde_json::Value = serde_json::from_str(view).ok()?;
    u32::try_from(value.get("n")?.as_u64()?).ok()
}

/// Whether all views were made by some write of `steps`.
pub(super) fn shown_before(node: &Node, steps: &[Step]) -> Result<(), Wrong> {
    let views = node.views()?;
    for (id, view) in &views {
        let made = steps.iter().any(|step| match step {
            Step::Write { no, entities, bytes, .. } => entities.contains(&id.as_str()) && content(*no, *bytes) == *view,
            _ => false,
        });
        if !made {
            return Err(wrong(NEVER_WRITTEN, format!("{id}: {view:.200}")));
        }
    }
    Ok(())
}

/// Whether a node shows all of `steps`.
pub(super) fn shows(node: &Node, steps: &[Step]) -> Result<(), Wrong> {
    let (views, expected) = (node.views()?, expected(steps));
    if views == expected {
        return Ok(());
    }
    let differ = expected.iter().filter(|(id, view)| views.get(*id) != Some(view));
    let differ: Vec<_> = differ.map(|(id, view)| (id, number(view), views.get(id).map(|v| number(v)))).collect();
    Err(wrong("the views are not those of the writes", (differ, views.len(), expected.len())))
}

/// Whether the two are equal and show all of `steps`.
pub(super) fn finished(pair: &Pair, steps: &[Step]) -> Result<(), Wrong> {
    for node in &pair.nodes {
        verified(node)?;
        shows(node, steps)?;
    }
    let [a, b] = &pair.nodes;
    let (a, b) = (mark(&a.engine), mark(&b.engine));
    if a == b { Ok(()) } else { Err(wrong("the two did not converge", (a, b))) }
}
