//! Plans: valid, deterministic, and each part drawn by itself.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::plan::{Action, Fault, Plan};

fn library_scenarios() -> Vec<Scenario> {
    let read = |(name, _): &Entry| match Scenario::of_library(name) {
        Some(Ok(scenario)) => scenario,
        Some(Err(error)) => panic!("{error}"),
        None => panic!("{name} is not found"),
    };
    library().iter().map(read).collect()
}

#[test]
fn every_scenario_of_the_library_can_be_read_and_is_called_like_its_file() {
    let scenarios = library_scenarios();
    assert!(scenarios.len() >= 14);
    for (scenario, (name, _)) in scenarios.iter().zip(library()) {
        assert_eq!(scenario.name(), *name);
        assert!(scenario.about().len() > 100, "{name} tells no story");
        assert!(scenario.title().len() < 100 && !scenario.title().contains('\n'), "{name}");
        assert!(*name == "swarm" || !scenario.draft().assertions.is_empty(), "{name} asserts nothing");
    }
    let sorted: Vec<&str> = library().iter().map(|(name, _)| *name).collect();
    assert!(sorted.is_sorted(), "{sorted:?}");
    assert!(Scenario::of_library("none-of-them").is_none());
}

#[test]
fn every_file_of_the_folder_is_in_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let names = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("readable").path());
    let tomls = names.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    for path in tomls {
        let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(find(scenario.name()).is_some(), "{} is not in the library", scenario.name());
    }
}

#[test]
fn plans_of_the_library_are_valid_deterministic_and_differ_by_seed() {
    for scenario in library_scenarios() {
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let plan = scenario.plan(seed);
            if let Err(invalid) = plan.check() {
                panic!("{} seed {seed}: {invalid}", scenario.name());
            }
            let json = serde_json::to_string(&plan).expect("a plan is JSON");
            let again = serde_json::to_string(&scenario.plan(seed)).expect("a plan is JSON");
            assert!(json == again, "{} seed {seed} is not deterministic", scenario.name());
            seen.insert(json);
        }
        assert_eq!(seen.len(), 50, "{}", scenario.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_plan_is_valid_and_its_json_gives_it_back(which in 0..library().len(), seed: u64) {
        let (name, _) = library()[which];
        let scenario = Scenario::of_library(name).expect("known").expect("fine");
        let plan = scenario.plan(seed);
        prop_assert_eq!(plan.check(), Ok(()));
        let json = serde_json::to_string(&plan).expect("a plan is JSON");
        let back: Plan = serde_json::from_str(&json).expect("its own JSON");
        prop_assert!(back == plan, "{} seed {} is not given back", name, seed);
    }
}

#[test]
fn a_part_does_not_depend_on_the_luck_of_another() {
    let whole = Scenario::of_library("swarm").expect("known").expect("fine");
    let mut other = whole.draft().clone();
    other.workloads.truncate(1);
    let other = other.check().expect("fine");
    let mut calm = whole.draft().clone();
    calm.random = None;
    let calm = calm.check().expect("fine");
    for seed in 0..10 {
        let (plan, other, calm) = (whole.plan(seed), other.plan(seed), calm.plan(seed));
        assert!(plan.faults == other.faults, "seed {seed}: writes change faults");
        assert!(plan.writes == calm.writes, "seed {seed}: faults change writes");
        assert!(plan.noise == calm.noise && plan.links == other.links && plan.nodes == calm.nodes);
        assert!(calm.faults.is_empty());
    }
}

#[test]
fn the_swarm_has_seeds_with_every_kind_and_with_none() {
    let scenario = Scenario::of_library("swarm").expect("known").expect("fine");
    let (mut kinds, mut calm, mut writes) = (BTreeSet::new(), 0, 0);
    for seed in 0..200 {
        let plan = scenario.plan(seed);
        calm += usize::from(plan.faults.is_empty());
        writes += plan.writes.len();
        for fault in &plan.faults {
            let json = serde_json::to_value(&fault.fault).expect("JSON");
            kinds.insert(json["kind"].as_str().expect("a kind").to_owned());
            if let Fault::BitFlips { node, .. } = fault.fault {
                assert!(!plan.survivors.contains(&node));
            }
        }
    }
    assert_eq!(kinds.len(), 19, "{kinds:?}");
    assert!((2..40).contains(&calm), "{calm}");
    assert!((190_000..210_000).contains(&writes), "{writes}");
}

#[test]
fn values_say_which_write_they_are_of() {
    let plan = Scenario::of_library("hot-document").expect("known").expect("fine").plan(3);
    for write in &plan.writes {
        let mark = format!("w{}", write.no);
        for edit in &write.edits {
            let (Action::Put(value) | Action::Patch(value)) = &edit.action else { continue };
            for text in texts(value) {
                assert!(text == mark || text.starts_with(&format!("{mark}.")), "{text} in write {}", write.no);
            }
        }
    }
}

fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(texts).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn rust_and_toml_say_the_same() {
    let toml = read(&with(
        "survivors = \"all\"\nfaults = \"at 2m~1m cut berlin from *; at 50m heal\"\n[[workload]]\ncollection = \"x\"\ncount = 20",
    ));
    let rust = Draft::new("t", "T", std::time::Duration::from_secs(3_600))
        .nodes(&["berlin", "rome", "oslo"])
        .survivors(Survivors::All)
        .workload(Workload::new("x", 20))
        .faults("at 2m~1m cut berlin from *; at 50m heal")
        .and_then(Draft::check)
        .expect("fine");
    let toml = toml.expect("fine");
    assert!((0..5).all(|seed| toml.plan(seed) == rust.plan(seed)));
    let faults = rust.plan(1).faults;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].fault, Fault::Cut { from: vec![0], to: vec![1, 2], one_way: false });
    assert_eq!(faults[0].until, std::time::Duration::from_secs(3_000));
}

