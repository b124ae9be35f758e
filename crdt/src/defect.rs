//! Deliberate defects, one per way in which the product could be wrong, so that what watches over it can be shown to
//! notice. They exist with the feature `defects` alone, which only the simulator's own tests switch on: without it
//! [`is`] is the constant `false` and nothing of them is built.
//!
//! At most one is on per thread, for as long as a guard lives. Each is harmless to somebody who writes and reads on
//! two nodes that stay connected, and harmful under faults.

/// Something done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// Every fourth commit is not synced, and what it holds is acknowledged and sent all the same.
    ReplyBeforeDurable,
    /// Where several feeds move in one commit, the row of the last one is not written: after a restart it lies behind.
    FeedRowLeftOut,
    /// A space of more than 32 journal rows that is read back leaves its last feed out of the frontier.
    FrontierShort,
    /// Held entries are noted in memory and not written to the store.
    HeldNotStored,
    /// A held entry moves the frontier as if it were settled.
    HeldCounted,
    /// An opening of the store draws the same epoch again: a restored backup writes where it has written before.
    EpochReused,
    /// A value that arrives after one that wins over it is dropped instead of being kept in conflict.
    LoserDropped,
    /// The role of an author is not asked for, neither here nor of entries from elsewhere.
    RolesIgnored,
    /// Where a step changes two entities, only the first is written, although both are counted.
    HalfTransaction,
    /// A PATCH into maps that were created concurrently first copies the losing ones into the winner.
    LosingMapCopied,
    /// An entity is gone as long as any tombstone is live, whatever the tombstones had seen.
    TombstoneByLive,
    /// A later deletion replaces what an earlier one had seen instead of adding to it.
    DeletionForgets,
    /// An increment counts twice where it arrives after another change that it had not seen.
    IncrementTwice,
    /// Every eighth operation of an entity counts twice if it is an increment, on every node.
    IncrementMiscounted,
    /// An idempotency key is not looked up: a request that is repeated is carried out again.
    RetryRepeated,
    /// From the 17th transfer frame on, a session acknowledges nothing.
    AcknowledgementLost,
    /// Entries are relayed from one position too far on.
    RangeOffByOne,
    /// What a peer had at an earlier meeting is taken to be one entry more.
    PositionOffByOne,
    /// An entry is settled although entries it depends on are not.
    DepsIgnored,
    /// Once 16 transfer frames have come, every acknowledgement of an equal state is answered by another.
    NeverSilent,
    /// A peer that connects with the same frontier is sent everything all the same.
    EqualUnknown,
    /// What a peer says to have is not believed when it is connected anew: it is sent everything.
    FrontierUnread,
    /// Frames are made without regard to the room on the stream and to how many are on their way.
    RoomIgnored,
    /// A writer notes every eighth of its entries in its own row under the position before it.
    ProvenanceOff,
    /// A change that arrives after another that it had not seen is noted with its place in this node's journal, in
    /// place of that of its entry in its feed.
    ProvenanceByArrival,
    /// Every 16th row of the journal is not written.
    JournalRowLeftOut,
    /// An entry that depends on several heads leaves the first one out.
    HeadLeftOut,
    /// Checksums of stored values are not compared.
    SumUnchecked,
    /// A damaged row is reported and never built anew.
    DamageLeft,
    /// A damaged row is built anew without its newest change.
    RebuiltShort,
    /// It is asserted that nothing is on its way when a connection ends.
    PartingAsserted,
    /// A step goes on when its work is spent.
    WorkUnbounded,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::ReplyBeforeDurable,
        Self::FeedRowLeftOut,
        Self::FrontierShort,
        Self::HeldNotStored,
        Self::HeldCounted,
        Self::EpochReused,
        Self::LoserDropped,
        Self::RolesIgnored,
        Self::HalfTransaction,
        Self::LosingMapCopied,
        Self::TombstoneByLive,
        Self::DeletionForgets,
        Self::IncrementTwice,
        Self::IncrementMiscounted,
        Self::RetryRepeated,
        Self::AcknowledgementLost,
        Self::RangeOffByOne,
        Self::PositionOffByOne,
        Self::DepsIgnored,
        Self::NeverSilent,
        Self::EqualUnknown,
        Self::FrontierUnread,
        Self::RoomIgnored,
        Self::ProvenanceOff,
        Self::ProvenanceByArrival,
        Self::JournalRowLeftOut,
        Self::HeadLeftOut,
        Self::SumUnchecked,
        Self::DamageLeft,
        Self::RebuiltShort,
        Self::PartingAsserted,
        Self::WorkUnbounded,
    ];
}

/// Whether this defect is on: never, without the feature `defects`.
#[cfg(not(feature = "defects"))]
#[inline]
#[must_use]
pub const fn is(_defect: Defect) -> bool {
    false
}

#[cfg(feature = "defects")]
pub use switch::{Guard, is};

#[cfg(feature = "defects")]
mod switch {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::Defect;

    thread_local! {
        static ON: Cell<Option<Defect>> = const { Cell::new(None) };
    }

    /// Whether this defect is on, on this thread.
    #[inline]
    #[must_use]
    pub fn is(defect: Defect) -> bool {
        ON.get() == Some(defect)
    }

    /// A defect is on, on the thread that made this, until it is dropped there.
    #[derive(Debug)]
    #[must_use]
    pub struct Guard {
        before: Option<Defect>,
        /// Must be dropped on its own thread.
        bound: PhantomData<*const ()>,
    }

    impl Guard {
        /// Switches a defect on; the one that was on before comes back afterwards.
        pub fn set(defect: Defect) -> Self {
            Self { before: ON.replace(Some(defect)), bound: PhantomData }
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            ON.set(self.before);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_defect_is_on_while_its_guard_lives() {
            assert!(Defect::ALL.iter().all(|defect| !is(*defect)));
            let outer = Guard::set(Defect::HeadLeftOut);
            let inner = Guard::set(Defect::NeverSilent);
            assert!(is(Defect::NeverSilent) && !is(Defect::HeadLeftOut));
            drop(inner);
            assert!(is(Defect::HeadLeftOut));
            drop(outer);
            assert!(!is(Defect::HeadLeftOut));
        }
    }
}
