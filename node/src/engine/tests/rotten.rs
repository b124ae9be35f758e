//! Small rows that cannot be read: whoever asks for one is told, or it is dropped. No step fails for it.

use tombolo_crdt::{NodeId, Receipt};

use super::*;
use crate::engine::{Idempotency, Refusal};

impl Bed {
    fn answer(&mut self, command: Command) -> Reply {
        self.mono += Duration::from_millis(1);
        let out = self.carry_out(Input::Command(ReplyTo(3), command));
        let reply = |out| if let Output::Reply(_, reply) = out { Some(reply) } else { None };
        out.into_iter().find_map(reply).unwrap()
    }

    /// Writes with an idempotency key, both times with the same body.
    fn retried(&mut self, key: u8, id: &str, at: Duration) -> Reply {
        let write = EntityWrite {
            collection: "x".to_owned(),
            id: id.to_owned(),
            expect: Expect::Any,
            write: put(r#"{"n":1}"#),
        };
        let idempotency = Some(Idempotency { key: [key; 32], body: [0; 32] });
        let command = WriteCommand { space: self.space, writes: vec![write], atomic: true, idempotency, trace: None };
        self.mono += Duration::from_millis(1);
        let wall_millis = WALL + u64::try_from(at.as_millis()).unwrap();
        let now = Now { mono: self.mono, wall_millis };
        let out = self.engine.step(now, vec![Input::Command(ReplyTo(3), Command::Write(command))]);
        let reply = |out| if let Output::Reply(_, reply) = out { Some(reply) } else { None };
        out.list.into_iter().find_map(reply).unwrap()
    }

    /// No step has failed: the node writes where it wrote.
    #[track_caller]
    fn unharmed(&mut self, own: FeedId) {
        self.write("unharmed", [1]);
        assert_eq!((self.engine.counters().failures, self.own_feed()), (0, own));
    }

    fn space_no(&self) -> u32 {
        self.engine.memory.spaces[&self.space].row.space_no
    }
}

#[test]
fn the_receipt_of_a_rotten_entry_is_the_matter_of_who_asks_for_it() {
    let mut bed = Bed::new();
    bed.write("e", 0..3);
    let own = bed.own_feed();
    bed.work(|work, _| work.batch.spoil_entry(own, 2));
    let reply = bed.answer(Command::Receipt(Receipt { feed: own, seq: 2 }));
    assert!(matches!(&reply, Reply::Failed(Refusal::Unreadable { .. })), "{reply:?}");
    let reply = bed.answer(Command::Receipt(Receipt { feed: own, seq: 3 }));
    assert!(matches!(&reply, Reply::Receipt(Some(state)) if state.verdict == Some("applied")), "{reply:?}");
    bed.unharmed(own);
}

/// What changes nothing is answered with the receipt of the entity's last change. Where that cannot be told nothing is
/// written of the whole transaction, as ever where something is refused.
#[test]
fn a_write_that_changes_nothing_and_whose_receipt_is_rotten_is_refused_alone() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let (own, journal, space_no) = (bed.own_feed(), bed.row("e").journal(), bed.space_no());
    bed.work(|work, _| work.batch.spoil_journal(space_no, journal));
    let reply = bed.command("e", [0, 0]);
    let Reply::Written(Ok(outcome)) = &reply else { panic!("{reply:?}") };
    assert!(outcome.writes.iter().all(|write| matches!(write, Err(Refusal::Damaged { .. }))), "{outcome:?}");
    let write = |id: &str, n: u64| EntityWrite {
        collection: "x".to_owned(),
        id: id.to_owned(),
        expect: Expect::Any,
        write: put(&format!(r#"{{"n":{n}}}"#)),
    };
    let writes = vec![write("e", 0), write("f", 1)];
    let both = WriteCommand { space: bed.space, writes, atomic: true, idempotency: None, trace: None };
    let before = bed.engine.memory.spaces[&bed.space].row.journal;
    let reply = bed.answer(Command::Write(both));
    assert!(matches!(&reply, Reply::Written(Err(Refusal::Damaged { id, .. })) if id == "e"), "{reply:?}");
    assert_eq!(bed.engine.memory.spaces[&bed.space].row.journal, before);
    bed.write("e", [1]);
    bed.unharmed(own);
}

#[test]
fn a_rotten_answer_is_the_matter_of_who_asks_for_it_again() {
    let mut bed = Bed::new();
    let own = bed.own_feed();
    assert!(matches!(bed.retried(1, "e", Duration::ZERO), Reply::Written(Ok(outcome)) if !outcome.replayed));
    assert!(matches!(bed.retried(1, "e", Duration::ZERO), Reply::Written(Ok(outcome)) if outcome.replayed));
    bed.work(|work, _| work.batch.spoil_answer(&[1; 32]));
    let reply = bed.retried(1, "e", Duration::ZERO);
    assert!(matches!(&reply, Reply::Written(Err(Refusal::Unreadable { .. }))), "{reply:?}");
    assert!(matches!(bed.retried(2, "e", Duration::ZERO), Reply::Written(Ok(_))));
    bed.unharmed(own);
}

/// Entries are stored one behind the other.
#[test]
fn a_rotten_last_entry_keeps_nobody_from_writing() {
    let mut bed = Bed::new();
    bed.write("e", 0..3);
    let own = bed.own_feed();
    let space_no = bed.space_no();
    let last = bed.engine.reader().reading().unwrap().journal(space_no, bed.row("e").journal()).unwrap().unwrap().seq;
    bed.work(|work, _| work.batch.rot_entry(own, last));
    bed.write("f", 0..2);
    assert_eq!(bed.view("f"), r#"{"n":1}"#);
    let mut other = bed.pen(50);
    other.entries.push(bed.entry(&other, "g", &other.change(&EntityState::new(), &put("{}"))));
    bed.take([other.range()]);
    assert_eq!(bed.view("g"), "{}");
    bed.unharmed(own);
}

#[test]
fn rotten_answers_keep_nobody_from_writing() {
    let mut bed = Bed::new();
    let own = bed.own_feed();
    for key in 1..=3 {
        bed.retried(key, "e", Duration::ZERO);
    }
    bed.work(|work, _| {
        work.batch.spoil_answer_next();
        work.batch.spoil_answer_order(1);
        work.batch.spoil_answer_order(3);
    });
    let day = Duration::from_secs(25 * 3600);
    for key in 4..=5 {
        let reply = bed.retried(key, "e", day);
        assert!(matches!(&reply, Reply::Written(Ok(outcome)) if !outcome.replayed), "{reply:?}");
        let reply = bed.retried(key, "e", day);
        assert!(matches!(&reply, Reply::Written(Ok(outcome)) if outcome.replayed), "{reply:?}");
    }
    bed.unharmed(own);
}

#[test]
fn what_is_remembered_of_a_peer_or_held_is_dropped_at_the_start_if_it_is_rotten() {
    let mut bed = Bed::new();
    bed.write("e", [0]);
    let mut pen = bed.pen(50);
    let e = bed.row("e");
    for n in 0..3 {
        pen.entries.push(bed.entry(&pen, &format!("h{n}"), &pen.change(&e, &patch(r#"{"by":1}"#))));
    }
    // It waits for what is not here, and the others for it.
    pen.entries[0].deps = vec![Dep { feed: bed.own_feed(), seq: 99, chain: pen.opening.chain() }];
    let feed = pen.feed();
    bed.take([pen.range()]);
    let (space_no, peers) = (bed.space_no(), [7, 8].map(|byte| NodeId::from_bytes([byte; 32])));
    assert_eq!(bed.engine.held(bed.space).unwrap().0, 3);
    bed.work(|work, space| {
        for peer in peers {
            let mut memory = crate::engine::space::remembered::Remembered::default();
            memory.shared(space.frontier_digest(), 1);
            work.batch.put_peer(space_no, peer, &memory.to_row()).unwrap();
        }
        work.batch.put_feed(feed, &space.feeds[&feed].row).unwrap();
        work.batch.spoil_peer(space_no, peers[0]);
        work.batch.spoil_held(feed, 2);
    });
    for _ in 0..2 {
        bed.engine.load().unwrap();
        let space = &bed.engine.memory.spaces[&bed.space];
        assert_eq!(space.memory.keys().copied().collect::<Vec<_>>(), [peers[1]]);
        assert_eq!(space.held.runs(feed), [(1, 1), (3, 3)]);
        let reading = bed.engine.reader().reading().unwrap();
        assert_eq!((reading.peer(space_no, peers[0]), reading.held_entry(feed, 2)), (Ok(None), Ok(None)));
    }
    bed.write("e", [1]);
    assert_eq!(bed.engine.counters().failures, 0);
}
