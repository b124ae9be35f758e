//! Hearing: frames that arrive change what is known of the peer. Nothing is answered here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_crdt::defect::{self, Defect};
use tombolo_crdt::{FeedId, SpaceId};
use tombolo_transport::frame::{FRONTIER_PAGE_MAX, FeedHave, Frame, FrontierPage, Have};

use crate::engine::after::After;
use crate::engine::interface::{ConnId, Now};
use crate::engine::peers::conn::{Conn, SPACES_MAX};
use crate::engine::peers::session::{PAGES_MAX, Session};
use crate::engine::space::spaces::Spaces;

/// Takes note of a frame. Nothing is answered here.
pub(in crate::engine) fn note(
    id: ConnId,
    conn: &mut Conn,
    frame: Frame,
    spaces: &mut Spaces,
    now: Now,
    after: &mut After,
) {
    match frame {
        Frame::Hello(hello) => {
            conn.clock_skew = hello.wall_millis.cast_signed().wrapping_sub(now.wall_millis.cast_signed());
            if conn.hello.is_none() {
                conn.hello = Some(hello);
                after.introduce.greeted.insert(id);
            }
        }
        Frame::Rules(space, _) => {
            if conn.theirs.len() < SPACES_MAX {
                conn.theirs.insert(space);
            }
            conn.begin(space);
        }
        Frame::RulesDone => {
            if !std::mem::replace(&mut conn.named_all, true) {
                after.introduce.named.insert(id);
            }
        }
        Frame::Summary(summary) => {
            // It may overtake, within a step, what would have begun the session.
            conn.begin(summary.space);
            if let Some(session) = conn.sessions.get_mut(&summary.space) {
                session.heard.stated = Some((summary.frontier, summary.state));
                session.heard.fresh = true;
                session.heard.summary = Some(summary);
            }
        }
        Frame::Frontier(page) => note_page(conn, page),
        Frame::FrontierRequest(space) => {
            if let Some(session) = conn.sessions.get_mut(&space) {
                session.said.telling.ask();
            }
        }
        Frame::Have(have) => note_have(conn, have, spaces, now, after),
        Frame::Refused(space, refused) => {
            if let Some(session) = conn.sessions.get_mut(&space) {
                session.heard.refused += refused.len() as u64;
            }
        }
        Frame::Probe(probe) => {
            if let Some(session) = conn.sessions.get_mut(&probe.space) {
                session.probing.note(probe);
            }
        }
        Frame::Audit(audit) => {
            if let Some(space) = spaces.get_mut(&audit.space)
                && conn.sessions.contains_key(&audit.space)
            {
                let frontier = space.frontier_digest();
                space.care.audit.hear(conn.peer, audit, frontier, now.mono);
                space.care.hurry();
            }
        }
        Frame::Bye(_) | Frame::RulesFrontier(..) => {}
        // Taken elsewhere: they carry entries, or need a transaction.
        Frame::Ranges(_) | Frame::RulesRanges(_) | Frame::Join(_) | Frame::JoinRefused(..) => {}
    }
}

/// The space of whose session a frame tells something.
pub(in crate::engine) fn concerns(frame: &Frame) -> Option<SpaceId> {
    match frame {
        Frame::Rules(space, _) | Frame::FrontierRequest(space) | Frame::Refused(space, _) => Some(*space),
        Frame::Summary(summary) => Some(summary.space),
        Frame::Frontier(page) => Some(page.space),
        Frame::Have(have) => Some(have.space),
        Frame::Probe(probe) => Some(probe.space),
        Frame::Audit(audit) => Some(audit.space),
        Frame::Hello(_) | Frame::RulesDone | Frame::Bye(_) | Frame::RulesFrontier(..) => None,
        Frame::Ranges(_) | Frame::RulesRanges(_) | Frame::Join(_) | Frame::JoinRefused(..) => None,
    }
}

fn note_page(conn: &mut Conn, page: FrontierPage) {
    let Some(session) = conn.sessions.get_mut(&page.space) else { return };
    if page.positions.len() <= FRONTIER_PAGE_MAX && session.heard.pages.len() < PAGES_MAX {
        session.heard.pages.push(page);
    }
}

fn note_have(conn: &mut Conn, have: Have, spaces: &mut Spaces, now: Now, after: &mut After) {
    let Some(space) = spaces.get_mut(&have.space) else { return };
    let Some(session) = conn.sessions.get_mut(&have.space) else { return };
    let mut moved = false;
    for FeedHave { feed, settled, .. } in &have.feeds {
        if session.learn(space, *feed, *settled) {
            moved = true;
            after.acks.feeds([*feed]);
        }
        if session.sending.lag.contains(feed) && space.frontier.seq(*feed) <= session.reached(space, *feed) {
            // It has got everything from elsewhere.
            session.sending.lag.remove(feed);
        }
    }
    let of_feed: BTreeMap<FeedId, &FeedHave> = have.feeds.iter().map(|have| (have.feed, have)).collect();
    let held = |feed: FeedId, seq: u64| {
        let runs = of_feed.get(&feed).into_iter().flat_map(|have| &have.held);
        runs.into_iter().any(|(first, last)| (*first..=*last).contains(&seq))
    };
    while session.sending.in_flight.front().is_some_and(|flight| flight.number <= have.number) {
        let Some(flight) = session.sending.in_flight.pop_front() else { break };
        if flight.number == have.number {
            session.relaying.acknowledged(now.mono.saturating_sub(flight.sent));
        }
        for (feed, last) in flight.carried {
            let settled = session.settled(space, feed);
            if settled < last && !held(feed, last) {
                // Neither settled nor held: dropped there, so it is lacking and is sent again, after a while.
                session.sending.again(feed, settled, now.mono);
            }
        }
    }
    drop_unkept(session, &have, now);
    if moved {
        session.sending.resend_wait = Duration::ZERO;
    }
    session.heard.stated = Some((have.frontier, have.state));
    session.heard.fresh = true;
    let silent = session.answering.taken() <= 16 || have.frontier != space.frontier_digest();
    if !silent && defect::is(Defect::NeverSilent) {
        session.answering.hurry();
    }
}

/// What was held there once and is no longer named has been dropped, and is sent again.
fn drop_unkept(session: &mut Session, have: &Have, now: Now) {
    let sending = &mut session.sending;
    let flying: BTreeSet<FeedId> =
        sending.in_flight.iter().flat_map(|flight| flight.carried.iter().map(|(feed, _)| *feed)).collect();
    for FeedHave { feed, settled, held } in &have.feeds {
        // What a peer says may be any number.
        let next = |end: u64, first: u64| end.checked_add(1) == Some(first);
        let kept = held.iter().fold(*settled, |end, (first, last)| if next(end, *first) { *last } else { end });
        if !flying.contains(feed) && have.number != 0 && sending.cursor.get(feed).is_some_and(|sent| *sent > kept) {
            sending.again(*feed, kept, now.mono);
        }
    }
}
