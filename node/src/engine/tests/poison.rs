//! A panic over a change is the matter of its entity.

use super::*;
use crate::engine::Refusal;
use crate::engine::poison::{Poison, contained};

fn poison(bed: &mut Bed) -> &mut Poison {
    &mut bed.engine.health.poison
}

fn trap(bed: &mut Bed, id: Option<&str>) {
    poison(bed).trap = id.map(str::to_owned);
}

/// The entity is left alone, whoever writes; the others are worked on.
fn check(bed: &mut Bed) {
    let reply = bed.command("e", [2]);
    let Reply::Written(Ok(outcome)) = &reply else { panic!("{reply:?}") };
    assert!(matches!(&outcome.writes[..], [Err(Refusal::Damaged { id, .. })] if id == "e"), "{outcome:?}");
    bed.write("f", [2]);
    let (e, f) = (bed.row("e"), bed.row("f"));
    let (mut late, mut other) = (bed.pen(50), bed.pen(51));
    late.entries.push(bed.entry(&late, "e", &late.change(&e, &patch(r#"{"late":1}"#))));
    other.entries.push(bed.entry(&other, "f", &other.change(&f, &patch(r#"{"other":1}"#))));
    bed.take([late.range(), other.range()]);
    assert_eq!((bed.view("e"), bed.view("f")), (r#"{"n":1}"#.to_owned(), r#"{"n":2,"other":1}"#.to_owned()));
    let held = bed.held();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0].reason, "waits for x/e, which is damaged on this node");
    let space = &bed.engine.memory.spaces[&bed.space];
    let frozen: Vec<_> = space.care.frozen().iter().collect();
    assert!(matches!(&frozen[..], [((_, id), why)] if id == "e" && why.contains("defect")), "{frozen:?}");
}

#[test]
fn a_panic_over_a_write_fails_the_step_and_stops_its_entity_alone() {
    let mut bed = Bed::new();
    bed.write("e", [1]);
    bed.write("f", [1]);
    trap(&mut bed, Some("e"));
    let reply = bed.command("e", [2]);
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
    trap(&mut bed, None);
    check(&mut bed);
}

#[test]
fn a_panic_over_a_change_of_a_peer_stops_its_entity_alone() {
    let mut bed = Bed::new();
    bed.write("e", [1]);
    bed.write("f", [1]);
    let mut pill = bed.pen(49);
    pill.entries.push(bed.entry(&pill, "e", &pill.change(&bed.row("e"), &patch(r#"{"pill":1}"#))));
    let range = pill.range();
    trap(&mut bed, Some("e"));
    let taken = contained(&mut bed, poison, |bed| {
        bed.take([range]);
        Ok(())
    });
    assert!(taken.is_err());
    trap(&mut bed, None);
    // What the step does when its work fails.
    bed.engine.health.unloaded = true;
    bed.write("f", [1]);
    check(&mut bed);
}

/// Every pass over the rows gives frozen entities another chance: this one has none before the process ends.
#[test]
fn a_poisoned_entity_stays_in_the_status_as_long_as_it_is_left_alone() {
    let mut bed = Bed::new();
    bed.write("e", [1]);
    bed.write("f", [1]);
    trap(&mut bed, Some("e"));
    assert!(matches!(bed.command("e", [2]), Reply::Failed(_)));
    trap(&mut bed, None);
    check(&mut bed);
    let passes = bed.pass_by(3);
    assert_eq!(passes, 3, "all rows have been looked at");
    let space = &bed.engine.memory.spaces[&bed.space];
    let frozen: Vec<_> = space.care.frozen().iter().collect();
    assert!(matches!(&frozen[..], [((_, id), why)] if id == "e" && why.contains("defect")), "{frozen:?}");
    assert_eq!(bed.held().len(), 1);
    let reply = bed.command("e", [2]);
    assert!(matches!(&reply, Reply::Written(Ok(outcome)) if outcome.writes[0].is_err()), "{reply:?}");
}

#[test]
#[should_panic(expected = "elsewhere")]
fn a_panic_over_no_entity_goes_on() {
    let mut bed = Bed::new();
    drop(contained(&mut bed, poison, |_| panic!("elsewhere")));
}
