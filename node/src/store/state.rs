//! The small rows that steps rewrite: feeds, spaces, what is known of peers, and named bytes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tombolo_crdt::digest::StateSums;
use tombolo_crdt::feed::Signature;
use tombolo_crdt::{ChainHash, Digest, FeedId, NodeId, SpaceId};

use super::batch::Batch;
use super::codec::{Fields, pack, unpack, without_sum};
use super::error::StoreError;
use super::layout::{self, Table, beyond};
use super::reading::Reading;

/// A feed: how far it is settled and sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedRow {
    /// Its opening, encoded.
    pub opening: Vec<u8>,
    /// Local number of its space.
    pub space_no: u32,
    /// Its last settled entry; 0: only its opening is known.
    pub seq: u64,
    /// Chain hash there.
    pub chain: ChainHash,
    /// The last seal and its position.
    pub sealed: Option<(u64, Signature)>,
    /// Position of the newest seal in `seals`.
    pub kept: u64,
    /// Bytes of entries since then.
    pub kept_bytes: u64,
    /// Rules heads, and the position of the entry that stated them, in order.
    pub rules: Vec<(u64, Vec<ChainHash>)>,
    /// Greatest clock reading of its applied entries, raw.
    pub hlc: u64,
}

/// A space on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRow {
    /// Its id.
    pub space: SpaceId,
    /// Its local number, in keys.
    pub space_no: u32,
    /// Its name.
    pub name: String,
    /// The founding record, encoded.
    pub founding: Vec<u8>,
    /// Last position of its journal.
    pub journal: u64,
    /// Running hash of its journal there.
    pub running: [u8; 16],
    /// What its state digest is made of.
    pub sums: StateSums,
    /// Entities present.
    pub entities: u64,
    /// Entities frozen.
    pub frozen: u64,
    /// Entries applied.
    pub applied: u64,
    /// Entries refused.
    pub refused: u64,
}

/// What a row adds to the state digest, and whether its entity is present.
pub type Counted = ([u8; 32], bool);

impl SpaceRow {
    /// A row of an entity is written, from `old` to `new`: the sums and the number of entities follow. `None`: there is
    /// none.
    pub fn count(&mut self, old: Option<&Counted>, new: Option<&Counted>) {
        if let Some((contribution, present)) = old {
            self.sums.rows.remove(contribution);
            debug_assert!(self.entities >= u64::from(*present), "no entity goes that was not counted");
            self.entities = self.entities.wrapping_sub(u64::from(*present));
        }
        if let Some((contribution, present)) = new {
            self.sums.rows.add(contribution);
            self.entities += u64::from(*present);
        }
    }
}

/// What is remembered of a peer in a space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRow {
    /// Digests of the last settled states told to it (at most 64), each with its journal position.
    pub remembered: Vec<(Digest, u64)>,
    /// The last state both had.
    pub common: Option<(Digest, u64)>,
}

/// A head of a space's data entries: its feed, position and chain hash; `None`: the value is damaged.
pub type StoredHead = (FeedId, Option<(u64, ChainHash)>);

impl Reading {
    /// The row of a feed.
    pub fn feed(&self, feed: FeedId) -> Result<Option<FeedRow>, StoreError> {
        let key = layout::feed(feed);
        self.get(Table::State, &key, |body| unpack(Table::State, &key, body))
    }

    /// All feeds of the store, by the local numbers of their spaces and by id. One pass over them: for opening.
    pub fn feeds_by_space(&self) -> Result<BTreeMap<u32, Vec<(FeedId, FeedRow)>>, StoreError> {
        let mut feeds = BTreeMap::<u32, Vec<(FeedId, FeedRow)>>::new();
        self.all(Table::State, &[layout::state::FEED], |rest, key, body| {
            let id = FeedId::from_bytes(Fields::new(Table::State, key, rest).array()?);
            let row = unpack::<FeedRow>(Table::State, key, body)?;
            feeds.entry(row.space_no).or_default().push((id, row));
            Ok(())
        })?;
        Ok(feeds)
    }

    /// All feeds of a space, by id. Reads every feed of the store: whoever needs those of several spaces takes
    /// [`Reading::feeds_by_space`].
    pub fn feeds(&self, space_no: u32) -> Result<Vec<(FeedId, FeedRow)>, StoreError> {
        Ok(self.feeds_by_space()?.remove(&space_no).unwrap_or_default())
    }

