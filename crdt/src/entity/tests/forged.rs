//! Feeds with forged changes in them: every replica gives every change the same answer and ends with the same row.
//!
//! Automerge cannot be asked here: it panics, or takes what it cannot load again (`crdt/tests/evidence.rs`).

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use crate::entity::change::Own;
use crate::entity::doc::{Action, Key, Kind, Operation, Value};

/// Nodes that write by the rules, each with a feed.
const HONEST: usize = 3;
/// With the feeds of those who do not.
const FEEDS: usize = 5;

/// What a node says to a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    Applied,
    Undecodable,
    Sequence,
    Aside,
    StartOp,
    NotInPast,
    /// It depends on a change that was refused.
    Depends,
    /// It was refused before.
    Again,
}

/// The bytes of all changes, per feed in the order the feed's chain fixes.
pub(super) type Feeds = Vec<Vec<Vec<u8>>>;

/// A node: how far it has settled each feed, and what came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub(super) state: EntityState,
    pasts: BTreeMap<ChangeHash, Clock>,
    refused: BTreeSet<ChangeHash>,
    pub(super) answers: Vec<Vec<Answer>>,
}

impl Replica {
    pub(super) fn new(feeds: usize) -> Self {
        Self { answers: vec![Vec::new(); feeds], ..Self::default() }
    }

    /// Settles the next change of a feed, unless it is held: a dependency is not known here.
    pub(super) fn settle(&mut self, feeds: &Feeds, at: usize) -> bool {
        let Some(bytes) = feeds[at].get(self.answers[at].len()) else { return false };
        let Some(answer) = self.answer(bytes, at) else { return false };
        self.answers[at].push(answer);
        true
    }

    fn answer(&mut self, bytes: &[u8], at: usize) -> Option<Answer> {
        let Ok(change) = Change::parse(bytes, feed(at)) else { return Some(Answer::Undecodable) };
        if self.refused.contains(&change.hash()) {
            return Some(Answer::Again);
        }
        let mut past = Clock::new();
        for dep in change.deps() {
            match self.pasts.get(dep) {
                Some(before) => past.join(before),
                None if self.refused.contains(dep) => {
                    self.refused.insert(change.hash());
                    return Some(Answer::Depends);
                }
                None => return None,
            }
        }
        let answer = match self.state.gate(&change, &past) {
            Ok(()) => Answer::Applied,
            Err(GateError::Sequence { .. }) => Answer::Sequence,
            Err(GateError::Aside { .. }) => Answer::Aside,
            Err(GateError::StartOp { .. }) => Answer::StartOp,
            Err(GateError::NotInPast { .. }) => Answer::NotInPast,
        };
        if answer == Answer::Applied {
            let provenance = Provenance { entry_seq: self.answers[at].len() as u64, ..Provenance::default() };
            self.state.apply(&change, &past, &provenance, 1);
            self.pasts.insert(change.hash(), past.with(&change));
        } else {
            self.refused.insert(change.hash());
        }
        Some(answer)
    }

    /// Settles everything that can be, in the order that the choices make.
    pub(super) fn settle_all(&mut self, feeds: &Feeds, choices: &[Index]) {
        let mut choices = choices.iter().cycle();
        loop {
            let start = choices.next().unwrap().index(feeds.len());
            let mut order = (0..feeds.len()).map(|step| (start + step) % feeds.len());
            if !order.any(|at| self.settle(feeds, at)) {
                return;
            }
        }
    }

    fn everything(&self) -> (Vec<u8>, [u8; 32], Vec<u8>, Vec<Conflict>) {
        let state = &self.state;
        (state.encode(), state.contribution("c", "e"), state.canonical_part(), state.conflicts())
    }
}

/// How a forged operation picks what it names.
#[derive(Debug, Clone)]
enum Name {
    Root,
    /// An operation that somebody made, in the past or not.
    Known(Index),
    /// The next that an actor may make, or one further off.
    Future(usize, u64),
    Any(usize, u64),
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        1 => Just(Name::Root),
        12 => any::<Index>().prop_map(Name::Known),
        1 => (0..FEEDS + 1, 1..4_u64).prop_map(|(actor, by)| Name::Future(actor, by)),
        1 => (0..FEEDS + 1, 1..40_u64).prop_map(|(actor, counter)| Name::Any(actor, counter)),
    ]
}

