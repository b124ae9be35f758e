//! Rules: who may do what, and that the order of arrival decides nothing.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::feed::{FeedKind, Opening, Signature, chain};
use crate::verdict::{RulesOnly, Situation, Wait, judge};
use crate::{FeedId, NodeId};

struct Author {
    opening: Opening,
    seq: u64,
    chain: ChainHash,
}

impl Author {
    fn new(secret: u8, space: SpaceId) -> Self {
        let key = SigningKey::from_bytes(&[secret; 32]);
        let node = NodeId::from_bytes(key.verifying_key().to_bytes());
        let opening = Opening::new(node, space, 1, FeedKind::Rules, Vec::new());
        let chain = opening.chain();
        Self { opening, seq: 0, chain }
    }

    fn node(&self) -> NodeId {
        self.opening.node
    }

    fn write(&mut self, parents: &[ChainHash], records: &[Record]) -> Written {
        self.seq += 1;
        let entry = rules_entry(self.seq, Hlc::from_millis(1), parents.to_vec(), records);
        self.chain = chain(self.opening.feed(), self.seq, self.chain, &entry.encode());
        Written { hash: self.chain, author: self.node(), parents: parents.to_vec(), entry }
    }
}

#[derive(Clone)]
struct Written {
    hash: ChainHash,
    author: NodeId,
    parents: Vec<ChainHash>,
    entry: Entry,
}

/// An entry of `author` that follows one with the rules heads `before`.
fn judged(dag: &RulesDag, author: NodeId, before: &[ChainHash], entry: &Entry) -> Result<Verdict, Wait> {
    let situation = Situation { feed: FeedId::from_bytes([1; 16]), author, rules: dag, before };
    match judge(entry, &situation, &mut RulesOnly) {
        Ok(judgement) => judgement.settled().map(|(verdict, _)| verdict),
        Err(never) => match never {},
    }
}

fn settle(dag: &mut RulesDag, written: &Written) -> Result<Verdict, Wait> {
    let verdict = judged(dag, written.author, &[], &written.entry)?;
    dag.insert(written.hash, &written.parents, &written.entry, verdict);
    Ok(verdict)
}

/// A data entry that states these rules heads, without a change.
fn data(rules: Option<&[ChainHash]>) -> Entry {
    Entry {
        rules: rules.map(<[_]>::to_vec),
        body: Body::Data(Vec::new()),
        ..rules_entry(1, Hlc::from_millis(1), Vec::new(), &[])
    }
}

fn found(secret: u8) -> Found {
    let key = SigningKey::from_bytes(&[secret; 32]);
    Found { founder: NodeId::from_bytes(key.verifying_key().to_bytes()), name: "shop".into(), nonce: [7; 16] }
}

fn grant(node: NodeId, role: Role) -> Record {
    Record::Grant(Grant { node, role, contact: Contact::default() })
}

fn admit(invite: &SigningKey, space: SpaceId, node: NodeId) -> Record {
    Record::Admit(Admit {
        invite: invite.verifying_key().to_bytes(),
        node,
        signature: Signature::sign(invite, &admit_message(space, node)),
        contact: Contact::default(),
    })
}

/// founder → grant Ada admin → Ada invites a writer with the one-time key 9.
fn founded() -> (SpaceId, Author, Author, SigningKey, Vec<Written>) {
    let record = found(1);
    let space = record.space();
    let (mut founder, mut ada) = (Author::new(1, space), Author::new(2, space));
    let first = founder.write(&[], &[Record::Found(record), grant(ada.node(), Role::Admin)]);
    let ticket = SigningKey::from_bytes(&[9; 32]);
    let invite = Invite { key: ticket.verifying_key().to_bytes(), role: Role::Writer, expires: 0 };
    let second = ada.write(&[first.hash], &[Record::Invite(invite)]);
    (space, founder, ada, ticket, vec![first, second])
}

#[test]
fn a_ticket_admits_once_and_any_member_may_write_the_admission() {
    let (space, _, mut ada, ticket, written) = founded();
    let (mut bo, cy) = (Author::new(3, space), Author::new(4, space));
    let mut dag = RulesDag::new(space);
    for entry in &written {
        assert_eq!(settle(&mut dag, entry), Ok(Verdict::Applied));
    }
    let bo_in = ada.write(&dag.heads(), &[admit(&ticket, space, bo.node())]);
    assert_eq!(settle(&mut dag, &bo_in), Ok(Verdict::Applied));
    assert_eq!(dag.roster().role(bo.node()), Some(Role::Writer));
    let again = bo.write(&dag.heads(), &[admit(&ticket, space, cy.node())]);
    assert_eq!(settle(&mut dag, &again), Ok(Verdict::Role), "a used ticket");
    assert_eq!(dag.roster().role(cy.node()), None);
    let usurp = bo.write(&dag.heads(), &[grant(bo.node(), Role::Admin)]);
    assert_eq!(settle(&mut dag, &usurp), Ok(Verdict::Role), "a writer grants nothing");
}

