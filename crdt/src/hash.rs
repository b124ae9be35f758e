//! Domain-tagged blake3: no two kinds of hashed thing can be taken for each other.

/// Domain tags, one per kind of hashed or signed thing. Final: changing one changes every id.
pub mod tag {
    /// Founding record → space id.
    pub const SPACE: &str = "tombolo/1 space";
    /// (node, space, epoch, kind) → feed id.
    pub const FEED: &str = "tombolo/1 feed";
    /// Opening → chain(0).
    pub const OPENING: &str = "tombolo/1 opening";
    /// (feed, n, chain(n−1), entry) → chain(n).
    pub const CHAIN: &str = "tombolo/1 chain";
    /// What a seal signs.
    pub const SEAL: &str = "tombolo/1 seal";
    /// Sorted (feed, seq, chain) → frontier digest.
    pub const FRONTIER: &str = "tombolo/1 frontier";
    /// Sorted heads → h.
    pub const HEADS: &str = "tombolo/1 heads";
    /// h ‖ contract version → revision.
    pub const REVISION: &str = "tombolo/1 revision";
    /// (key, canonical part of a row) → the row's contribution to sum 1.
    pub const ROW: &str = "tombolo/1 row";
    /// (feed, seq, verdict) → contribution to sum 2.
    pub const REFUSED: &str = "tombolo/1 refused";
    /// sum 1 ‖ sum 2 → state digest.
    pub const STATE: &str = "tombolo/1 state";
    /// (collection, id) → the bucket in which two nodes compare the entity.
    pub const BUCKET: &str = "tombolo/1 bucket";
    /// What the one-time key of an invite signs: (space, node).
    pub const ADMIT: &str = "tombolo/1 admit";
    /// Idempotency key → the 16 bytes kept in an entry.
    pub const IDEMPOTENCY: &str = "tombolo/1 idempotency";
    /// Journal row → running hash of the journal. Local, never sent.
    pub const JOURNAL: &str = "tombolo/1 journal";
}

/// blake3 in the domain `tag`, fed part by part. Parts of variable length must carry their length themselves.
#[derive(Debug, Clone)]
pub struct Tagged(blake3::Hasher);

impl Tagged {
    /// Starts a hash: the tag's length, then the tag.
    #[must_use]
    pub fn new(tag: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[u8::try_from(tag.len()).unwrap_or(u8::MAX)]);
        hasher.update(tag.as_bytes());
        Self(hasher)
    }

    /// Adds bytes of a known length.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Feeds a number as 8 little-endian bytes.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Feeds bytes preceded by their length.
    #[must_use]
    pub fn sized(self, bytes: &[u8]) -> Self {
        self.number(bytes.len() as u64).bytes(bytes)
    }

    /// The hash of everything added.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// The first 16 bytes of the hash.
    #[must_use]
    pub fn finish16(&self) -> [u8; 16] {
        let mut out = [0; 16];
        out.copy_from_slice(self.finish().split_at(16).0);
        out
    }
}
