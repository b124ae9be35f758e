//! Writes that are planned beside the engine: what is taken is what was planned on the present state, and nothing else.

use super::*;
use crate::engine::{Plan, PlanOutcome, Planned, Refusal};

fn long(letter: &str) -> Write {
    put(&format!(r#"{{"t":"{}"}}"#, letter.repeat(60_000)))
}

impl Bed {
    fn ask(&mut self, command: Command) -> Reply {
        self.mono += Duration::from_millis(1);
        let now = Now { mono: self.mono, wall_millis: WALL };
        let out = self.engine.step(now, vec![Input::Command(ReplyTo(3), command)]);
        self.engine.check_invariants();
        let reply = |out| if let Output::Reply(_, reply) = out { Some(reply) } else { None };
        out.list.into_iter().find_map(reply).unwrap()
    }

    fn one(&self, write: Write, expect: Expect) -> WriteCommand {
        let write = EntityWrite { collection: "x".to_owned(), id: "e".to_owned(), expect, write };
        WriteCommand { space: self.space, writes: vec![write], atomic: true, idempotency: None, trace: None }
    }

    fn handed_out(&mut self, command: WriteCommand) -> Plan {
        match self.ask(Command::Offer(command, 0)) {
            Reply::Plan(plan) => *plan,
            other => panic!("{other:?}"),
        }
    }
}

fn planned(plan: Plan) -> Box<Planned> {
    match plan.make() {
        PlanOutcome::Planned(planned) => planned,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_small_is_written_at_once_and_what_is_large_is_handed_out() {
    let mut bed = Bed::new();
    let small = bed.one(put(r#"{"n":1}"#), Expect::Any);
    assert!(matches!(bed.ask(Command::Offer(small, 7)), Reply::Written(Ok(_))));
    let large_body = bed.one(long("a"), Expect::Any);
    let plan = match bed.ask(Command::Offer(large_body, 60_007)) {
        Reply::Plan(plan) => *plan,
        other => panic!("{other:?}"),
    };
    let Reply::Written(Ok(outcome)) = bed.ask(Command::Planned(planned(plan))) else { panic!("not written") };
    let written = outcome.writes[0].as_ref().unwrap();
    assert!(written.changed && written.present && !written.created);
    assert_eq!((written.revision, bed.view("e").len()), (bed.row("e").revision(), 60_008));
    // A small write to a large row is handed out, too; and sums and counts are those of the rows.
    let plan = {
        let patch = bed.one(patch(r#"{"t":"b"}"#), Expect::Present);
        bed.handed_out(patch)
    };
    assert!(matches!(bed.ask(Command::Planned(planned(plan))), Reply::Written(Ok(_))));
    assert_eq!((bed.view("e").as_str(), bed.engine.memory.spaces[&bed.space].row.entities), (r#"{"t":"b"}"#, 1));
    let mut same = Bed::new();
    for write in [put(r#"{"n":1}"#), long("a"), patch(r#"{"t":"b"}"#)] {
        let command = same.one(write, Expect::Any);
        assert!(matches!(same.ask(Command::Write(command)), Reply::Written(Ok(_))));
    }
    assert_eq!(same.engine.state_digest(same.space), bed.engine.state_digest(bed.space), "planned here or elsewhere");
}

#[test]
fn a_plan_on_what_has_moved_is_given_back_and_made_again() {
    let mut bed = Bed::new();
    let first = bed.one(long("a"), Expect::Any);
    assert!(matches!(bed.ask(Command::Write(first)), Reply::Written(Ok(_))));
    let change = bed.one(patch(r#"{"m":1}"#), Expect::Any);
    let plan = planned(bed.handed_out(change));
    let between = bed.one(patch(r#"{"n":2}"#), Expect::Any);
    assert!(matches!(bed.ask(Command::Write(between)), Reply::Written(Ok(_))));
    let journal = bed.engine.memory.spaces[&bed.space].row.journal;
    let Reply::Moved(command) = bed.ask(Command::Planned(plan)) else { panic!("taken on a state that is gone") };
    assert_eq!(bed.engine.memory.spaces[&bed.space].row.journal, journal, "nothing was written");
    let plan = planned(bed.handed_out(command));
    assert!(matches!(bed.ask(Command::Planned(plan)), Reply::Written(Ok(_))));
    assert!(bed.view("e").starts_with(r#"{"m":1,"n":2,"#), "both are there");
}

#[test]
fn a_precondition_holds_for_the_state_that_is_written_over() {
    let mut bed = Bed::new();
    let first = bed.one(long("a"), Expect::Absent);
    assert!(matches!(bed.ask(Command::Write(first)), Reply::Written(Ok(_))));
    let revision = bed.row("e").revision();
    let change = bed.one(patch(r#"{"m":1}"#), Expect::Revision(revision));
    let plan = planned(bed.handed_out(change));
    let between = bed.one(patch(r#"{"n":2}"#), Expect::Any);
    assert!(matches!(bed.ask(Command::Write(between)), Reply::Written(Ok(_))));
    let Reply::Moved(command) = bed.ask(Command::Planned(plan)) else { panic!("taken on a state that is gone") };
    let again = bed.handed_out(command).make();
    assert!(
        matches!(again, PlanOutcome::Refused(Refusal::Mismatch { current: Some(current), .. }) if current == bed.row("e").revision())
    );
}

#[test]
fn a_plan_of_an_earlier_process_or_on_a_row_that_this_step_has_read_is_given_back() {
    let mut bed = Bed::new();
    let first = bed.one(long("a"), Expect::Any);
    assert!(matches!(bed.ask(Command::Write(first)), Reply::Written(Ok(_))));
    let change = bed.one(patch(r#"{"m":1}"#), Expect::Any);
    let plan = planned(bed.handed_out(change));
    // What follows a failed commit writes to other feeds.
    bed.engine.load().unwrap();
    assert!(matches!(bed.ask(Command::Planned(plan)), Reply::Moved(_)));
    let [one, other] = [r#"{"m":1}"#, r#"{"m":2}"#].map(|text| bed.one(patch(text), Expect::Any));
    let plan = planned(bed.handed_out(one));
    let now = Now { mono: bed.mono, wall_millis: WALL };
    let both =
        vec![Input::Command(ReplyTo(4), Command::Write(other)), Input::Command(ReplyTo(5), Command::Planned(plan))];
    let replies = bed.engine.step(now, both).list.into_iter();
    let moved = replies.filter(|out| matches!(out, Output::Reply(ReplyTo(5), Reply::Moved(_)))).count();
    assert!(moved == 1 && bed.view("e").starts_with(r#"{"m":2,"#));
}

/// Review: 4,096 increments of rows of 1 MiB had 4 GiB read and copied in one step.
#[test]
fn a_transaction_on_more_than_can_be_planned_at_once_is_refused_with_the_limit() {
    let mut bed = Bed::new();
    let one = |n: usize, write: Write| EntityWrite {
        collection: "x".to_owned(),
        id: format!("e{n}"),
        expect: Expect::Any,
        write,
    };
    let all = |bed: &Bed, writes: Vec<EntityWrite>| WriteCommand {
        space: bed.space,
        writes,
        atomic: true,
        idempotency: None,
        trace: None,
    };
    for n in 0..20 {
        let command = all(&bed, vec![one(n, long("a"))]);
        assert!(matches!(bed.ask(Command::Write(command)), Reply::Written(Ok(_))));
    }
    let patches = |count: usize| (0..count).map(|n| one(n, patch(r#"{"m":1}"#))).collect();
    let command = all(&bed, patches(20));
    let Reply::Written(Err(refusal)) = bed.ask(Command::Offer(command, 100)) else { panic!("taken") };
    assert!(matches!(refusal, Refusal::RowsTooLarge { bytes } if bytes > 1 << 20), "{refusal}");
    assert!(refusal.to_string().ends_with("the limit is 1048576"), "{refusal}");
    let command = all(&bed, patches(10));
    let plan = planned(bed.handed_out(command));
    assert!(matches!(bed.ask(Command::Planned(plan)), Reply::Written(Ok(_))));
    assert!(bed.view("e9").starts_with(r#"{"m":1,"#));
}

/// A line of ten bytes over an entity of 60,000 keys was planned by the engine's thread: 60,000 deletions.
#[test]
fn a_batch_gives_writes_to_large_entities_back_and_makes_the_others() {
    let mut bed = Bed::new();
    let first = bed.one(long("a"), Expect::Any);
    assert!(matches!(bed.ask(Command::Write(first)), Reply::Written(Ok(_))));
    let write = |id: &str, n: u64| EntityWrite {
        collection: "x".to_owned(),
        id: id.to_owned(),
        expect: Expect::Any,
        write: put(&format!(r#"{{"n":{n}}}"#)),
    };
    let batch =
        |bed: &Bed, writes| WriteCommand { space: bed.space, writes, atomic: false, idempotency: None, trace: None };
    let command = batch(&bed, vec![write("f", 1), write("e", 2), write("f", 3), write("e", 4)]);
    let Reply::InPart(outcomes, apart) = bed.ask(Command::Write(command)) else { panic!("all were made") };
    let large: Vec<bool> = outcomes.iter().map(|outcome| *outcome == Err(Refusal::Large)).collect();
    assert_eq!((large, bed.view("f").as_str()), (vec![false, true, false, true], r#"{"n":3}"#));
    assert_eq!((apart[0].write.clone(), apart[1].write.clone()), (put(r#"{"n":2}"#), put(r#"{"n":4}"#)));
    assert_eq!(bed.view("e").len(), 60_008, "nothing was written to it");
    // Alone each is made; the row is small then, and batches take it.
    for write in apart {
        let alone = WriteCommand { atomic: true, ..batch(&bed, vec![write]) };
        match bed.ask(Command::Offer(alone, 7)) {
            Reply::Plan(plan) => assert!(matches!(bed.ask(Command::Planned(planned(*plan))), Reply::Written(Ok(_)))),
            reply => assert!(matches!(reply, Reply::Written(Ok(_))), "{reply:?}"),
        }
    }
    assert_eq!(bed.view("e"), r#"{"n":4}"#);
    let command = batch(&bed, vec![write("e", 5)]);
    assert!(matches!(bed.ask(Command::Write(command)), Reply::Written(Ok(_))));
}