#[derive(Debug, Clone)]
struct ForgedOp {
    obj: Name,
    key: Result<usize, Name>,
    insert: bool,
    action: Action,
    pred: Vec<Name>,
}

fn forged_op() -> impl Strategy<Value = ForgedOp> {
    let key = prop_oneof![2 => (0..3_usize).prop_map(Ok), 1 => name().prop_map(Err)];
    let action = prop_oneof![
        2 => Just(Action::Put(Value::Int(7))),
        1 => Just(Action::Put(Value::Counter(7))),
        1 => Just(Action::Put(Value::Bool(true))),
        2 => prop::sample::select(vec![Kind::Map, Kind::List, Kind::Text, Kind::Table])
            .prop_map(|kind| Action::Put(Value::Object(kind))),
        1 => Just(Action::Delete),
        1 => any::<i64>().prop_map(Action::Increment),
    ];
    let obj = prop_oneof![2 => Just(Name::Root), 1 => name()];
    (obj, key, any::<bool>(), action, prop::collection::vec(name(), 0..3))
        .prop_map(|(obj, key, insert, action, pred)| ForgedOp { obj, key, insert, action, pred })
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Vec<Write>),
    /// By whom, on what dependencies, how far from the right numbers, doing what.
    Forge {
        by: usize,
        deps: Vec<Index>,
        seq: i64,
        start_op: i64,
        ops: Vec<ForgedOp>,
    },
    /// A change that some feed has is in this one too.
    Repeat(usize, Index),
    Deliver(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = prop::collection::vec(any_write(), 1..3);
    let off = || prop_oneof![6 => Just(0_i64), 1 => -30..3_i64];
    let forge = (
        HONEST..FEEDS,
        prop::collection::vec(any::<Index>(), 0..3),
        off(),
        off(),
        prop::collection::vec(forged_op(), 1..4),
    );
    let step = prop_oneof![
        3 => (0..HONEST, write).prop_map(|(node, writes)| Step::Write(node, writes)),
        3 => forge.prop_map(|(by, deps, seq, start_op, ops)| Step::Forge { by, deps, seq, start_op, ops }),
        1 => (HONEST..FEEDS, any::<Index>()).prop_map(|(by, at)| Step::Repeat(by, at)),
        6 => (0..HONEST, 0..FEEDS).prop_map(|(node, from)| Step::Deliver(node, from)),
    ];
    prop::collection::vec(step, 1..40)
}

/// All feeds, the nodes that write some of them, and one that has seen everything and forges the others.
struct Forgery {
    feeds: Feeds,
    nodes: Vec<Replica>,
    seer: Replica,
    made: Vec<(ChangeHash, OpId)>,
}

const KEYS: [&str; 3] = ["a", "b", DELETED];