#[test]
fn strangers_and_foreign_founders_are_refused_and_unknown_parents_are_held() {
    let (space, _, _, ticket, written) = founded();
    let mut stranger = Author::new(5, space);
    let mut dag = RulesDag::new(space);
    let early = written[1].clone();
    assert_eq!(settle(&mut dag, &early), Err(Wait::Rules(written[0].hash)));
    for entry in &written {
        settle(&mut dag, entry).unwrap();
    }
    let other = stranger.write(&[], &[Record::Found(found(5))]);
    assert_eq!(settle(&mut dag, &other), Ok(Verdict::Role), "another founding record");
    let node = stranger.node();
    let itself = stranger.write(&dag.heads(), &[admit(&ticket, space, node)]);
    assert_eq!(settle(&mut dag, &itself), Ok(Verdict::Role), "a stranger does not admit itself");
}

#[test]
fn an_unknown_record_kind_holds_and_a_malformed_one_is_refused() {
    let (space, _, mut ada, _, written) = founded();
    let mut dag = RulesDag::new(space);
    written.iter().for_each(|entry| assert_eq!(settle(&mut dag, entry), Ok(Verdict::Applied)));
    let mut later = ada.write(&dag.heads(), &[]);
    later.entry.body = Body::Rules(vec![crate::entry::RawRecord { kind: 99, body: vec![] }]);
    assert_eq!(settle(&mut dag, &later), Err(Wait::Later));
    later.entry.body = Body::Rules(vec![crate::entry::RawRecord { kind: 4, body: vec![1, 2] }]);
    assert_eq!(settle(&mut dag, &later), Ok(Verdict::Structure));
}

#[test]
fn a_grant_acts_only_where_the_author_had_seen_it() {
    let (space, _, mut ada, _, written) = founded();
    let bo = Author::new(3, space);
    let mut dag = RulesDag::new(space);
    written.iter().for_each(|entry| assert_eq!(settle(&mut dag, entry), Ok(Verdict::Applied)));
    let before = dag.heads();
    let granted = ada.write(&before, &[grant(bo.node(), Role::Writer)]);
    settle(&mut dag, &granted).unwrap();
    assert_eq!(judged(&dag, bo.node(), &[], &data(Some(&before))), Ok(Verdict::Role));
    assert_eq!(judged(&dag, bo.node(), &before, &data(Some(&dag.heads()))), Ok(Verdict::Applied));
    assert_eq!(judged(&dag, bo.node(), &dag.heads(), &data(None)), Ok(Verdict::Applied));
    let fewer = judged(&dag, bo.node(), &dag.heads(), &data(Some(&before)));
    assert_eq!(fewer, Ok(Verdict::Rules), "fewer than before");
}

#[test]
fn heads_are_stated_when_they_are_new_and_hold_neither_ancestors_nor_what_is_refused() {
    let (space, mut founder, mut ada, _, written) = founded();
    let (bo, mut stranger) = (Author::new(3, space), Author::new(5, space));
    let mut dag = RulesDag::new(space);
    written.iter().for_each(|entry| assert_eq!(settle(&mut dag, entry), Ok(Verdict::Applied)));
    let base = written[1].hash;
    let (one, two) = (
        ada.write(&[base], &[grant(bo.node(), Role::Writer)]),
        founder.write(&[base], &[grant(bo.node(), Role::Writer)]),
    );
    let lie = stranger.write(&[base], &[grant(bo.node(), Role::Admin)]);
    for (entry, verdict) in [(&one, Verdict::Applied), (&two, Verdict::Applied), (&lie, Verdict::Role)] {
        assert_eq!(settle(&mut dag, entry), Ok(verdict));
    }
    let mut both = vec![one.hash, two.hash];
    both.sort_unstable();
    assert_eq!(dag.heads(), both, "what is refused is no head");
    let stated = |before: &[ChainHash], mut heads: Vec<ChainHash>| {
        heads.sort_unstable();
        judged(&dag, ada.node(), before, &data(Some(&heads)))
    };
    assert_eq!(stated(&[base], both.clone()), Ok(Verdict::Applied));
    assert_eq!(stated(&[base], vec![one.hash]), Ok(Verdict::Applied));
    assert_eq!(stated(&both, both.clone()), Ok(Verdict::Rules), "they are in force");
    assert_eq!(stated(&[base], vec![base, one.hash]), Ok(Verdict::Rules), "one is an ancestor of the other");
    assert_eq!(stated(&[base], vec![one.hash, lie.hash]), Ok(Verdict::Rules), "one is refused");
    assert_eq!(stated(&[one.hash], vec![two.hash]), Ok(Verdict::Rules), "they lack what was known before");
    let unknown = ChainHash::from_bytes([9; 32]);
    assert_eq!(stated(&[base], vec![one.hash, unknown]), Err(Wait::Rules(unknown)));
}

