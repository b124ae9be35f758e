//! The sequence of checks, over a past of maps: which one speaks first, and what is never asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use ed25519_dalek::SigningKey;

use super::*;
use crate::Hlc;
use crate::entity::{EntityState, Provenance, Write, Writer};
use crate::entry::{CHANGE_BYTES_MAX, ENTRY_DEPS_MAX, ENTRY_VERSION};
use crate::json::Json;
use crate::rules::{Contact, Found, Grant, Record, Role, rules_entry};

/// A past that says what it was asked.
#[derive(Default)]
struct Maps {
    settled: BTreeMap<(FeedId, u64), ChainHash>,
    states: BTreeMap<String, EntityState>,
    refused: BTreeSet<ChangeHash>,
    asked: Vec<&'static str>,
}

impl Past for Maps {
    type Fault = Infallible;

    fn dep(&mut self, dep: &Dep) -> Result<Option<Wait>, Infallible> {
        self.asked.push("dep");
        Ok(match self.settled.get(&(dep.feed, dep.seq)) {
            None => Some(Wait::Entry(dep.feed, dep.seq)),
            Some(chain) if *chain != dep.chain => Some(Wait::Fork(dep.feed, dep.seq)),
            Some(_) => None,
        })
    }

    fn read(&mut self, feed: FeedId, _: usize, change: &EntityChange) -> Result<Change, ChangeError> {
        self.asked.push("read");
        Change::parse(&change.change, feed)
    }

    fn refused(&mut self, _: &EntityChange, hash: ChangeHash) -> Result<Known<bool>, Infallible> {
        self.asked.push("refused");
        Ok(Known::Is(self.refused.contains(&hash)))
    }

    fn base(&mut self, entity: &EntityChange, change: &Change) -> Result<Known<Base>, Infallible> {
        self.asked.push("base");
        let state = self.states.entry(entity.id.clone()).or_default();
        if let Some(absent) = change.deps().iter().find(|dep| !state.heads().contains(dep)) {
            return Ok(Known::Is(Base::Absent(*absent)));
        }
        let (here, past) = (state.clock().get(&change.actor()), state.clock().clone());
        Ok(Known::Is(Base::At { here, past }))
    }
}

fn node(secret: u8) -> NodeId {
    NodeId::from_bytes(SigningKey::from_bytes(&[secret; 32]).verifying_key().to_bytes())
}

fn chain_hash(byte: u8) -> ChainHash {
    ChainHash::from_bytes([byte; 32])
}

/// A space with a writer (2) and a reader (3), and the only rules head.
fn rules() -> (RulesDag, [ChainHash; 1]) {
    let found = Found { founder: node(1), name: "s".into(), nonce: [0; 16] };
    let grant = |secret, role| Record::Grant(Grant { node: node(secret), role, contact: Contact::default() });
    let mut dag = RulesDag::new(found.space());
    let records = [Record::Found(found), grant(2, Role::Writer), grant(3, Role::Reader)];
    let entry = rules_entry(1, Hlc::from_millis(1), Vec::new(), &records);
    assert_eq!(code(&dag, 1, &[], &entry, &mut Maps::default()), Ok(Verdict::Applied));
    dag.insert(chain_hash(1), &[], &entry, Verdict::Applied);
    (dag, [chain_hash(1)])
}

fn feed(secret: u8) -> FeedId {
    FeedId::from_bytes([secret; 16])
}

fn code(dag: &RulesDag, author: u8, before: &[ChainHash], entry: &Entry, past: &mut Maps) -> Result<Verdict, Wait> {
    let situation = Situation { feed: feed(author), author: node(author), rules: dag, before };
    match judge(entry, &situation, past) {
        Ok(Judgement::Apply(ready)) => {
            let changes = if let Body::Data(changes) = &entry.body { changes.len() } else { 0 };
            assert_eq!(ready.len(), changes, "all or nothing");
            Ok(Verdict::Applied)
        }
        Ok(Judgement::Refuse(verdict)) => Ok(verdict),
        Ok(Judgement::Wait(wait)) => Err(wait),
        Err(never) => match never {},
    }
}

