//! What planning takes is bounded, whatever is asked for, and the last numbers of an entity are kept.

use super::*;
use crate::entity::id::NUMBER_END;

fn plan<'a>(state: &'a EntityState, write: &Write) -> (Writer<'a>, Result<(), WriteError>) {
    let mut writer = Writer::new(state, feed(0), Hlc::from_millis(1_800_000_000_000));
    let planned = writer.write(write);
    (writer, planned)
}

fn json_patch(text: &str) -> Write {
    Write::JsonPatch(PatchOp::parse_list(&json(text)).unwrap())
}

fn state(text: &str) -> EntityState {
    let mut world = World::new(1);
    world.write(0, &put(text));
    world.nodes.remove(0)
}

/// Core 9: 870 bytes of JSON Patch that double the entity 24 times.
#[test]
fn a_patch_that_doubles_the_entity_is_refused_before_it_is_large() {
    for (entity, from, to) in [(r#"{"a":1}"#, "", "/k"), (r#"{"l":[1]}"#, "/l", "/l/")] {
        let copy = |n: usize| {
            let to = if to == "/k" { format!("/k{n}") } else { "/l/0".to_owned() };
            format!(r#"{{"op":"copy","from":"{from}","path":"{to}"}}"#)
        };
        let copies: Vec<String> = (0..24).map(copy).collect();
        let patch = json_patch(&format!("[{}]", copies.join(",")));
        let state = state(entity);
        let (writer, planned) = plan(&state, &patch);
        assert_eq!(planned, Err(WriteError::TooMuchWork), "{entity}");
        // What was made and read before it was refused.
        assert!(writer.operations() < 40_000, "{} operations", writer.operations());
        assert!(writer.visits() < 200_000, "{} visits", writer.visits());
    }
}

#[test]
fn what_a_patch_may_copy_and_move_is_what_was_there_and_a_little() {
    let text = "x".repeat(300_000);
    let state = state(&format!(r#"{{"a":"{text}","b":[1,2,3]}}"#));
    let around = r#"{"op":"move","from":"/a","path":"/c"},{"op":"move","from":"/c","path":"/a"}"#;
    assert_eq!(plan(&state, &json_patch(&format!("[{around}]"))).1, Ok(()));
    let again = [around; 8].join(",");
    let refused = plan(&state, &json_patch(&format!("[{again}]"))).1;
    assert!(matches!(refused, Err(WriteError::ChangeTooLarge { .. } | WriteError::TooMuchWork)), "{refused:?}");
    // Small ones as often as anybody likes.
    let shuffle = [r#"{"op":"move","from":"/b/2","path":"/b/0"}"#; 2_000].join(",");
    assert_eq!(plan(&state, &json_patch(&format!("[{shuffle}]"))).1, Ok(()));
}

/// Each operation of a patch may look at all of the entity: so few may that it stays affordable.
#[test]
fn patches_that_read_everything_again_and_again_are_refused() {
    let fields: Vec<String> = (0..2_000).map(|n| format!(r#""f{n}":{n}"#)).collect();
    let state = state(&format!("{{{}}}", fields.join(",")));
    let tests = |times: usize| {
        let test = format!(r#"{{"op":"test","path":"","value":{{{}}}}}"#, fields.join(","));
        plan(&state, &json_patch(&format!("[{}]", vec![test; times].join(","))))
    };
    assert_eq!(tests(20).1, Ok(()));
    let mut writer = Writer::new(&state, feed(0), Hlc::default()).within(100_000);
    let test = PatchOp::Test { path: String::new(), value: state.view() };
    assert_eq!(writer.write(&Write::JsonPatch(vec![test; 1_000])), Err(WriteError::TooMuchWork));
    assert!((100_000..110_000).contains(&writer.visits()), "{}", writer.visits());
}

/// A delete drops what was planned before it; the work for that was done all the same.
#[test]
fn writing_and_deleting_in_turn_is_bounded() {
    let fields: Vec<String> = (0..1_000).map(|n| format!(r#""f{n}":{n}"#)).collect();
    let state = state(&format!("{{{}}}", fields.join(",")));
    let mut writer = Writer::new(&state, feed(0), Hlc::default()).within(50_000);
    let turns = (0..10_000).try_for_each(|n| {
        writer.write(&patch(&format!(r#"{{"f0":"{n}"}}"#)))?;
        writer.write(&Write::Delete)?;
        writer.write(&put(r#"{"z":1}"#))
    });
    assert_eq!(turns, Err(WriteError::TooMuchWork));
    assert!(writer.visits() < 60_000, "{}", writer.visits());
}

/// The list is long and everything is at its far end: blocks are passed, not elements.
#[test]
fn thousands_of_edits_of_a_long_list_are_affordable() {
    let state = state(&format!(r#"{{"l":[{}]}}"#, vec!["1"; 20_000].join(",")));
    let remove = (0..2_000).map(|n| PatchOp::Remove { path: format!("/l/{}", 19_000 - n * 7) }).collect();
    let (writer, planned) = plan(&state, &Write::JsonPatch(remove));
    assert_eq!(planned, Ok(()));
    assert!(writer.visits() < 200_000, "{}", writer.visits());
    let (_, after) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
    assert_eq!(after.view().as_object().unwrap()["l"], Json::Array(vec![Json::Int(1); 18_000]));
    assert_eq!(after.removed(), Removed { objects: 0, elements: 2_000 });
}

/// Operations that can be done whatever was done before them: what they need is never removed.
fn patch_op() -> impl Strategy<Value = PatchOp> {
    let from = || prop::sample::select(vec!["", "/a", "/l", "/l/0", "/m"]).prop_map(str::to_owned);
    let to = || prop::sample::select(vec!["/b", "/c", "/l/0", "/l/-", "/m/x", "/m/z"]).prop_map(str::to_owned);
    let value = || prop::sample::select(vec!["1", "[]", "{}", r#"{"x":{"y":[1,2]}}"#]).prop_map(json);
    let end = |from: &str| PatchOp::Move { from: from.to_owned(), path: "/l/-".to_owned() };
    prop_oneof![
        4 => (from(), to()).prop_map(|(from, path)| PatchOp::Copy { from, path }),
        1 => Just(end("/l/0")),
        2 => (to(), value()).prop_map(|(path, value)| PatchOp::Add { path, value }),
        1 => (from(), value()).prop_map(|(path, _)| PatchOp::Test { path, value: Json::Null }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is asked for, planning looks at no more than it may and then once more at what there is.
    #[test]
    fn planning_stays_within_its_budget(
        ops in prop::collection::vec(patch_op(), 1..12), times in 1..100_usize, most in 100..20_000_u64,
    ) {
        let state = state(r#"{"a":1,"l":[1,{"x":2}],"m":{"x":{"y":1}}}"#);
        let mut writer = Writer::new(&state, feed(0), Hlc::default()).within(most);
        let planned = writer.write(&Write::JsonPatch((0..times).flat_map(|_| ops.clone()).collect()));
        let live: usize = writer.state().doc.objects.values().map(|object| 1 + object.len()).sum();
        let bound = most + 40 * live as u64;
        prop_assert!(writer.visits() <= bound, "{} visits, {} live, {:?}", writer.visits(), live, planned);
        prop_assert!(writer.operations() as u64 <= most.max(1_000));
    }
}

/// An entity whose greatest number is that many below the end.
fn near_end(text: &str, left: u64) -> World {
    let mut world = World::new(1);
    world.write(0, &put(text));
    let state = &mut world.nodes[0];
    let mark = Mark { seq: 1, counter: NUMBER_END - 1 - left };
    state.clock.raise(feed(0), mark);
    assert_eq!(state.numbers_left(), left);
    world
}

/// Core 11: the last numbers are for deletes and for the PUT of `{}`.
#[test]
fn at_the_end_of_its_numbers_an_entity_can_be_emptied_and_deleted() {
    let exhausted = Err(WriteError::Exhausted);
    let mut world = near_end(r#"{"a":1,"l":[1,2]}"#, NUMBERS_RESERVED + 2);
    assert!(world.nodes[0].is_running_out());
    assert_eq!(world.try_write(0, &[patch(r#"{"b":1,"c":2,"d":3}"#)]), exhausted);
    assert_eq!(world.try_write(0, &[patch(r#"{"b":1,"c":2}"#)]), Ok(true));
    assert_eq!(world.try_write(0, &[patch(r#"{"b":3}"#)]), exhausted);
    assert_eq!(world.try_write(0, &[increment("/n", 1)]), exhausted);
    assert_eq!(world.try_write(0, &[put(r#"{"b":1}"#)]), exhausted);
    let mut deleted = World { nodes: world.nodes.clone(), made: world.made.clone() };
    assert_eq!(deleted.try_write(0, &[Write::Delete]), Ok(true));
    assert_eq!(deleted.try_write(0, &[put(r#"{"b":1}"#)]), exhausted);
    assert_eq!(world.try_write(0, &[put("{}")]), Ok(true));
    assert_eq!(world.view(0), "{}");
    assert_eq!(world.try_write(0, &[put(r#"{"b":1}"#)]), exhausted);
    assert_eq!(world.try_write(0, &[Write::Delete]), Ok(true));
    // Emptied and deleted in turn: at last it is deleted and stays so.
    let mut world = near_end("{}", NUMBERS_RESERVED / 2 + 5);
    let turns = (0..100).take_while(|_| {
        assert_eq!(world.try_write(0, &[Write::Delete]), Ok(true));
        world.try_write(0, &[put("{}")]).is_ok()
    });
    assert!(turns.count() < 5 && !world.nodes[0].is_present());
    let mut last = near_end("{}", 1);
    assert_eq!(last.try_write(0, &[put("{}")]), Ok(false));
    assert_eq!(last.try_write(0, &[Write::Delete]), Ok(true));
    assert_eq!(last.nodes[0].numbers_left(), 0);
    assert!(!EntityState::new().is_running_out());
}

/// An array is replaced as a whole, but not by itself.
#[test]
fn an_unchanged_array_is_not_written() {
    let text = r#"{"l":[1,[2,{"x":[3]}],{}],"m":{"l":[1,2]},"n":1}"#;
    let mut world = World::new(1);
    world.write(0, &put(text));
    let before = world.nodes[0].clock().counter_max();
    for write in [
        put(text),
        patch(text),
        Write::Put { value: json(text), base: Some(json(text)) },
        json_patch(
            r#"[{"op":"replace","path":"/m/l","value":[1,2]},{"op":"replace","path":"/m","value":{"l":[1,2]}}]"#,
        ),
    ] {
        assert!(!world.write(0, &write), "{write:?}");
    }
    // Beside what did change.
    assert!(world.write(0, &put(&text.replace(r#""n":1"#, r#""n":2"#))));
    assert!(world.write(0, &patch(r#"{"m":{"l":[1,2],"k":5}}"#)));
    assert_eq!(world.nodes[0].clock().counter_max(), before + 2);
}

/// F8: two lawful writes merge to more than a write may make. Whatever does not make it larger is taken.
#[test]
fn an_entity_over_the_limit_takes_what_does_not_make_it_larger() {
    let mut world = World::new(2);
    world.write(0, &put(r#"{"x":1}"#));
    world.write(0, &increment("/n", 9));
    world.settle();
    for (node, key) in ["a", "b"].into_iter().enumerate() {
        world.write(node, &patch(&format!(r#"{{"{key}":"{}"}}"#, "x".repeat(700_000))));
    }
    world.settle();
    assert!(world.nodes[0].flags().over_size);
    assert_eq!(world.try_write(0, &[patch(r#"{"x":2}"#)]), Ok(true));
    assert_eq!(world.try_write(0, &[increment("/n", 1)]), Ok(true), "one digit more");
    assert_eq!(world.try_write(0, &[Write::Put { value: world.nodes[0].view(), base: None }]), Ok(false));
    let larger = |refused| assert!(matches!(refused, Err(WriteError::TooLarge(_))), "{refused:?}");
    larger(world.try_write(0, &[patch(r#"{"x":22}"#)]));
    larger(world.try_write(0, &[patch(r#"{"y":2}"#)]));
    assert_eq!(world.try_write(0, &[patch(r#"{"x":null,"y":2}"#)]), Ok(true));
    assert_eq!(world.try_write(0, &[patch(r#"{"a":null}"#)]), Ok(true));
    assert!(!world.nodes[0].flags().over_size);
}

/// F2: what was removed stays, and is told.
#[test]
fn removed_objects_and_elements_are_counted() {
    let mut world = World::new(1);
    world.write(0, &put(r#"{"items":{},"l":[1,2,{"e":1}],"k":{"in":{"deep":1}}}"#));
    assert_eq!(world.nodes[0].removed(), Removed::default());
    for n in 0..20 {
        world.write(0, &patch(&format!(r#"{{"items":{{"k{n}":{{"q":1}}}}}}"#)));
        world.write(0, &patch(&format!(r#"{{"items":{{"k{n}":null}}}}"#)));
    }
    world.write(0, &json_patch(r#"[{"op":"remove","path":"/l/0"},{"op":"remove","path":"/k"}]"#));
    assert_eq!(world.view(0), r#"{"items":{},"l":[2,{"e":1}]}"#);
    assert_eq!(world.nodes[0].removed(), Removed { objects: 23, elements: 1 });
}
