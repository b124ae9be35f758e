//! `faults` and `[random]`.

use std::time::Duration;

use super::fields::Fields;
use super::tree::{Desk, Kind, Tree};
use super::values;
use crate::scenario::language;
use crate::scenario::model::{Draft, Random, RandomKind};
use crate::scenario::nearest::did_you_mean;
use crate::scenario::random::Kind as FaultKind;
use crate::scenario::units::Rate;

/// A text in the language of faults, or a list of such texts.
pub(super) fn schedule(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>) {
    let Some(tree) = fields.get("faults") else { return };
    let texts: Vec<&Tree> = match &tree.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![tree],
    };
    for tree in texts {
        let Kind::Text(text) = &tree.kind else {
            desk.wrong::<()>(
                &tree.span,
                format!("`faults` must be a text such as \"at 2h cut a from *\", not {}", tree.is_a()),
            );
            continue;
        };
        let place = desk.place(&tree.span);
        let verbatim = desk.source.verbatim(&tree.span, text).map(|at| (desk.source, at));
        let (statements, problems) = language::read(text, verbatim, &place);
        draft.faults.extend(statements);
        desk.problems.extend(problems);
    }
}

pub(super) fn random(fields: &mut Fields<'_>, draft: &mut Draft, desk: &mut Desk<'_>) {
    if let Some(tree) = fields.get("random") {
        draft.random = read_random(tree, desk);
    }
}

fn read_random(tree: &Tree, desk: &mut Desk<'_>) -> Option<Random> {
    let mut fields = Fields::of(tree, "[random]", desk)?;
    let during = fields.read("during", values::range, desk);
    let swarm = fields.read("swarm", values::bool, desk).unwrap_or(true);
    let stability = fields.read("stability", values::duration, desk).unwrap_or(Duration::from_secs(5));
    let rate = fields.need("rate", values::rate, desk);
    let lasts = fields.need("lasts", lasting, desk);
    let kinds = fields.get("kinds");
    let changes = fields.get("kind");
    fields.finish(desk);
    let (rate, lasts) = (rate?, lasts?);
    let kinds = kinds.map_or_else(|| Some(FaultKind::ALL.to_vec()), |tree| read_kinds(tree, desk))?;
    let mut kinds: Vec<RandomKind> = kinds.into_iter().map(|kind| RandomKind { kind, rate, lasts }).collect();
    if let Some(tree) = changes {
        read_changes(tree, (rate, lasts), &mut kinds, desk);
    }
    Some(Random { place: desk.place(&tree.span), during, swarm, stability, kinds })
}

fn lasting(tree: &Tree, key: &str, desk: &mut Desk<'_>) -> Option<(Duration, Duration)> {
    match values::lengths(tree, key, desk)? {
        (Duration::ZERO, _) => desk.wrong(&tree.span, format!("`{key}` must be longer than 0s")),
        lasts => Some(lasts),
    }
}

fn kind(name: &str) -> Result<FaultKind, String> {
    let all = FaultKind::ALL;
    all.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|kind| kind.name()).collect();
        let meant = did_you_mean(name, names.iter().copied());
        format!("unknown kind of fault `{name}`{meant}; allowed: {}", names.join(", "))
    })
}

fn read_kinds(tree: &Tree, desk: &mut Desk<'_>) -> Option<Vec<FaultKind>> {
    if matches!(&tree.kind, Kind::Text(text) if text == "all") {
        return Some(FaultKind::ALL.to_vec());
    }
    let Kind::List(items) = &tree.kind else {
        return desk.wrong(&tree.span, "`kinds` must be \"all\" or a list of kinds");
    };
    let mut kinds = Vec::new();
    for item in items {
        let name = values::text(item, "kinds", desk)?;
        match kind(&name) {
            Ok(kind) if !kinds.contains(&kind) => kinds.push(kind),
            Ok(_) => return desk.wrong(&item.span, format!("`{name}` is named twice")),
            Err(message) => return desk.wrong(&item.span, message),
        }
    }
    Some(kinds)
}

/// `[random.kind.crash]`: another rate or length, or a kind that `kinds` leaves out.
fn read_changes(
    tree: &Tree,
    (rate, lasts): (Rate, (Duration, Duration)),
    kinds: &mut Vec<RandomKind>,
    desk: &mut Desk<'_>,
) {
    let Kind::Table(entries) = &tree.kind else {
        desk.wrong::<()>(&tree.span, "`kind` must be tables such as [random.kind.crash]");
        return;
    };
    for entry in entries {
        let kind = match kind(&entry.key) {
            Ok(kind) => kind,
            Err(message) => {
                desk.wrong::<()>(&entry.span, message);
                continue;
            }
        };
        let Some(mut fields) = Fields::of(&entry.value, "[random.kind.…]", desk) else { continue };
        let rate = fields.read("rate", values::rate, desk).unwrap_or(rate);
        let lasts = fields.read("lasts", lasting, desk).unwrap_or(lasts);
        fields.finish(desk);
        kinds.retain(|known| known.kind != kind);
        kinds.push(RandomKind { kind, rate, lasts });
    }
}