#[test]
fn a_damaged_plan_is_refused() {
    let fine = Scenario::of_library("two-shops").expect("known").expect("fine").plan(1);
    let said = |change: &dyn Fn(&mut Plan)| {
        let mut plan = fine.clone();
        change(&mut plan);
        plan.check().expect_err("damaged").to_string()
    };
    let is = |said: String, expected: &str| assert_eq!(said, format!("the plan cannot be carried out: {expected}"));
    is(
        said(&|plan| plan.writes[0].node = 9),
        "write 1: there is no node 9; there are 3; write 1: node 9 is no member of its space",
    );
    is(said(&|plan| plan.writes[1].no = 1), "write 1: its number is 0 or not its own");
    is(
        said(&|plan| plan.faults[0].until = plan.duration * 2),
        "fault 1: out of order, or it ends before it begins or too late",
    );
    is(said(&|plan| plan.survivors = vec![]), "no survivors, or one is named twice");
    is(
        said(&|plan| plan.links.truncate(1)),
        "the survivors are not connected by links among themselves; the survivors in space `main` are not connected among themselves",
    );
    is(
        said(&|plan| plan.assertions[0].expression = "what".into()),
        "assertion `both sales are counted`: the assertion names `what`; it may name id, entity, conflicts, present, node",
    );
    is(said(&|plan| plan.nodes.clear()).split(';').next().unwrap_or_default().to_owned(), "0 nodes");
    let flips = |plan: &mut Plan| {
        plan.faults[0].fault = Fault::BitFlips { node: 1, count: 1 };
    };
    is(said(&flips), "node 1 has a damaged file and is a survivor");
    let mut plan =
        read(&with("survivors = \"all\"\nfaults = \"at 5m bit-flips rome 2 in-rows for 1m\"")).expect("fine").plan(1);
    assert!(matches!(plan.faults[0].fault, Fault::RowFlips { node: 1, count: 2 }), "{:?}", plan.faults);
    assert_eq!(plan.check(), Ok(()), "whose rows are damaged may survive");
    plan.faults[0].fault = Fault::RowFlips { node: 1, count: 0 };
    assert!(plan.check().is_err());
}

#[test]
fn random_faults_that_are_too_many_by_chance_are_told_and_of_any_kind() {
    let piece = "[random]\nrate = \"60/h\"\nlasts = \"1s\"\nstability = \"1s\"\nkinds = [\"reset\", \"cut\"]";
    let piece = piece.replace("\"cut\"", "\"isolate\", \"half-open\"");
    let text = with(&piece).replace("1h\"\n", "24h\"\n");
    let scenario = read(&text).expect("4,200 are expected");
    let (mut left_out, mut kinds) = (0, BTreeSet::new());
    for seed in 0..40 {
        let plan = scenario.plan(seed);
        assert_eq!(plan.check(), Ok(()));
        let json = serde_json::to_string(&plan).expect("JSON");
        assert_eq!(json.contains("left_out"), plan.left_out > 0);
        if plan.left_out > 0 {
            left_out += 1;
            assert_eq!(plan.faults.len(), 5_000);
            let late = plan.faults.iter().filter(|fault| fault.at > plan.duration / 2).count();
            assert!((2_000..3_000).contains(&late), "seed {seed}: {late} in the second half");
            kinds.extend(
                plan.faults.iter().map(|fault| std::mem::discriminant(&fault.fault)).map(|kind| format!("{kind:?}")),
            );
        }
    }
    assert!(left_out > 0 && kinds.len() == 3, "{left_out}, {kinds:?}");
}

#[test]
fn a_hundred_nodes_are_planned() {
    let nodes = (0..100).fold(Draft::new("hundred", "T", std::time::Duration::from_secs(600)), |draft, no| {
        draft.node(Node::new(&format!("n{no}")))
    });
    let scenario = nodes.workload(Workload::new("x", 10_000)).check().expect("fine");
    let plan = scenario.plan(1);
    assert_eq!(plan.check(), Ok(()));
    assert_eq!((plan.links.len(), plan.writes.len()), (4_950, 10_000));
}

#[test]
fn what_the_quic_lane_cannot_do_is_known_before_it_is_run() {
    let of = |name: &str| Scenario::of_library(name).expect("known").expect("fine");
    assert_eq!((of("cloned-node").not_on_quic(), of("cloned-node").quic()), (vec!["clone"], false));
    assert_eq!((of("delete-against-update").not_on_quic(), of("delete-against-update").quic()), (vec!["replay"], true));
    assert_eq!((of("member-gone-bad").not_on_quic(), of("member-gone-bad").quic()), (vec!["gone-bad"], false));
    assert!(of("ferry").not_on_quic().is_empty());
}
