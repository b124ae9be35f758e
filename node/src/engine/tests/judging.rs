//! One judge: own entries, entries of others and the verification of a store get their verdict from the same function.

use tombolo_crdt::defect;
use tombolo_crdt::entry::Content;
use tombolo_crdt::rules::{Admit, Grant, Record, Role};
use tombolo_crdt::verdict::Verdict;

use super::*;
use crate::engine::Refusal;
use crate::engine::space::local::Fault;
use crate::verify;

/// Positions of the journal and of this node's feeds, and what a step would write.
fn mark(bed: &Bed) -> (u64, Vec<(FeedId, u64)>) {
    let space = &bed.engine.memory.spaces[&bed.space];
    (space.row.journal, space.frontier.positions().map(|at| (at.feed, at.seq)).collect())
}

#[test]
fn an_own_entry_that_would_be_refused_is_an_error_and_is_not_written() {
    assert!(!defect::is(defect::Defect::RolesIgnored));
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let before = mark(&bed);
    let grant = |node| Grant { node, role: Role::Writer, contact: Contact::default() };
    let me = bed.engine.own.node;
    let nobodys = Record::Admit(Admit {
        invite: [7; 32],
        node: me,
        signature: Signature::sign(&bed.key, &[0; 32]),
        contact: Contact::default(),
    });
    let many = vec![Record::Grant(Grant { role: Role::Admin, ..grant(me) }); 257];
    for (records, verdict) in [(vec![nobodys], Verdict::Role), (many, Verdict::Structure), (vec![], Verdict::Structure)]
    {
        let answer = bed.work(|work, space| work.append_rules(space, &records));
        match answer {
            Err(Fault::Refused(Refusal::Role(_))) => assert_eq!(verdict, Verdict::Role),
            Err(Fault::Refused(Refusal::Verdict(said))) => assert_eq!(said, verdict),
            other => panic!("{other:?}"),
        }
        assert_eq!(mark(&bed), before, "nothing was changed");
    }
    bed.work(|work, space| work.append_rules(space, &[Record::Grant(grant(me))])).unwrap();
    assert_eq!(mark(&bed).0, before.0 + 1);
    // By its own hand a writer now: what an admin may do is refused from here on.
    let after = mark(&bed);
    let answer = bed.work(|work, space| work.append_rules(space, &[Record::Grant(grant(me))]));
    assert!(matches!(answer, Err(Fault::Refused(Refusal::Role("writer")))), "{answer:?}");
    assert_eq!(mark(&bed), after);
}

