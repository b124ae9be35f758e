//! What writes mean: round trips, the counter-examples of the design review, patches, limits.

use super::*;
use crate::json::WRITE_DEPTH_MAX;

fn two(before: &str) -> World {
    let mut world = World::new(2);
    world.write(0, &put(before));
    world.settle();
    world
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1), Just(0)].prop_map(Json::Int),
        prop_oneof![any::<u64>(), Just(u64::MAX)].prop_map(Json::Uint),
        any::<f64>().prop_filter("JSON has no infinities", |float| float.is_finite()).prop_map(Json::Float),
        prop_oneof![Just(-0.0), Just(1e20), Just(9_007_199_254_740_992.0), Just(5e-324)].prop_map(Json::Float),
        any::<String>().prop_map(Json::String),
        Just(Json::String("\0\u{ffff}😀".into())),
    ];
    leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            prop::collection::btree_map(any_key(), inner.clone(), 0..5).prop_map(Json::Object),
            prop::collection::vec(inner, 0..5).prop_map(Json::Array),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => any::<String>(),
        1 => prop_oneof![Just(""), Just("$deleted"), Just("$$deleted"), Just("\0"), Just("\u{fb33}"), Just("😀")]
            .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn view_write_view_is_the_identity(
        value in prop::collection::btree_map(any_key(), any_json(), 0..6).prop_map(Json::Object),
    ) {
        let mut world = World::new(1);
        world.write(0, &Write::Put { value: value.clone(), base: None });
        let bytes = world.nodes[0].view_bytes();
        prop_assert_eq!(&bytes, &value.to_bytes());
        let read = Json::parse(&bytes).unwrap();
        let again = world.write(0, &Write::Put { value: read.clone(), base: None });
        prop_assert!(!again);
        let mut second = World::new(1);
        second.write(0, &Write::Put { value: read, base: None });
        prop_assert_eq!(second.nodes[0].view_bytes(), bytes);
    }
}

fn nested(depth: usize) -> Json {
    (1..depth).fold(json("{}"), |inner, _| Json::Object(BTreeMap::from([("k".to_owned(), inner)])))
}

#[test]
fn depth_is_limited_where_a_write_is_made() {
    let mut world = World::new(1);
    let put = |depth| [Write::Put { value: nested(depth), base: None }];
    assert_eq!(world.try_write(0, &put(WRITE_DEPTH_MAX + 1)), Err(WriteError::TooDeep));
    assert_eq!(world.try_write(0, &put(WRITE_DEPTH_MAX)), Ok(true));
    assert_eq!(world.nodes[0].view(), nested(WRITE_DEPTH_MAX));
    let path = format!("{}/k", "/k".repeat(WRITE_DEPTH_MAX - 1));
    let add = |value| [Write::JsonPatch(vec![PatchOp::Add { path: path.clone(), value }])];
    assert_eq!(world.try_write(0, &add(json("[]"))), Err(WriteError::TooDeep));
    assert_eq!(world.try_write(0, &add(json("1"))), Ok(true));
}

