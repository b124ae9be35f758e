//! Many writers, any causal order: one answer.

use super::*;

fn digest(state: &EntityState) -> (Vec<ChangeHash>, Vec<u8>, Vec<Conflict>, [u8; 32], bool, Flags) {
    let row = state.contribution("c", "e");
    (state.heads().to_vec(), state.view_bytes(), state.conflicts(), row, state.is_present(), state.flags())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_causal_order_gives_the_same_state(
        events in events(3, 14),
        choices in prop::collection::vec(any::<Index>(), 1..20),
    ) {
        let mut world = World::new(3);
        world.run(&events);
        world.settle();
        let expected = digest(&world.nodes[0]);
        for node in &world.nodes {
            prop_assert_eq!(&digest(node), &expected);
            prop_assert_eq!(node, &world.nodes[0]);
        }
        let replayed = world.replay(&choices);
        prop_assert_eq!(&digest(&replayed), &expected);
        prop_assert_eq!(replayed.encode(), world.nodes[0].encode());
    }

    #[test]
    fn applying_twice_changes_nothing_and_rows_are_read_back(events in events(3, 14)) {
        let mut world = World::new(3);
        world.run(&events);
        world.settle();
        let mut state = world.nodes[0].clone();
        for made in &world.made {
            prop_assert_eq!(state.apply(&made.change, &made.past, &made.provenance(), 9), Applied::Duplicate);
        }
        prop_assert_eq!(&state, &world.nodes[0]);
        let row = state.encode();
        let read = EntityState::decode(&row).unwrap();
        prop_assert_eq!(read.encode(), row);
        prop_assert_eq!(digest(&read), digest(&state));
    }

    /// A row that was stored between any two changes merges on as one that was not.
    #[test]
    fn storing_between_changes_makes_no_difference(events in events(3, 14)) {
        let mut world = World::new(3);
        world.run(&events);
        let mut stored = EntityState::new();
        let mut kept = EntityState::new();
        for made in &world.made {
            made.apply(&mut kept);
            made.apply(&mut stored);
            stored = EntityState::decode(&stored.encode()).unwrap();
        }
        prop_assert_eq!(stored, kept);
    }

    /// What is asked for is what is there, whatever was there before and however it came about.
    #[test]
    fn a_put_shows_exactly_its_value(events in events(2, 10), value in object()) {
        let mut world = World::new(2);
        world.run(&events);
        world.settle();
        world.write(0, &Write::Put { value: value.clone(), base: None });
        prop_assert_eq!(world.nodes[0].view(), value.clone());
        prop_assert!(world.nodes[0].is_present());
        // Again: nothing to write.
        let again = world.write(0, &Write::Put { value, base: None });
        prop_assert!(!again);
    }

    #[test]
    fn a_merge_patch_does_what_rfc_7396_says(events in events(2, 10), patch in object()) {
        let mut world = World::new(2);
        world.run(&events);
        world.settle();
        if world.nodes[0].is_present() {
            let mut expected = world.nodes[0].view();
            rfc_7396(&mut expected, &patch);
            world.write(0, &Write::MergePatch(patch));
            prop_assert_eq!(world.nodes[0].view(), expected);
        }
    }
}

fn rfc_7396(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !matches!(target, Json::Object(_)) {
        *target = json("{}");
    }
    let Json::Object(fields) = target else { unreachable!() };
    for (key, value) in patch {
        if *value == Json::Null {
            fields.remove(key);
        } else {
            rfc_7396(fields.entry(key.clone()).or_insert(Json::Null), value);
        }
    }
}

/// A write of one unique string to a path of keys, and what it has in its past.
struct Written {
    path: Vec<&'static str>,
    /// What it replaces: up to the first step that did not lead into an object.
    replaces: Vec<&'static str>,
    text: Option<String>,
    made: Made,
}

fn replaced(mut view: &Json, path: &[&'static str]) -> Vec<&'static str> {
    let mut steps = Vec::new();
    for step in path {
        let Json::Object(fields) = view else { break };
        steps.push(*step);
        view = fields.get(*step).unwrap_or(&Json::Null);
    }
    steps
}

fn strings(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::String(text) => found.push(text.clone()),
        Json::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Json::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        _ => {}
    }
}

const PATHS: [&[&str]; 7] = [&["a"], &["a", "x"], &["a", "y"], &["a", "x", "z"], &["b"], &["b", "x"], &["$deleted"]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Invariant 6: every acknowledged value is in the view, in a conflict list, or overwritten by a write that had it
    /// in its past; and none that was overwritten comes back.
    #[test]
    fn no_value_is_lost_and_none_comes_back(
        steps in prop::collection::vec((0..3_usize, 0..PATHS.len(), 0..4_u8, 0..3_usize), 1..25),
    ) {
        let mut world = World::new(3);
        world.write(0, &put("{}"));
        world.settle();
        let mut written: Vec<Written> = Vec::new();
        for (at, (node, path, action, other)) in steps.into_iter().enumerate() {
            if action == 0 {
                world.sync(node, other);
                continue;
            }
            let text = (action > 1).then(|| format!("value {at}"));
            let leaf = text.clone().map_or(Json::Null, Json::String);
            let wrap = |value, key: &&str| Json::Object(BTreeMap::from([((*key).to_owned(), value)]));
            let body = PATHS[path].iter().rev().fold(leaf, wrap);
            let replaces = replaced(&world.nodes[node].view(), PATHS[path]);
            if world.write(node, &Write::MergePatch(body)) {
                written.push(Written { path: PATHS[path].to_vec(), replaces, text, made: world.made.last().unwrap().clone() });
            }
        }
        world.settle();
        let state = &world.nodes[0];
        let mut there = Vec::new();
        strings(&state.view(), &mut there);
        for conflict in state.conflicts() {
            conflict.values.iter().for_each(|value| strings(&value.value, &mut there));
        }
        for write in &written {
            let overwritten = written.iter().any(|later| {
                let saw = later.made.past.get(&write.made.change.actor()).seq >= write.made.change.seq();
                saw && (later.path.starts_with(&write.path) || write.path.starts_with(&later.replaces))
            });
            if let Some(text) = &write.text {
                prop_assert_eq!(there.contains(text), !overwritten, "{} at {:?} in {}", text, write.path, world.view(0));
            }
        }
    }

    /// Invariant 6: a counter is the sum of its increments.
    #[test]
    fn counters_are_the_sum_of_their_increments(
        steps in prop::collection::vec((0..3_usize, -9..9_i64, 0..3_usize, any::<bool>()), 0..25),
    ) {
        let mut world = World::new(3);
        world.write(0, &put(r#"{"m":{"name":"n"},"l":[]}"#));
        world.write(0, &Write::Ops(vec![TypedOp::Increment { path: "/m/stock".into(), by: 100 }]));
        world.settle();
        let mut sum = 100;
        for (node, by, other, put) in steps {
            if put {
                // A PUT of another number over a counter counts too.
                let shown = world.nodes[node].view();
                let now = shown.as_object().unwrap()["m"].as_object().unwrap()["stock"].as_i64().unwrap();
                world.write(node, &patch(&format!(r#"{{"m":{{"stock":{}}}}}"#, now + by)));
            } else {
                world.write(node, &increment("/m/stock", by));
            }
            sum += by;
            world.sync(node, other);
        }
        world.settle();
        prop_assert_eq!(world.view(2), format!(r#"{{"l":[],"m":{{"name":"n","stock":{sum}}}}}"#));
    }
}
