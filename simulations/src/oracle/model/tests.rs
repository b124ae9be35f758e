//! The model against the entities themselves: random histories of a few replicas, no node around them.

use proptest::prelude::*;
use tombolo_crdt::entity::{Change, Clock, EntityState, Provenance, TypedOp, Write, Writer};
use tombolo_crdt::json::Json;
use tombolo_crdt::{FeedId, Hlc};

use super::*;
use crate::oracle::fault::Fault;
use crate::outcome::Oracle;

const REPLICAS: usize = 3;

fn feed(replica: usize) -> FeedId {
    FeedId::from_bytes([u8::try_from(replica).unwrap() + 1; 16])
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn put(text: &str) -> Edit {
    Edit::Put(json(text))
}

fn patch(text: &str) -> Edit {
    Edit::Patch(json(text))
}

fn write_of(edit: &Edit) -> Write {
    match edit {
        Edit::Put(value) => Write::Put { value: value.clone(), base: None },
        Edit::Patch(value) => Write::MergePatch(value.clone()),
        Edit::Increment(path, by) => Write::Ops(vec![TypedOp::Increment { path: path.clone(), by: *by }]),
        Edit::Delete => Write::Delete,
    }
}

/// Replicas of one entity, and the model beside them.
struct World {
    replicas: Vec<EntityState>,
    cuts: Vec<Cut>,
    made: Vec<(usize, u64, Change, Clock)>,
    model: Entity,
    tally: Tally,
}

impl World {
    fn new() -> Self {
        Self {
            replicas: vec![EntityState::new(); REPLICAS],
            cuts: vec![vec![0; REPLICAS]; REPLICAS],
            made: Vec::new(),
            model: Entity::default(),
            tally: Tally::default(),
        }
    }

    /// Writes at a replica as one change; refused writes are none. What the model says of it must be so.
    fn write(&mut self, at: usize, edits: &[Edit]) {
        let before = self.replicas[at].clone();
        let mut writer = Writer::new(&before, feed(at), Hlc::from_millis(1_800_000_000_000));
        if edits.iter().any(|edit| writer.write(&write_of(edit)).is_err()) {
            return;
        }
        let Ok(made) = writer.finish(&Provenance::default(), 1) else { return };
        let past = self.cuts[at].clone();
        let seq = past[at] + 1;
        let edits: Vec<&Edit> = edits.iter().collect();
        let wrote = self.model.take((at, seq), &past, &edits, made.is_some());
        match &made {
            Some(_) => assert_ne!(wrote, Wrote::Nothing, "{edits:?} writes nothing"),
            None => assert_ne!(wrote, Wrote::Something, "{edits:?} writes something"),
        }
        self.cuts[at][at] = seq;
        if let Some((change, after)) = made {
            self.made.push((at, seq, change, before.clock().clone()));
            self.replicas[at] = after;
        }
        self.check(at);
    }

    fn sync(&mut self, to: usize, from: usize) {
        let theirs = self.cuts[from].clone();
        for (at, seq, change, past) in &self.made {
            if *seq <= theirs[*at] && *seq > self.cuts[to][*at] {
                self.replicas[to].apply(change, past, &Provenance::default(), 1);
            }
        }
        for (mine, theirs) in self.cuts[to].iter_mut().zip(theirs) {
            *mine = theirs.max(*mine);
        }
        self.check(to);
    }

    fn try_check(&mut self, at: usize) -> Result<(), Fault> {
        self.model.check(&self.cuts[at], Some(&self.replicas[at]), &mut self.tally)
    }

    fn check(&mut self, at: usize) {
        let checked = self.try_check(at);
        assert_eq!(checked, Ok(()), "replica {at}: {:?} {:?}", self.replicas[at].view(), self.replicas[at].conflicts());
    }
}

#[derive(Clone, Debug)]
enum Event {
    Write(usize, Vec<Edit>),
    Sync(usize, usize),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just("$deleted")].prop_map(str::to_owned)
}

/// Few values, so that equal ones meet often.
fn value(few: i64) -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        6 => (0..few).prop_map(Json::Int),
        1 => Just(Json::Null),
        1 => Just(Json::Float(0.5)),
        1 => "[xy]{0,2}".prop_map(Json::String),
        2 => Just(json("{}")),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            4 => prop::collection::btree_map(key(), inner.clone(), 0..3).prop_map(Json::Object),
            1 => prop::collection::vec(inner, 0..3).prop_map(Json::Array),
        ]
    })
}

fn object(few: i64) -> impl Strategy<Value = Json> {
    prop::collection::btree_map(key(), value(few), 0..4).prop_map(Json::Object)
}

fn edit(few: i64) -> impl Strategy<Value = Edit> {
    let path = prop::collection::vec(key(), 1..3).prop_map(|steps| format!("/{}", steps.join("/")));
    prop_oneof![
        4 => object(few).prop_map(Edit::Put),
        4 => object(few).prop_map(Edit::Patch),
        4 => (path, -3..4_i64).prop_map(|(path, by)| Edit::Increment(path, by)),
        1 => Just(Edit::Delete),
    ]
}