/// A thousand rules entries, each under the last: no roster is folded from the beginning but the first.
#[test]
fn the_roster_of_the_next_entry_is_made_from_that_of_the_last() {
    let (space, mut founder, _, _, written) = founded();
    let mut dag = RulesDag::new(space);
    for entry in &written {
        settle(&mut dag, entry).unwrap();
    }
    for member in 0..1_000_u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&member.to_le_bytes());
        let next = founder.write(&dag.heads(), &[grant(NodeId::from_bytes(key), Role::Writer)]);
        assert_eq!(settle(&mut dag, &next), Ok(Verdict::Applied));
        assert!(dag.on_top(&[next.hash]).is_some(), "{member}");
        let rosters = dag.rosters.borrow();
        assert!(rosters.all.len() <= ROSTERS_MAX && rosters.size <= ROSTERS_SIZE_MAX);
    }
    assert_eq!(*dag.roster(), dag.folded(&dag.heads()));
}

/// Ancestors, as everybody would find them.
fn by_walking(dag: &RulesDag, head: ChainHash) -> BTreeSet<ChainHash> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![head]);
    while let Some(hash) = open.pop() {
        if seen.insert(hash) {
            open.extend(dag.nodes[dag.numbers[&hash]].parents.iter().map(|parent| dag.nodes[*parent].hash));
        }
    }
    seen
}

proptest! {
    /// Two concurrent admissions on one invite and two concurrent grants: whatever order they arrive in, every node
    /// reaches the same verdicts and the same roster.
    #[test]
    fn order_of_arrival_decides_nothing(order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle()) {
        let (space, mut founder, mut ada, ticket, mut written) = founded();
        let (bo, cy) = (Author::new(3, space), Author::new(4, space));
        let base = vec![written[1].hash];
        written.push(founder.write(&base, &[admit(&ticket, space, bo.node())]));
        written.push(ada.write(&base, &[admit(&ticket, space, cy.node())]));
        written.push(founder.write(&[written[2].hash], &[grant(cy.node(), Role::Reader)]));
        let mut both = vec![written[3].hash, written[4].hash];
        both.sort_unstable();
        written.push(ada.write(&both, &[grant(bo.node(), Role::Writer)]));

        let mut straight = RulesDag::new(space);
        let expected: Vec<_> = written.iter().map(|entry| settle(&mut straight, entry).unwrap()).collect();

        let mut dag = RulesDag::new(space);
        let mut got = vec![None; written.len()];
        let mut waiting = order;
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|index| match settle(&mut dag, &written[*index]) {
                Ok(verdict) => { got[*index] = Some(verdict); false }
                Err(_) => true,
            });
            prop_assert!(waiting.len() < before, "stuck");
        }
        prop_assert_eq!(got, expected.into_iter().map(Some).collect::<Vec<_>>());
        prop_assert_eq!(dag.heads(), straight.heads());
        for entry in &written {
            let (ancestry, walked) = (dag.ancestry(&[entry.hash]), by_walking(&dag, entry.hash));
            prop_assert!(ancestry.is_antichain());
            // Whatever is remembered.
            prop_assert_eq!(&*dag.state(&[entry.hash]), &dag.folded(&[entry.hash]));
            for other in &written {
                prop_assert_eq!(ancestry.contains(other.hash), walked.contains(&other.hash));
                let pair = dag.ancestry(&[entry.hash, other.hash]);
                let apart = !walked.contains(&other.hash) && !by_walking(&dag, other.hash).contains(&entry.hash);
                prop_assert_eq!(pair.is_antichain(), apart);
            }
        }
        prop_assert_eq!(&*dag.roster(), &*straight.roster());
    }
}