impl Forgery {
    fn new() -> Self {
        let nodes = vec![Replica::new(FEEDS); HONEST];
        Self { feeds: vec![Vec::new(); FEEDS], nodes, seer: Replica::new(FEEDS), made: Vec::new() }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(node, writes) => {
                let state = self.nodes[node].state.clone();
                let mut writer = Writer::new(&state, feed(node), Hlc::from_millis(1_800_000_000_000));
                let planned = writes.iter().try_for_each(|write| writer.write(write));
                if planned.is_err() {
                    return;
                }
                if let Some((change, after)) = writer.finish(&Provenance::default(), 1).unwrap() {
                    self.publish(node, &change);
                    // Whatever was forged before, a write that was acknowledged is applied.
                    assert!(self.nodes[node].settle(&self.feeds, node));
                    assert_eq!(self.nodes[node].answers[node].last(), Some(&Answer::Applied));
                    assert_eq!(self.nodes[node].state.view_bytes(), after.view_bytes());
                }
            }
            Step::Deliver(node, from) => {
                if from != node {
                    self.nodes[node].settle(&self.feeds, from);
                }
            }
            Step::Repeat(by, at) => {
                let all: Vec<_> = self.feeds.iter().flatten().collect();
                if !all.is_empty() {
                    let bytes = (*at.get(&all)).clone();
                    self.feeds[by].push(bytes);
                    self.see();
                }
            }
            Step::Forge { by, deps, seq, start_op, ops } => self.forge(by, &deps, (seq, start_op), &ops),
        }
    }

    fn publish(&mut self, by: usize, change: &Change) {
        self.feeds[by].push(change.bytes().to_vec());
        self.made.extend(change.ops().map(|(id, _)| (change.hash(), id)));
        self.see();
    }

    fn see(&mut self) {
        while (0..FEEDS).any(|at| self.seer.settle(&self.feeds, at)) {}
    }

    fn name(&self, name: &Name) -> OpId {
        let id = |counter, actor| OpId::new(counter, feed(actor)).unwrap_or(OpId::ROOT);
        match name {
            Name::Root => OpId::ROOT,
            Name::Known(at) if !self.made.is_empty() => at.get(&self.made).1,
            Name::Known(_) => OpId::ROOT,
            Name::Future(actor, by) => id(self.seer.state.clock().counter_max() + by, *actor),
            Name::Any(actor, counter) => id(*counter, *actor),
        }
    }

    fn forge(&mut self, by: usize, deps: &[Index], off: (i64, i64), ops: &[ForgedOp]) {
        let clock = self.seer.state.clock();
        let number = |right: u64, off: i64| right.saturating_add_signed(off).max(1);
        let op = |op: &ForgedOp| {
            let mut pred: Vec<_> = op.pred.iter().map(|pred| self.name(pred)).filter(|id| *id != OpId::ROOT).collect();
            pred.sort_unstable();
            pred.dedup();
            let key = match &op.key {
                Ok(key) => Key::Map(KEYS[*key].into()),
                Err(elem) => Key::Elem(self.name(elem)),
            };
            // Rightly shaped most often: what is not, the codec refuses before anybody looks at names.
            let insert = matches!(&key, Key::Elem(elem) if op.insert || *elem == OpId::ROOT);
            Operation { obj: self.name(&op.obj), key, insert, action: op.action.clone(), pred }
        };
        let known: BTreeSet<_> = deps.iter().filter(|_| !self.made.is_empty()).map(|at| at.get(&self.made).0).collect();
        let own = Own {
            actor: feed(by),
            seq: number(clock.get(&feed(by)).seq + 1, off.0),
            start_op: number(clock.counter_max() + 1, off.1),
            time: 0,
            // Most often everything that is known, or what is named would hardly ever lie in the past.
            deps: if deps.len() < 2 { self.seer.state.heads().to_vec() } else { known.into_iter().collect() },
            ops: ops.iter().map(op).collect(),
        };
        self.publish(by, &Change::build(own).unwrap());
    }
}

/// The answer of every node to every change is the same, and so is the row, whatever came first.
#[test]
fn forged_references_part_nobody() {
    let cases = std::env::var("TOMBOLO_FORGED_CASES").map_or(600, |cases| cases.parse().unwrap());
    let seen = RefCell::new(BTreeMap::<Answer, usize>::new());
    let case = (steps(), prop::collection::vec(any::<Index>(), 4..40));
    let test = |(steps, choices): (Vec<Step>, Vec<Index>)| {
        let mut forgery = Forgery::new();
        steps.into_iter().for_each(|step| forgery.step(step));
        let Forgery { feeds, mut nodes, seer, .. } = forgery;
        nodes.extend((0..3).map(|_| Replica::new(FEEDS)));
        for (at, node) in nodes.iter_mut().enumerate() {
            node.settle_all(&feeds, &choices[at % choices.len()..]);
            prop_assert_eq!(&node.answers, &seer.answers);
            prop_assert_eq!(node.everything(), seer.everything());
        }
        prop_assert_eq!(EntityState::decode(&seer.state.encode()).unwrap(), seer.state);
        for answer in seer.answers.iter().flatten() {
            *seen.borrow_mut().entry(*answer).or_default() += 1;
        }
        Ok::<_, TestCaseError>(())
    };
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    TestRunner::new(config).run(&case, test).unwrap();
    // Not all refused, not all taken: or nothing was tried.
    let seen = seen.into_inner();
    println!("{seen:?}");
    for answer in
        [Answer::Applied, Answer::Undecodable, Answer::Sequence, Answer::StartOp, Answer::NotInPast, Answer::Depends]
    {
        assert!(seen.get(&answer).is_some_and(|times| *times > 20), "{answer:?}: {seen:?}");
    }
}

/// A forged change beside what honest nodes write: what is said to it, and what it may not do.
struct Case {
    what: &'static str,
    op: Operation,
    answer: Answer,
}