fn events(few: i64, len: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..REPLICAS, edit(few)).prop_map(|(at, edit)| Event::Write(at, vec![edit])),
        1 => (0..REPLICAS, prop::collection::vec(edit(few), 2..4)).prop_map(|(at, edits)| Event::Write(at, edits)),
        3 => (0..REPLICAS, 0..REPLICAS).prop_map(|(to, from)| Event::Sync(to, from)),
    ];
    prop::collection::vec(event, 1..len)
}

fn run(events: &[Event]) -> World {
    let mut world = World::new();
    for event in events {
        match event {
            Event::Write(at, edits) => world.write(*at, edits),
            Event::Sync(to, from) => world.sync(*to, *from),
        }
    }
    for _ in 0..2 {
        for to in 0..REPLICAS {
            for from in 0..REPLICAS {
                world.sync(to, from);
            }
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn entities_show_what_the_model_says(events in events(1000, 20)) {
        run(&events);
    }

    #[test]
    fn and_where_equal_values_meet_all_the_time(events in events(2, 24)) {
        run(&events);
    }
}

/// Three writes of which the last two are concurrent; returns the world with everything at replica 0.
fn concurrent(first: &Edit, left: &Edit, right: &Edit) -> World {
    let mut world = World::new();
    world.write(0, std::slice::from_ref(first));
    world.sync(1, 0);
    world.write(0, std::slice::from_ref(left));
    world.write(1, std::slice::from_ref(right));
    world.sync(0, 1);
    world
}

/// What the model says of another state in the place of replica 0's.
fn falsified(world: &mut World, text: &str) -> Fault {
    let empty = EntityState::new();
    let mut writer = Writer::new(&empty, feed(9), Hlc::from_millis(1));
    writer.write(&write_of(&put(text))).unwrap();
    world.replicas[0] = writer.finish(&Provenance::default(), 1).unwrap().unwrap().1;
    world.try_check(0).unwrap_err()
}

#[test]
fn a_lost_value_is_noticed() {
    let mut world = concurrent(&put(r#"{"a":1,"b":1}"#), &patch(r#"{"a":2}"#), &patch(r#"{"a":3}"#));
    assert!(world.tally.sure > 0);
    let fault = falsified(&mut world, r#"{"a":3,"b":1}"#);
    assert_eq!((fault.oracle, fault.place), (Oracle::Values, "a value is lost"));
    assert_eq!(falsified(&mut world, r#"{"b":1}"#).oracle, Oracle::Values);
}

#[test]
fn a_value_that_comes_back_is_noticed() {
    let mut world = concurrent(&put(r#"{"a":1,"m":{"x":1}}"#), &patch(r#"{"a":null}"#), &patch(r#"{"m":{"y":2}}"#));
    let fault = falsified(&mut world, r#"{"a":1,"m":{"x":1,"y":2}}"#);
    assert_eq!((fault.oracle, fault.place), (Oracle::Resurrection, "an overwritten value is back"));
    let fault = falsified(&mut world, r#"{"m":{"x":1,"y":2,"z":0}}"#);
    assert_eq!((fault.oracle, fault.place), (Oracle::Resurrection, "a value nobody wrote"));
}

#[test]
fn a_wrong_sum_is_noticed() {
    let add = |by| Edit::Increment("/n".to_owned(), by);
    let mut world = World::new();
    world.write(0, &[put("{}"), add(5)]);
    world.sync(1, 0);
    world.write(0, &[add(2)]);
    world.write(1, &[add(3)]);
    world.sync(0, 1);
    assert_eq!(falsified(&mut world, r#"{"n":8}"#).oracle, Oracle::Counters);
    assert_eq!(falsified(&mut world, "{}").oracle, Oracle::Counters);
}

#[test]
fn deletions_and_what_they_have_not_seen() {
    let mut world = concurrent(&put(r#"{"a":1}"#), &Edit::Delete, &patch(r#"{"b":2}"#));
    assert!(world.model.present(&world.cuts[0]), "the update was concurrent");
    world.replicas[0] = EntityState::new();
    assert_eq!(world.try_check(0).unwrap_err().place, "an entity is gone");

    let mut world = World::new();
    world.write(0, &[put(r#"{"a":1}"#)]);
    world.write(0, &[Edit::Delete]);
    let fault = falsified(&mut world, r#"{"a":1}"#);
    assert_eq!((fault.oracle, fault.place), (Oracle::Resurrection, "an entity is back"));
}

#[test]
fn who_wins_is_left_open_and_nothing_else() {
    // A PUT of one of two conflicting values may have found it shown, and written nothing.
    let mut world = concurrent(&put(r#"{"a":1}"#), &patch(r#"{"a":2}"#), &patch(r#"{"a":3}"#));
    let before = world.tally;
    world.write(0, &[put(r#"{"a":2,"b":1}"#)]);
    assert!(world.tally.unsure > before.unsure);
    assert_eq!(falsified(&mut world, r#"{"a":1,"b":1}"#).oracle, Oracle::Resurrection);
    assert_eq!(falsified(&mut world, r#"{"a":2}"#).oracle, Oracle::Values, "b is demanded");
}
