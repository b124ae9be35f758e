//! One session after a commit: what has to be said to one peer about one space.

use std::time::Duration;

use tombolo_crdt::NodeId;
use tombolo_transport::frame::Frame;

use crate::engine::interface::{ConnId, Now, Output};
use crate::engine::peers::acks::Acks;
use crate::engine::peers::session::Session;
use crate::engine::peers::session::sending::lacks;
use crate::engine::peers::transfer;
use crate::engine::space::Space;
use crate::store::{Reading, StoreError};

/// One session after a commit.
pub(in crate::engine) struct Talk<'a> {
    pub(in crate::engine) conn: ConnId,
    pub(in crate::engine) peer: NodeId,
    pub(in crate::engine) now: Now,
    /// How long an acknowledgement waits that nobody waits for.
    pub(in crate::engine) have_wait: Duration,
    pub(in crate::engine) reading: &'a Reading,
    pub(in crate::engine) out: &'a mut Vec<Output>,
    /// What the peer was found to have.
    pub(in crate::engine) acks: &'a mut Acks,
    /// Bytes that the step may still read to be sent.
    pub(in crate::engine) left: &'a mut usize,
    /// Feeds and journal rows that the step may still look at to compare.
    pub(in crate::engine) looks: &'a mut u64,
    /// Counts the feeds and journal rows that are looked at to compare.
    pub(in crate::engine) looked: &'a mut u64,
}

impl Talk<'_> {
    /// Says what has to be said in one session; whether what is remembered of the peer changed.
    pub(in crate::engine) fn session(&mut self, space: &mut Space, session: &mut Session) -> Result<bool, StoreError> {
        let mut remembered = self.summary(space, session);
        self.moved(space, session);
        self.compare(space, session);
        session.goes_on = None;
        self.tell_frontier(space, session)?;
        if session.goes_on.is_none() {
            self.learn_frontier(space, session)?;
        }
        if session.goes_on.is_none() {
            // What it was needed for may have come to be known otherwise.
            session.since = None;
        }
        session.sending.resend.retain(|_, at| *at > self.now.mono);
        transfer::pump(space, session, (self.now, self.conn), (self.reading, self.left), self.out)?;
        remembered |= self.have(space, session);
        self.probes(space, session)?;
        self.refusals(space, session);
        Ok(remembered)
    }

    pub(super) fn send(&mut self, frame: Frame) {
        self.out.push(Output::Control(self.conn, frame));
    }

    /// Feeds moved here: the peer may lack them, and is told that we hold them.
    fn moved(&mut self, space: &Space, session: &mut Session) {
        let heard_of = session.heard_of;
        session.hear(space);
        for news in space.news.since(heard_of) {
            let feed = news.feed;
            let own = feed == space.own_data_feed || feed == space.own_rules_feed;
            if !own {
                session.answering.moved(feed, news.at, self.have_wait);
            }
            if session.known().is_some() && !session.probing.rests(feed) && lacks(space, session, feed) {
                if session.sending.lags(feed) && !own {
                    session.relaying.moved(feed, news.at, self.have_wait);
                }
                session.behind_since.get_or_insert(news.wall_millis);
            }
        }
    }
}
