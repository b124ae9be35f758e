//! `[nodes]`, `[[node]]`, `[topology]`, `[[link]]`, `[[between]]`, `[[space]]`.

use tombolo_crdt::rules::Role;

use super::fields::Fields;
use super::tree::{Desk, Tree};
use super::values;
use crate::scenario::model::{Draft, LinkChange, Name, Node, Shape, Space, Who};

/// What `[nodes]` and `[[node]]` both say.
fn about_a_node(fields: &mut Fields<'_>, node: &mut Node, desk: &mut Desk<'_>) {
    if let Some(offset) = fields.read("clock_offset", values::clock_offset, desk) {
        node.clock_offset_ms = offset;
    }
    if let Some(drift) = fields.read("clock_drift_ppm", values::clock_drift, desk) {
        node.clock_drift_ppm = drift;
    }
    if let Some(commit) = fields.read("commit", values::spread, desk) {
        node.commit = commit;
    }
}

pub(super) fn nodes(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>) {
    let mut default = Node::new("");
    if let Some(tree) = fields.get("nodes") {
        all_nodes(tree, &mut default, draft, desk);
    }
    for tree in fields.tables("node", desk) {
        one_node(tree, &default, draft, desk);
    }
}

fn all_nodes(tree: &Tree, default: &mut Node, draft: &mut Draft, desk: &mut Desk<'_>) -> Option<()> {
    let mut fields = Fields::of(tree, "[nodes]", desk)?;
    about_a_node(&mut fields, default, desk);
    let count = fields.read("count", values::nodes, desk);
    let names = fields.read("names", values::names, desk);
    if let (Some(_), Some(_), Some(tree)) = (count, &names, fields.get("names")) {
        desk.wrong::<()>(&tree.span, "[nodes] takes only one of count, names");
    }
    let place = fields.place("count", desk);
    let counted = (1..=count.unwrap_or(0)).map(|no| Name { text: format!("n{no}"), place: place.clone() });
    let names = names.unwrap_or_else(|| counted.collect());
    draft.nodes.extend(names.into_iter().map(|name| Node { name, ..default.clone() }));
    fields.finish(desk);
    Some(())
}

fn one_node(tree: &Tree, default: &Node, draft: &mut Draft, desk: &mut Desk<'_>) -> Option<()> {
    let mut fields = Fields::of(tree, "[[node]]", desk)?;
    let name = fields.need("name", values::name, desk);
    let zone = fields.read("zone", values::name, desk);
    let known = name.as_ref().and_then(|name| draft.nodes.iter().position(|node| node.name.text == name.text));
    let mut node = known.and_then(|no| draft.nodes.get(no)).unwrap_or(default).clone();
    about_a_node(&mut fields, &mut node, desk);
    fields.finish(desk);
    node.zone = zone;
    match known.and_then(|no| draft.nodes.get_mut(no)) {
        Some(known) => *known = node,
        None => draft.nodes.push(Node { name: name?, ..node }),
    }
    Some(())
}

/// What is said of links, in `[topology]`, `[[link]]` and `[[between]]` alike.
fn about_a_link(fields: &mut Fields<'_>, desk: &mut Desk<'_>) -> LinkChange {
    LinkChange {
        a: Name::default(),
        b: Name::default(),
        latency: fields.read("latency", values::spread, desk),
        bandwidth: fields.read("bandwidth", values::bandwidth, desk),
        loss_ppm: fields.read("loss", values::share, desk),
        duplicate_ppm: fields.read("duplicate", values::share, desk),
        corrupt_ppm: fields.read("corrupt", values::share, desk),
    }
}

fn link(tree: &Tree, what: &'static str, desk: &mut Desk<'_>) -> Option<LinkChange> {
    let mut fields = Fields::of(tree, what, desk)?;
    let (a, b) = (fields.need("a", values::name, desk), fields.need("b", values::name, desk));
    let change = about_a_link(&mut fields, desk);
    fields.finish(desk);
    Some(LinkChange { a: a?, b: b?, ..change })
}

pub(super) fn topology(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>) {
    if let Some(tree) = fields.get("topology") {
        shape(tree, draft, desk);
    }
    for tree in fields.tables("between", desk) {
        draft.topology.between.extend(link(tree, "[[between]]", desk));
    }
    for tree in fields.tables("link", desk) {
        draft.topology.links.extend(link(tree, "[[link]]", desk));
    }
}

fn shape(tree: &Tree, draft: &mut Draft, desk: &mut Desk<'_>) -> Option<()> {
    const SHAPES: &[(&str, &str)] = &[
        ("mesh", "mesh"),
        ("ring", "ring"),
        ("line", "line"),
        ("star", "star"),
        ("random", "random"),
        ("links", "links"),
    ];
    let mut fields = Fields::of(tree, "[topology]", desk)?;
    about_a_link(&mut fields, desk).apply(&mut draft.topology.class);
    let shape = fields.read("shape", |tree, key, desk| values::word(tree, key, desk, SHAPES), desk);
    let hub = fields.read("hub", values::name, desk);
    let degree = fields.read("degree", values::nodes, desk);
    for key in ["shape", "degree"] {
        draft.keys.insert(key, fields.place(key, desk));
    }
    let shape = shape.unwrap_or("mesh");
    for (key, needs) in [("hub", "star"), ("degree", "random")] {
        if let Some(tree) = fields.get(key).filter(|_| shape != needs) {
            desk.wrong::<()>(&tree.span, format!("`{key}` goes with shape = \"{needs}\" only"));
        }
    }
    draft.topology.shape = match shape {
        "ring" => Shape::Ring,
        "line" => Shape::Line,
        "star" => Shape::Star(hub),
        "links" => Shape::Links,
        "random" => match degree {
            Some(degree) => Shape::Random(usize::try_from(degree).unwrap_or(usize::MAX)),
            // What is wrong with it was said.
            None if fields.get("degree").is_some() => Shape::Mesh,
            None => desk.wrong(&fields.span, "shape = \"random\" needs `degree`")?,
        },
        _ => Shape::Mesh,
    };
    fields.finish(desk);
    Some(())
}

pub(super) fn spaces(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>) {
    for tree in fields.tables("space", desk) {
        draft.spaces.extend(space(tree, desk));
    }
}

fn space(tree: &Tree, desk: &mut Desk<'_>) -> Option<Space> {
    let mut fields = Fields::of(tree, "[[space]]", desk)?;
    let name = fields.need("name", values::name, desk);
    let founder = fields.read("founder", values::name, desk);
    let mut members = Vec::new();
    for (key, role) in [("writers", Role::Writer), ("readers", Role::Reader), ("admins", Role::Admin)] {
        match fields.read(key, values::who, desk) {
            None => {}
            Some(Who::Any) => {
                let span = fields.get(key).map_or_else(|| tree.span.clone(), |tree| tree.span.clone());
                desk.wrong::<()>(&span, format!("`{key}` must be names or \"*\", not \"any\""));
            }
            Some(who) => members.push((who, role)),
        }
    }
    let none_said = members.is_empty() && founder.is_none();
    if none_said {
        desk.wrong::<()>(&tree.span, "[[space]] needs members: writers, readers or admins");
    }
    fields.finish(desk);
    Some(Space { name: name?, founder, members })
}