fn change(author: u8, id: &str, state: &EntityState, key: &str) -> (EntityChange, EntityState, ChangeHash) {
    let mut writer = Writer::new(state, feed(author), Hlc::from_millis(1));
    let value = Json::parse(format!(r#"{{"{key}":1}}"#).as_bytes()).unwrap();
    let write = if state.is_present() { Write::MergePatch(value) } else { Write::Put { value, base: None } };
    writer.write(&write).unwrap();
    let (change, after) = writer.finish(&Provenance::default(), 1).unwrap().unwrap();
    let hash = change.hash();
    let (collection, id, change) = ("x".to_owned(), id.to_owned(), change.bytes().to_vec());
    (EntityChange { collection, id, origin: 0, change }, after, hash)
}

fn broken(id: &str) -> EntityChange {
    EntityChange { collection: "x".to_owned(), id: id.to_owned(), origin: 0, change: vec![1, 2, 3] }
}

fn data(rules: &[ChainHash], changes: Vec<EntityChange>) -> Entry {
    Entry {
        version: ENTRY_VERSION,
        seq: 1,
        hlc: Hlc::from_millis(1),
        rules: Some(rules.to_vec()),
        deps: Vec::new(),
        trace: None,
        idempotency: None,
        body: Body::Data(changes),
        ext: Vec::new(),
    }
}

#[test]
fn a_readers_change_is_never_read_and_its_past_never_asked_for() {
    let (dag, heads) = rules();
    let empty = EntityState::new();
    for changes in [vec![broken("a")], vec![change(3, "a", &empty, "k").0], vec![]] {
        let mut past = Maps::default();
        assert_eq!(code(&dag, 3, &[], &data(&heads, changes.clone()), &mut past), Ok(Verdict::Role));
        assert_eq!(code(&dag, 9, &[], &data(&heads, changes.clone()), &mut past), Ok(Verdict::Role), "a stranger");
        // Rules are looked at before the role.
        let in_force = code(&dag, 3, &heads, &data(&heads, changes), &mut past);
        assert_eq!(in_force, Ok(Verdict::Rules));
        assert_eq!(past.asked, Vec::<&str>::new());
    }
}

#[test]
fn bytes_are_looked_at_before_what_the_changes_were_made_on_and_that_before_what_they_name() {
    let (dag, heads) = rules();
    let empty = EntityState::new();
    let (_, elsewhere, absent) = change(7, "a", &empty, "other");
    let (on_absent, ..) = change(2, "a", &elsewhere, "k");
    // A second change of the actor, of whom nothing is there.
    let (_, after_first, first) = change(2, "b", &empty, "k");
    let (second, ..) = change(2, "b", &after_first, "l");
    let mut past = Maps { refused: BTreeSet::from([absent]), ..Maps::default() };

    let all = vec![on_absent.clone(), second.clone(), broken("c")];
    assert_eq!(code(&dag, 2, &[], &data(&heads, all), &mut past), Ok(Verdict::Structure), "bytes");
    assert!(!past.asked.contains(&"base"), "history is read for nobody whose bytes do not pass");
    let two = || vec![on_absent.clone(), second.clone()];
    // Whatever else it waits for.
    assert_eq!(code(&dag, 2, &[], &data(&heads, two()), &mut past), Ok(Verdict::Depends));
    past.refused.clear();
    past.states.insert("b".to_owned(), EntityState::new());
    let waits = code(&dag, 2, &[], &data(&heads, vec![on_absent]), &mut past);
    assert_eq!(waits, Err(Wait::Change("x".to_owned(), "a".to_owned(), absent)));
    // The first is refused: so is what was made on it, and the first itself, were it carried again.
    past.refused.insert(first);
    assert_eq!(code(&dag, 2, &[], &data(&heads, vec![second.clone()]), &mut past), Ok(Verdict::Depends));
    let (again, ..) = change(2, "b", &empty, "k");
    assert_eq!(code(&dag, 2, &[], &data(&heads, vec![again.clone()]), &mut past), Ok(Verdict::Structure));
    past.refused.clear();
    assert_eq!(code(&dag, 2, &[], &data(&heads, vec![again.clone()]), &mut past), Ok(Verdict::Applied));
    // Carried again after it was applied: not the actor's next.
    past.states.insert("b".to_owned(), after_first);
    assert_eq!(code(&dag, 2, &[], &data(&heads, vec![again]), &mut past), Ok(Verdict::Structure));
    assert_eq!(code(&dag, 2, &[], &data(&heads, vec![second]), &mut past), Ok(Verdict::Applied));
}

#[test]
fn nothing_is_judged_before_its_dependencies_are_settled() {
    let (dag, heads) = rules();
    let dep = |seq, chain| Dep { feed: feed(8), seq, chain: chain_hash(chain) };
    let mut past = Maps { settled: BTreeMap::from([((feed(8), 1), chain_hash(4))]), ..Maps::default() };
    let with = |deps| Entry { deps, ..data(&heads, vec![broken("a")]) };
    assert_eq!(code(&dag, 3, &[], &with(vec![dep(2, 4)]), &mut past), Err(Wait::Entry(feed(8), 2)));
    assert_eq!(code(&dag, 3, &[], &with(vec![dep(1, 5)]), &mut past), Err(Wait::Fork(feed(8), 1)));
    assert_eq!(code(&dag, 3, &[], &with(vec![dep(1, 4)]), &mut past), Ok(Verdict::Role));
    let unknown = data(&[chain_hash(6)], vec![broken("a")]);
    assert_eq!(code(&dag, 3, &[], &unknown, &mut past), Err(Wait::Rules(chain_hash(6))));
}

#[test]
fn limits_are_part_of_the_verdict() {
    let (dag, heads) = rules();
    let empty = EntityState::new();
    let (one, ..) = change(2, "a", &empty, "k");
    let (two, ..) = change(2, "b", &empty, "k");
    let judged = |entry: Entry| {
        let settled = entry.deps.iter().map(|dep| ((dep.feed, dep.seq), dep.chain)).collect();
        code(&dag, 2, &[], &entry, &mut Maps { settled, ..Maps::default() })
    };
    let dep = |n: usize| Dep { feed: FeedId::from_bytes((n as u128).to_be_bytes()), seq: 1, chain: chain_hash(4) };
    let deps = |count: usize| Entry { deps: (0..count).map(dep).collect(), ..data(&heads, Vec::new()) };
    assert_eq!(judged(deps(ENTRY_DEPS_MAX)), Ok(Verdict::Applied));
    assert_eq!(judged(deps(ENTRY_DEPS_MAX + 1)), Ok(Verdict::Structure));
    assert_eq!(judged(data(&heads, vec![one.clone(), two.clone()])), Ok(Verdict::Applied));
    assert_eq!(judged(data(&heads, vec![two.clone(), one.clone()])), Ok(Verdict::Structure), "out of order");
    assert_eq!(judged(data(&heads, vec![one.clone(), one.clone()])), Ok(Verdict::Structure), "twice");
    let odd: [fn(&mut EntityChange); 4] = [
        |change| change.origin = 1,
        |change| change.collection = "a/b".to_owned(),
        |change| change.id = String::new(),
        |change| change.change = vec![0; CHANGE_BYTES_MAX + 1],
    ];
    for spoil in odd {
        let mut spoilt = one.clone();
        spoil(&mut spoilt);
        assert_eq!(judged(data(&heads, vec![spoilt])), Ok(Verdict::Structure));
    }
    let late = Entry { hlc: Hlc::from_raw(u64::MAX), ..data(&heads, Vec::new()) };
    assert_eq!(judged(late), Ok(Verdict::Structure));
}

#[test]
fn records_are_judged_by_role_first_and_then_by_their_bytes() {
    let (dag, heads) = rules();
    let raw = |kind, body: &[u8]| crate::entry::RawRecord { kind, body: body.to_vec() };
    let entry =
        |records| Entry { body: Body::Rules(records), ..rules_entry(1, Hlc::from_millis(1), heads.to_vec(), &[]) };
    let grant = Record::Grant(Grant { node: node(5), role: Role::Admin, contact: Contact::default() }).to_raw();
    let mut past = Maps::default();
    let mut code = |author, records| code(&dag, author, &[], &entry(records), &mut past);
    assert_eq!(code(1, vec![grant.clone()]), Ok(Verdict::Applied));
    assert_eq!(code(2, vec![grant.clone()]), Ok(Verdict::Role));
    assert_eq!(code(2, vec![raw(4, &[1, 2]), grant.clone()]), Ok(Verdict::Role));
    assert_eq!(code(1, vec![raw(4, &[1, 2]), grant.clone()]), Ok(Verdict::Structure));
    assert_eq!(code(9, vec![raw(4, &[1, 2])]), Ok(Verdict::Role), "a stranger");
    assert_eq!(code(1, vec![]), Ok(Verdict::Structure));
    // Of what a later version knows nothing is said.
    assert_eq!(code(9, vec![raw(99, &[]), grant]), Err(Wait::Later));
}