#[test]
fn size_is_limited_where_a_write_is_made() {
    let mut world = World::new(2);
    let half = "x".repeat(600_000);
    let field = |name: &str| patch(&format!(r#"{{"{name}":"{half}"}}"#));
    world.write(0, &put("{}"));
    world.settle();
    world.write(0, &field("a"));
    assert!(matches!(world.try_write(0, &[field("b")]), Err(WriteError::TooLarge(_))));
    world.write(1, &field("b"));
    world.settle();
    // Merging may exceed the limit; then only what shrinks is taken.
    assert!(world.nodes[0].flags().over_size);
    assert!(matches!(world.try_write(0, &[patch(r#"{"c":1}"#)]), Err(WriteError::TooLarge(_))));
    assert_eq!(world.try_write(0, &[patch(r#"{"a":null}"#)]), Ok(true));
    assert!(!world.nodes[0].flags().over_size);
}

/// L3: two sites create `m`, one deletes a key in it, two sell. No carry: nothing comes back, counters are not copied.
#[test]
fn l3_creation_by_two_merges_without_carrying() {
    let mut world = World::new(4);
    world.write(0, &put("{}"));
    world.settle();
    world.write(0, &put(r#"{"m":{"gone":1}}"#));
    world.write(0, &increment("/m/stock", 5));
    world.write(1, &put(r#"{"m":{"other":1}}"#));
    world.settle();
    assert_eq!(world.view(0), r#"{"m":{"gone":1,"other":1,"stock":5}}"#);
    world.write(0, &patch(r#"{"m":{"gone":null}}"#));
    world.write(1, &patch(r#"{"m":{"name":"x"}}"#));
    world.write(2, &patch(r#"{"m":{"name":"y"}}"#));
    for node in 1..4 {
        world.write(node, &increment("/m/stock", -1));
    }
    world.settle();
    let view = world.view(0);
    assert!(view == r#"{"m":{"name":"y","other":1,"stock":2}}"# || view == r#"{"m":{"name":"x","other":1,"stock":2}}"#);
    let conflicts = world.nodes[0].conflicts();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].path, [Step::Key("m".into()), Step::Key("name".into())]);
    assert_eq!(
        conflicts[0].values[0].provenance.unwrap().entry_seq,
        conflicts[0].values[0].provenance.unwrap().rules_seq
    );
}

/// L4: a removed map does not swallow what was written into it meanwhile.
#[test]
fn l4_a_write_into_a_removed_map_is_not_invisible() {
    for removal in ["{}", r#"{"address":"none"}"#, r#"{"address":{}}"#] {
        let mut world = two(r#"{"address":{"city":"A","street":"S"}}"#);
        world.write(0, &put(removal));
        world.write(1, &patch(r#"{"address":{"city":"B"}}"#));
        world.settle();
        assert_eq!(world.view(0), world.view(1));
        let conflicts = world.nodes[0].conflicts();
        let values: Vec<Json> = conflicts.into_iter().flat_map(|it| it.values).map(|value| value.value).collect();
        let listed = [world.nodes[0].view_bytes(), Json::Array(values).to_bytes()].concat();
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains(r#"{"city":"B"}"#), "{removal}: {listed}");
        assert!(!listed.contains("street"), "{removal}: {listed}");
    }
}

/// L5: whether an entity is there does not depend on the order, increments included.
#[test]
fn l5_tombstones_have_a_context() {
    let mut world = two(r#"{"qty":1}"#);
    world.write(0, &increment("/count", 5));
    world.settle();
    world.write(0, &Write::Delete);
    assert!(!world.nodes[0].is_present());
    world.write(1, &increment("/count", 1));
    world.settle();
    for node in &world.nodes {
        assert!(node.is_present() && node.came_back());
    }
    assert_eq!(world.view(0), r#"{"count":6,"qty":1}"#);
    // Deleted having seen it: gone. A write confirms what came back: no flag any more.
    let mut deleted = World { nodes: world.nodes.clone(), made: world.made.clone() };
    deleted.write(0, &Write::Delete);
    deleted.settle();
    assert!(!deleted.nodes[1].is_present());
    assert!(world.write(0, &put(r#"{"count":6,"qty":1}"#)));
    assert!(world.nodes[0].is_present() && !world.nodes[0].came_back());
}

/// L7: with what the writer had read as base, what changed meanwhile stays.
#[test]
fn l7_a_put_with_base_keeps_what_changed_meanwhile() {
    let mut world = two(r#"{"a":1,"b":1,"m":{"x":1}}"#);
    world.write(0, &increment("/count", 5));
    world.settle();
    let base = world.nodes[0].view();
    world.write(1, &patch(r#"{"b":2,"m":{"y":1}}"#));
    world.write(1, &increment("/count", 2));
    world.settle();
    let put = |base| Write::Put { value: json(r#"{"a":9,"b":1,"count":4}"#), base };
    let mut stale = World { nodes: world.nodes.clone(), made: world.made.clone() };
    world.write(0, &put(Some(base)));
    assert_eq!(world.view(0), r#"{"a":9,"b":2,"count":6,"m":{"y":1}}"#);
    // Without a base it replaces what is here.
    stale.write(0, &put(None));
    assert_eq!(stale.view(0), r#"{"a":9,"b":1,"count":4}"#);
}

#[test]
fn a_put_after_a_delete_clears_the_old_fields() {
    let mut world = two(r#"{"a":1,"m":{"x":1},"l":[1]}"#);
    world.write(0, &increment("/n", 7));
    world.write(0, &Write::Delete);
    assert!(!world.write(0, &Write::Delete));
    assert_eq!(world.try_write(0, &[patch(r#"{"a":2}"#)]), Err(WriteError::Absent));
    world.write(0, &put(r#"{"n":3,"a":1}"#));
    assert_eq!(world.view(0), r#"{"a":1,"n":3}"#);
    assert!(world.nodes[0].is_present() && !world.nodes[0].came_back());
    // The new number is no counter.
    assert_eq!(world.try_write(0, &[increment("/n", 1)]), Err(WriteError::NotACounter("/n".into())));
}

#[test]
fn an_empty_entity_is_there() {
    let mut world = World::new(1);
    assert!(!world.nodes[0].is_present());
    assert!(!world.write(0, &Write::Delete));
    assert!(world.write(0, &put("{}")));
    assert!(world.nodes[0].is_present());
    assert!(!world.write(0, &put("{}")));
    assert!(world.write(0, &put(r#"{"a":1}"#)));
    assert!(world.write(0, &put("{}")));
    assert_eq!((world.view(0).as_str(), world.nodes[0].is_present()), ("{}", true));
}

#[test]
fn several_writes_are_one_change_and_the_last_delete_stands() {
    let mut world = two(r#"{"a":1}"#);
    let made = world.made.len();
    world.try_write(0, &[patch(r#"{"b":2}"#), increment("/c", 1), increment("/c", 1)]).unwrap();
    assert_eq!(world.made.len(), made + 1);
    assert_eq!(world.view(0), r#"{"a":1,"b":2,"c":2}"#);
    world.try_write(0, &[patch(r#"{"b":3}"#), Write::Delete]).unwrap();
    assert!(!world.nodes[0].is_present());
    world.try_write(1, &[Write::Delete, put(r#"{"z":1}"#)]).unwrap();
    assert_eq!((world.view(1).as_str(), world.nodes[1].is_present()), (r#"{"z":1}"#, true));
    let mut fresh = World::new(1);
    assert_eq!(fresh.try_write(0, &[put(r#"{"a":1}"#), Write::Delete]), Ok(false));
}

#[test]
fn a_patch_decides_a_conflict_even_with_the_shown_value() {
    let mut world = two("{}");
    world.write(0, &patch(r#"{"k":"zero"}"#));
    world.write(1, &patch(r#"{"k":"one"}"#));
    world.settle();
    assert_eq!(world.nodes[0].conflicts().len(), 1);
    let shown = world.nodes[0].view();
    assert!(!world.write(0, &Write::Put { value: shown.clone(), base: None }), "PUT does not touch equal fields");
    assert!(world.write(0, &Write::MergePatch(shown)));
    assert_eq!(world.nodes[0].conflicts(), []);
}

#[test]
fn undeclared_counters_created_twice_are_a_conflict_and_patch_renews() {
    let mut world = two("{}");
    world.write(0, &increment("/n", 5));
    world.write(1, &increment("/n", 7));
    world.settle();
    assert_eq!(world.nodes[0].conflicts()[0].values.len(), 2);
    world.write(0, &increment("/n", 1));
    assert_eq!(world.nodes[0].conflicts()[0].values.len(), 2);
    world.write(0, &patch(r#"{"n":3}"#));
    assert_eq!((world.view(0).as_str(), world.nodes[0].conflicts().len()), (r#"{"n":3}"#, 0));
    world.write(0, &increment("/n", 1));
    assert_eq!(world.view(0), r#"{"n":4}"#);
    let most = increment("/n", i64::MAX);
    assert_eq!(world.try_write(0, &[most]), Err(WriteError::Overflow));
}

#[test]
fn json_patch_edits_lists_in_place() {
    let mut world = two(r#"{"l":[1,{"x":[]},3],"o":{"p":1}}"#);
    let ops = json(
        r#"[{"op":"test","path":"/l/0","value":1},{"op":"add","path":"/l/1/x/-","value":"new"},
            {"op":"replace","path":"/l/2","value":{}},{"op":"add","path":"/l/0","value":0},
            {"op":"remove","path":"/o/p"},{"op":"copy","from":"/l/2","path":"/o/q"},{"op":"move","from":"/l/1","path":"/m"},
            {"op":"add","path":"/l/2/deep","value":null}]"#,
    );
    world.write(1, &Write::JsonPatch(PatchOp::parse_list(&json(r#"[{"op":"add","path":"/l/3","value":4}]"#)).unwrap()));
    world.write(0, &Write::JsonPatch(PatchOp::parse_list(&ops).unwrap()));
    world.settle();
    assert_eq!(world.view(0), r#"{"l":[0,{"x":["new"]},{"deep":null},4],"m":1,"o":{"q":{"x":["new"]}}}"#);
    world.write(0, &Write::JsonPatch(vec![PatchOp::Remove { path: "/o/q".into() }]));
    assert_eq!(world.view(0), r#"{"l":[0,{"x":["new"]},{"deep":null},4],"m":1,"o":{}}"#);
    world.write(0, &Write::JsonPatch(vec![PatchOp::Add { path: "/o/r".into(), value: json("1") }]));
    assert_eq!(world.view(0), r#"{"l":[0,{"x":["new"]},{"deep":null},4],"m":1,"o":{"r":1}}"#);
    for (wrong, error) in [
        (PatchOp::Remove { path: "/none".into() }, WriteError::NoSuchPath("/none".into())),
        (PatchOp::Test { path: "/m".into(), value: json("2") }, WriteError::TestFailed("/m".into())),
        (PatchOp::Add { path: "/l/9".into(), value: json("2") }, WriteError::Index("/l/9".into())),
        (PatchOp::Add { path: "/no/way".into(), value: json("2") }, WriteError::NoSuchPath("/no/way".into())),
        (PatchOp::Move { from: "/o".into(), path: "/o/x".into() }, WriteError::MoveIntoItself("/o".into())),
    ] {
        assert_eq!(world.try_write(0, &[Write::JsonPatch(vec![wrong])]), Err(error));
    }
}

#[test]
fn after_an_error_the_writer_makes_no_change() {
    let world = two(r#"{"a":1}"#);
    let mut writer = Writer::new(&world.nodes[0], feed(0), Hlc::default());
    writer.write(&patch(r#"{"a":2}"#)).unwrap();
    assert!(writer.write(&increment("/a", 1)).is_err());
    assert_eq!(writer.write(&patch(r#"{"a":3}"#)), Err(WriteError::Spent));
    assert!(matches!(writer.finish(&Provenance::default(), 1), Err(WriteError::Spent)));
}

/// The view stays small and so do the bytes of the operations; there are too many of them.
#[test]
fn a_change_of_too_many_operations_says_so() {
    let mut world = two(r#"{"list":[]}"#);
    let round = |_| {
        let values = vec![Json::Null; 50_000];
        let insert = TypedOp::Insert { path: "/list".into(), index: 0, values };
        [insert, TypedOp::Delete { path: "/list".into(), index: 0, count: 50_000 }]
    };
    assert_eq!(world.try_write(0, &[Write::Ops((0..2).flat_map(round).collect())]), Ok(true));
    let refused = world.try_write(0, &[Write::Ops((0..4).flat_map(round).collect())]);
    assert_eq!(refused, Err(WriteError::ChangeTooLarge { operations: 262_145 }));
    assert!(refused.unwrap_err().to_string().contains("262145 operations"));
}
