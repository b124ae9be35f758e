//! What a start and a write cost, counted in what the store reads and writes: neither grows with what lies elsewhere.

use super::*;
use crate::store::counted::{self, Counted};

impl Bed {
    fn tick(&mut self) {
        self.mono += Duration::from_millis(1);
        drop(self.engine.step(Now { mono: self.mono, wall_millis: WALL }, vec![Input::Timer]));
    }

    /// So many spaces in all, each with an entity of one change.
    fn among(spaces: usize) -> Self {
        let mut bed = Self::new();
        bed.write("e", [0]);
        let first = bed.space;
        for n in 1..spaces {
            let founder = Box::new(SigningKey::from_bytes(&[6; 32]));
            let command = Command::CreateSpace { name: format!("s{n}"), founder };
            let now = Now { mono: bed.mono, wall_millis: WALL };
            let out = bed.engine.step(now, vec![Input::Command(ReplyTo(1), command)]);
            let created = out.list.into_iter().find_map(|out| match out {
                Output::Reply(_, Reply::Created(Ok(space))) => Some(space),
                _ => None,
            });
            bed.space = created.unwrap();
            bed.write("e", [0]);
        }
        bed.space = first;
        (0..spaces).for_each(|_| bed.tick());
        bed
    }

    /// Takes an entry of another feed that depends on nothing.
    fn take_a_head(&mut self, epoch: u64) {
        let mut pen = self.pen(epoch);
        let change = pen.change(&EntityState::new(), &put(r#"{"n":1}"#));
        pen.entries.push(self.entry(&pen, &format!("e{epoch}"), &change));
        self.take([pen.range()]);
        self.tick();
    }
}

#[test]
fn a_start_reads_each_space_and_feed_once() {
    let [few, many] = [20, 200].map(|spaces| {
        let mut bed = Bed::among(spaces);
        let (loaded, counted) = counted::of(|| bed.engine.load());
        loaded.unwrap();
        assert_eq!(bed.engine.memory.spaces.len(), spaces);
        counted.reads
    });
    assert!(many <= 11 * few, "{few} reads for 20 spaces, {many} for 200");
}

#[test]
fn a_write_costs_the_same_among_many_spaces() {
    let [alone, among] = [1, 200].map(|spaces| {
        let mut bed = Bed::among(spaces);
        counted::of(|| bed.write("e", [1])).1
    });
    assert_eq!((alone.reads, alone.writes), (among.reads, among.writes));
    assert!(among.bytes.abs_diff(alone.bytes) <= 16, "{alone:?} alone, {among:?} among many");
}

#[test]
fn an_entry_among_many_heads_does_not_write_them_again() {
    let mut bed = Bed::new();
    let mut taken = Vec::<Counted>::new();
    for epoch in 1..=300 {
        taken.push(counted::of(|| bed.take_a_head(epoch)).1);
    }
    assert_eq!(bed.engine.memory.spaces[&bed.space].heads.len(), 300);
    let (few, many) = (taken[9], taken[299]);
    assert!(many.writes <= few.writes && many.bytes <= few.bytes + 64, "{few:?} with 10 heads, {many:?} with 300");
    // They are there after a start, and the next own entry has all of them in its past.
    bed.engine.load().unwrap();
    assert_eq!(bed.engine.memory.spaces[&bed.space].heads.len(), 300);
    bed.write("e", [1]);
    bed.engine.load().unwrap();
    let heads: Vec<_> = bed.engine.memory.spaces[&bed.space].heads.iter().collect();
    assert_eq!(heads.len(), 1, "{heads:?}");
}

#[test]
fn a_journal_is_told_before_whoever_moved_it_is_answered() {
    let mut bed = Bed::new();
    let founder = Box::new(SigningKey::from_bytes(&[6; 32]));
    let now = Now { mono: bed.mono, wall_millis: WALL };
    let command = Command::CreateSpace { name: "second".to_owned(), founder };
    let out = bed.engine.step(now, vec![Input::Command(ReplyTo(1), command)]).list;
    let told = out.iter().position(|out| matches!(out, Output::Journal(space, _) if *space != bed.space));
    let answered = out.iter().position(|out| matches!(out, Output::Reply(_, Reply::Created(Ok(_)))));
    assert!(told.is_some() && told < answered, "{out:?}");
}