fn cases() -> Vec<Case> {
    let id = |counter, node| OpId::new(counter, feed(node)).unwrap();
    let put = Action::Put(Value::Int(9));
    let key = |key: &str| Key::Map(key.into());
    let case = |what, obj, key, insert, pred: Vec<OpId>, answer| {
        let op = Operation { obj, key, insert, action: put.clone(), pred };
        Case { what, op, answer }
    };
    use Answer::{Applied, NotInPast};
    // Feed 0 makes h (1), i (2), the list l (3) with one element (4); feed 1 h (5), and concurrently feed 2 other keys
    // (5 to 9), on which the change is made.
    let (list, elem) = (id(3, 0), id(4, 0));
    vec![
        case("in an object that never existed", id(4, 1), key("h"), false, vec![], NotInPast),
        case("in an object nobody has made yet", id(6, 1), key("h"), false, vec![], NotInPast),
        case("after an element that never existed", list, Key::Elem(id(9, 0)), true, vec![], NotInPast),
        case("of an element that never existed", list, Key::Elem(id(9, 0)), false, vec![id(9, 0)], NotInPast),
        case("over what never existed", OpId::ROOT, key("h"), false, vec![id(9, 0)], NotInPast),
        case("over what nobody has written yet", OpId::ROOT, key("h"), false, vec![id(6, 1)], NotInPast),
        case("over what is concurrent", OpId::ROOT, key("h"), false, vec![id(5, 1)], NotInPast),
        case("over an actor nobody knows", OpId::ROOT, key("h"), false, vec![id(1, 7)], NotInPast),
        case("over itself", OpId::ROOT, key("h"), false, vec![id(10, 3)], NotInPast),
        case("over what it makes later", OpId::ROOT, key("h"), false, vec![id(11, 3)], NotInPast),
        case("over another key's value", OpId::ROOT, key("x"), false, vec![id(2, 0)], Applied),
        case("a key of a list", list, key("h"), false, vec![], Applied),
        case("an element of a map", OpId::ROOT, Key::Elem(elem), false, vec![], Applied),
        case("after an element of another list", OpId::ROOT, Key::Elem(elem), true, vec![], Applied),
        case("in a scalar", id(1, 0), key("h"), false, vec![], Applied),
        case("over what is in another object", list, Key::Elem(elem), false, vec![id(1, 0)], Applied),
    ]
}

/// The five cases of forged references that bring Automerge 0.12 down, or make it write what it cannot read, and more.
#[test]
fn each_forged_reference_is_refused_or_touches_nothing_else() {
    let mut honest = World::new(2);
    honest.write(0, &put(r#"{"h":1,"i":2,"l":[3]}"#));
    let deps = honest.nodes[0].heads().to_vec();
    let alone = |node: usize, start_op, op: Operation, deps: &[ChangeHash]| {
        let own = Own { actor: feed(node), seq: 1, start_op, time: 0, deps: deps.to_vec(), ops: vec![op] };
        Change::build(own).unwrap().bytes().to_vec()
    };
    let plain = |pred| Operation {
        obj: OpId::ROOT,
        key: Key::Map("h".into()),
        insert: false,
        action: Action::Put(Value::Int(5)),
        pred,
    };
    for Case { what, op, answer } in cases() {
        let first = honest.made[0].change.bytes().to_vec();
        let second = alone(1, 5, plain(vec![OpId::new(1, feed(0)).unwrap()]), &deps);
        let key = |n| Operation { key: Key::Map(format!("other {n}")), ..plain(Vec::new()) };
        let own =
            Own { actor: feed(2), seq: 1, start_op: 5, time: 0, deps: deps.clone(), ops: (0..5).map(key).collect() };
        let third = Change::build(own).unwrap();
        let forged = alone(3, 10, op, &[third.hash()]);
        let feeds: Feeds = vec![vec![first], vec![second], vec![third.bytes().to_vec()], vec![forged]];
        let mut without = Replica::new(4);
        [0, 1, 2].into_iter().for_each(|at| assert!(without.settle(&feeds, at)));
        let mut ends = BTreeSet::new();
        for order in [[0, 1, 2, 3], [0, 2, 3, 1]] {
            let mut replica = Replica::new(4);
            order.into_iter().for_each(|at| assert!(replica.settle(&feeds, at), "{what}"));
            assert_eq!(replica.answers[3], [answer], "{what}");
            let view = replica.state.view();
            for key in ["h", "i"] {
                assert_eq!(view.as_object().unwrap()[key], without.state.view().as_object().unwrap()[key], "{what}");
            }
            ends.insert((replica.state.encode(), replica.state.contribution("c", "e")));
        }
        assert_eq!(ends.len(), 1, "{what}");
    }
}