/// Core review 16: 4,000 entries that state heads anew left a feed row of 13 MB.
#[test]
fn heads_that_are_stated_again_are_refused_and_not_remembered() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let heads = bed.engine.rules_heads(bed.space).unwrap();
    let mut pen = bed.pen(7);
    let state = EntityState::new();
    for n in 0..20 {
        let change = pen.change(&state, &put(&format!(r#"{{"n":{n}}}"#)));
        let entry = bed.entry(&pen, &format!("f{n}"), &change);
        // In force, or none at all, in turns.
        let stated = if n % 2 == 0 { heads.clone() } else { Vec::new() };
        pen.entries.push(Entry { rules: Some(stated), ..entry });
    }
    bed.take([pen.range()]);
    let space = &bed.engine.memory.spaces[&bed.space];
    assert_eq!((space.row.refused, space.feeds[&pen.feed()].row.rules.len()), (19, 1));
    assert!(space.heads.iter().all(|head| head.feed != pen.feed() || head.seq == 1), "what is refused is no head");
    assert_eq!(bed.engine.rules_heads(bed.space), Some(heads));
}

#[test]
fn verification_judges_again_and_tells_a_verdict_that_is_not_the_entrys() {
    let mut bed = Bed::new();
    bed.write("e", 0..3);
    // Refused for its bytes, for what it was made on, and for what it names.
    let (base, empty) = (bed.row("e"), EntityState::new());
    let (mut bytes, mut depends, mut named) = (bed.pen(7), bed.pen(8), bed.pen(9));
    let lost = bytes.change(&base, &patch(r#"{"lost":1}"#));
    let mut entry = bed.entry(&bytes, "e", &lost);
    if let Body::Data(changes) = &mut entry.body {
        changes.push(EntityChange { collection: "x".to_owned(), id: "f".to_owned(), origin: 0, change: vec![0] });
    }
    bytes.entries.push(entry);
    let mut after = base.clone();
    after.apply(&lost, base.clock(), &Provenance::default(), 1);
    depends.entries.push(bed.entry(&depends, "e", &depends.change(&after, &patch(r#"{"on":1}"#))));
    let first = named.change(&empty, &put(r#"{"n":1}"#));
    let mut twice = empty.clone();
    twice.apply(&first, empty.clock(), &Provenance::default(), 1);
    // The second change of a feed of which the entity has none.
    let second = named.change(&twice, &patch(r#"{"m":1}"#));
    let waits = bed.entry(&named, "g", &second);
    named.entries.push(bed.entry(&named, "g", &first));
    named.entries.push(Entry { seq: 2, rules: None, ..bed.entry(&named, "g", &first) });
    named.entries.push(Entry { seq: 3, rules: None, ..waits });
    bed.take([bytes.range(), depends.range(), named.range()]);
    assert_eq!(bed.engine.memory.spaces[&bed.space].row.refused, 3, "{:?}", bed.held());
    // What was taken outside of a step is written with the next.
    bed.write("z", [0]);
    let check = |bed: &Bed| verify::reading(&bed.engine.reader().reading().unwrap(), &mut |_, _, _| {}).unwrap();
    assert_eq!(check(&bed).findings, Vec::new());

    let set = |bed: &mut Bed, feed, seq, verdict: Verdict| {
        bed.work(|work, _| {
            let mut row = work.batch.entry(feed, seq).unwrap().unwrap();
            row.verdict = verdict.code();
            work.batch.put_entry(feed, seq, &row).unwrap();
        });
    };
    for (pen, seq, is) in
        [(&bytes, 1, Verdict::Structure), (&depends, 1, Verdict::Depends), (&named, 2, Verdict::Structure)]
    {
        set(&mut bed, pen.feed(), seq, Verdict::Role);
        let told = check(&bed).findings;
        let place = format!("entry {}-{seq}", pen.feed());
        let detail = format!("its verdict is role and should be {}", is.name());
        assert!(told.iter().any(|f| f.place == place && f.detail == detail), "{told:?}");
        set(&mut bed, pen.feed(), seq, is);
    }
    set(&mut bed, named.feed(), 1, Verdict::Structure);
    let told = check(&bed).findings;
    assert!(told.iter().any(|f| f.detail == "its verdict is structure and should be applied"), "{told:?}");
}

/// A refused entry of a feed of this node's key, from who has the key too, said that it was the year 9999: after the
/// next start this node's writes said so, for ever.
#[test]
fn a_refused_entry_moves_no_clock_at_a_start_either() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let mut pen = bed.pen(7);
    let change = pen.change(&EntityState::new(), &put("{}"));
    for (n, hlc) in [Hlc::from_millis(WALL + 1), Hlc::from_raw(u64::MAX)].into_iter().enumerate() {
        // The second change is no change.
        let mut entry = Entry { hlc, ..bed.entry(&pen, &format!("f{n}"), &change) };
        if let (1, Body::Data(changes)) = (n, &mut entry.body) {
            changes[0].change = vec![0; 64];
        }
        pen.entries.push(entry);
    }
    bed.take([pen.range()]);
    assert_eq!(bed.engine.memory.spaces[&bed.space].row.refused, 1);
    // Rows of feeds are written with a step.
    bed.carry_out(Input::Timer);
    bed.engine.load().unwrap();
    bed.write("e", [1]);
    let (own, reading) = (bed.own_feed(), bed.engine.reader().reading().unwrap());
    let row = reading.entry(own, 1).unwrap().unwrap();
    let Ok(Content::Known(entry)) = Content::decode(&row.bytes, FeedKind::Data, 1) else { panic!("it decodes") };
    assert!(entry.hlc > Hlc::from_millis(WALL + 1), "what was applied moves it: {:?}", entry.hlc);
    assert!(entry.hlc < Hlc::from_millis(WALL + 1_000), "{:?}", entry.hlc);
}