    /// Heads of a space's data entries, by feed: position and chain hash; `None`: the value is damaged.
    pub fn heads(&self, space_no: u32) -> Result<Vec<StoredHead>, StoreError> {
        let prefix = layout::heads(space_no);
        let mut heads = Vec::new();
        self.scan_raw(Table::State, &prefix, beyond(&prefix).as_deref(), &mut |key, value| {
            let rest = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            let feed = FeedId::from_bytes(Fields::new(Table::State, key, rest).array()?);
            let head = without_sum(Table::State, key, value).and_then(|body| {
                let mut fields = Fields::new(Table::State, key, body);
                let head = (fields.u64()?, ChainHash::from_bytes(fields.array()?));
                fields.end().map(|()| head)
            });
            heads.push((feed, head.ok()));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(heads)
    }

    /// The row of a space.
    pub fn space(&self, space: SpaceId) -> Result<Option<SpaceRow>, StoreError> {
        let key = layout::space(space);
        self.get(Table::State, &key, |body| unpack(Table::State, &key, body))
    }

    /// All spaces, by their local numbers.
    pub fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        let mut spaces: Vec<SpaceRow> =
            self.all(Table::State, &[layout::state::SPACE], |_, key, body| unpack(Table::State, key, body))?;
        spaces.sort_by_key(|row| row.space_no);
        Ok(spaces)
    }

    /// What is remembered of a peer.
    pub fn peer(&self, space_no: u32, node: NodeId) -> Result<Option<PeerRow>, StoreError> {
        let key = layout::peer(space_no, node);
        self.get(Table::State, &key, |body| unpack(Table::State, &key, body))
    }

    /// What is remembered of all peers in a space.
    pub fn peers(&self, space_no: u32) -> Result<Vec<(NodeId, PeerRow)>, StoreError> {
        self.all(Table::State, &layout::peers(space_no), |rest, key, body| {
            let node = NodeId::from_bytes(Fields::new(Table::State, key, rest).array()?);
            Ok((node, unpack(Table::State, key, body)?))
        })
    }

    /// The bytes that are kept under a name.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(Table::State, &layout::meta(name), |body| Ok(body.to_vec()))
    }

    /// All named bytes whose name starts with `prefix`, by name; names in full.
    pub fn meta_prefix(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.all(Table::State, &layout::meta(prefix), |_, key, body| {
            let name = std::str::from_utf8(key.get(1..).unwrap_or_default());
            let name = name.map_err(|_| StoreError::corrupt_at(Table::State.name(), key, "the name is not UTF-8"))?;
            Ok((name.to_owned(), body.to_vec()))
        })
    }
}

impl Batch<'_> {
    /// Writes a feed.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: it cannot be encoded.
    pub fn put_feed(&mut self, feed: FeedId, row: &FeedRow) -> Result<(), StoreError> {
        let sealed = row.sealed.as_ref().map_or(0, |(seq, _)| *seq);
        debug_assert!(row.kept <= sealed && sealed <= row.seq, "kept seals lie before the last, and that in the feed");
        let (key, body) = (layout::feed(feed), pack(row)?);
        debug_assert!(unpack(Table::State, &key, &body).as_ref() == Ok(row), "a feed is read as it was written");
        self.put(Table::State, key, body);
        Ok(())
    }

    /// Forgets a feed of which there are no entries.
    pub fn remove_feed(&mut self, feed: FeedId) {
        self.remove(Table::State, layout::feed(feed));
    }

    /// Writes the head that a feed has; `None`: it has none any more.
    pub fn put_head(&mut self, space_no: u32, feed: FeedId, head: Option<(u64, ChainHash)>) {
        let key = layout::head(space_no, feed);
        match head {
            Some((seq, chain)) => {
                self.put(Table::State, key, [seq.to_le_bytes().as_slice(), chain.as_bytes()].concat());
            }
            None => self.remove(Table::State, key),
        }
    }

    /// Writes a space.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: it cannot be encoded.
    pub fn put_space(&mut self, row: &SpaceRow) -> Result<(), StoreError> {
        assert!(row.space_no > 0, "local numbers of spaces begin at 1");
        let (key, body) = (layout::space(row.space), pack(row)?);
        debug_assert!(unpack(Table::State, &key, &body).as_ref() == Ok(row), "a space is read as it was written");
        self.put(Table::State, key, body);
        Ok(())
    }

    /// Writes what is remembered of a peer.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: it cannot be encoded.
    pub fn put_peer(&mut self, space_no: u32, node: NodeId, row: &PeerRow) -> Result<(), StoreError> {
        let (key, body) = (layout::peer(space_no, node), pack(row)?);
        debug_assert!(
            unpack(Table::State, &key, &body).as_ref() == Ok(row),
            "what is known of a peer is read as written"
        );
        self.put(Table::State, key, body);
        Ok(())
    }

    /// Forgets what is remembered of a peer and cannot be read, by the key that its [`StoreError::Corrupt`] names.
    /// `false`: it names no such row of the space.
    pub fn drop_peer(&mut self, space_no: u32, key: &[u8]) -> bool {
        let ours = key.starts_with(&layout::peers(space_no));
        if ours {
            self.remove(Table::State, key);
        }
        ours
    }

    /// Writes named bytes.
    ///
    /// # Errors
    /// None at present.
    pub fn put_meta(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(Table::State, layout::meta(name), bytes.to_vec());
        Ok(())
    }

    /// Removes named bytes.
    ///
    /// # Errors
    /// None at present.
    pub fn remove_meta(&mut self, name: &str) -> Result<(), StoreError> {
        self.remove(Table::State, layout::meta(name));
        Ok(())
    }
}
