//! Rows that cannot be read, for tests here and of those who use the store.

use super::super::layout::{self, Table};
use super::*;

impl Batch<'_> {
    /// Spoils a settled entry so that its sum does not fit.
    pub(crate) fn rot_entry(&mut self, feed: FeedId, seq: u64) {
        self.spoil_entry(feed, seq);
        let Err(StoreError::Corrupt { key, .. }) = self.entry(feed, seq) else { panic!("it is spoilt") };
        self.put_raw(Table::Entries, key, vec![0]);
    }

    /// Spoils a row of the journal.
    pub(crate) fn spoil_journal(&mut self, space_no: u32, position: u64) {
        self.put_raw(Table::Journal, layout::journal(space_no, position).to_vec(), vec![0]);
    }

    /// Spoils what is remembered of a peer.
    pub(crate) fn spoil_peer(&mut self, space_no: u32, node: NodeId) {
        self.put_raw(Table::State, layout::peer(space_no, node), vec![0]);
    }

    /// Puts a row where no entity can be, right behind one.
    pub(crate) fn put_row_of_nothing(&mut self, space_no: u32, collection: &str, id: &str) {
        let mut key = layout::entity(space_no, collection, id);
        key.push(u8::MAX);
        self.put_raw(Table::Entities, key, vec![0]);
    }

    /// Spoils a kept seal.
    pub(crate) fn spoil_seal(&mut self, feed: FeedId, seq: u64) {
        self.put_raw(Table::Seals, layout::feed_seq(feed, seq).to_vec(), vec![0]);
    }

    /// Spoils a held entry.
    pub(crate) fn spoil_held(&mut self, feed: FeedId, seq: u64) {
        self.put_raw(Table::Held, layout::feed_seq(feed, seq).to_vec(), vec![0]);
    }

    /// Spoils an answer that was given.
    pub(crate) fn spoil_answer(&mut self, key: &[u8; 32]) {
        self.put_raw(Table::Idempotency, layout::idempotency(key), vec![0]);
    }

    /// Spoils the order of the answers that were given, at one of them.
    pub(crate) fn spoil_answer_order(&mut self, number: u64) {
        self.put_raw(Table::Idempotency, layout::idempotency_order(number), vec![0]);
    }

    /// Spoils the number of the next answer.
    pub(crate) fn spoil_answer_next(&mut self) {
        self.put_raw(Table::Idempotency, layout::idempotency_next(), vec![0]);
    }
}

/// However the numbers are lost, no answer takes the place of another one in their order.
#[test]
fn answers_are_numbered_on_where_the_next_number_is_lost() {
    let folder = Folder::new();
    let store = folder.open();
    let mut batch = store.begin().unwrap();
    for n in 1..=3 {
        batch.put_idempotency(&[n; 32], &idempotency_row(u64::from(n))).unwrap();
    }
    batch.commit().unwrap();
    let mut batch = store.begin().unwrap();
    batch.spoil_answer_next();
    batch.put_idempotency(&[4; 32], &idempotency_row(4)).unwrap();
    batch.spoil_answer_next();
    // The last of the order tells, even if it cannot be read.
    batch.spoil_answer_order(4);
    batch.put_idempotency(&[5; 32], &idempotency_row(5)).unwrap();
    // An answer that cannot be read is replaced.
    batch.spoil_answer(&[2; 32]);
    batch.put_idempotency(&[2; 32], &idempotency_row(6)).unwrap();
    batch.commit().unwrap();
    let batch = store.begin().unwrap();
    for (key, at) in [(1, 1), (2, 6), (3, 3), (4, 4), (5, 5)] {
        assert_eq!(batch.idempotency(&[key; 32]), Ok(Some(idempotency_row(at))));
    }
    assert_eq!(batch.idempotency_numbers(), [1, 2, 3, 4, 5, 6]);
}

impl Reading {
    /// The numbers in the order of the answers.
    fn idempotency_numbers(&self) -> Vec<u64> {
        let mut out = Vec::new();
        let prefix = [layout::IDEMPOTENCY_ORDER];
        let until = layout::beyond(&prefix);
        self.scan_raw(Table::Idempotency, &prefix, until.as_deref(), &mut |key, _| {
            out.push(u64::from_be_bytes(key[1..].try_into().unwrap()));
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
        out
    }
}
