//! What a scenario says of its data: what is there at the beginning, what is written, and what is made up.

use serde_json::Value;

use super::model::{Name, Who};
use super::place::Place;
use super::units::{Rate, When};
use crate::plan::Action;

/// What everybody has at the beginning.
#[derive(Clone, Debug)]
pub struct Initial {
    /// Where it was written.
    pub place: Place,
    /// The space of the entity; else the first.
    pub space: Option<Name>,
    /// The collection of the entity.
    pub collection: String,
    /// The id of the entity.
    pub id: String,
    /// An object.
    pub value: Value,
}

/// A write spelled out: one request, one transaction.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where it was written.
    pub place: Place,
    /// When.
    pub at: When,
    /// Which node; several: each of them.
    pub node: Who,
    /// The space of the writes; else the first.
    pub space: Option<Name>,
    /// What it does.
    pub edits: Vec<(String, String, Action)>,
    /// Asked again if the node goes down first.
    pub retried: bool,
}

/// Writes made up per seed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Where it was written.
    pub place: Place,
    /// The space of the load; else the first.
    pub space: Option<Name>,
    /// From when to when; else the whole duration.
    pub during: Option<(When, When)>,
    /// How many.
    pub amount: Amount,
    /// Who writes; `All`: members that may.
    pub nodes: Who,
    /// The collection.
    pub collection: String,
    /// Ids `PREFIX0`, `PREFIX1`, ….
    pub prefix: String,
    /// How many ids.
    pub ids: usize,
    /// Whether all of these are there at the beginning.
    pub existing: bool,
    /// Which ids more often.
    pub pick: Pick,
    /// What is done how often.
    pub mix: Mix,
    /// What entities look like.
    pub shape: ContentShape,
    /// What increments add: one of these.
    pub by: Vec<i64>,
    /// Bytes of text in each write beside its content.
    pub padding: usize,
    /// So many are asked one right after the other, at one node: who saves a form, or a queue that is drained.
    pub burst: u32,
    /// How many of a million are asked at a second node too, at the same moment, with the same id.
    pub twins_ppm: u32,
    /// How many of a million are asked again if their node goes down first.
    pub retried_ppm: u32,
}

impl Workload {
    /// So many writes over 20 ids of a collection, of every kind.
    #[must_use]
    pub fn new(collection: &str, count: u32) -> Self {
        Self {
            place: Place::default(),
            space: None,
            during: None,
            amount: Amount::Count(count),
            nodes: Who::All,
            collection: collection.into(),
            prefix: "k".into(),
            ids: 20,
            existing: false,
            pick: Pick::Uniform,
            mix: Mix::default(),
            shape: ContentShape::Mixed,
            by: vec![1],
            padding: 0,
            burst: 1,
            twins_ppm: 0,
            retried_ppm: 500_000,
        }
    }
}

/// How many writes.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// So many, at any time.
    Count(u32),
    /// About so many per time.
    Rate(Rate),
}

/// Which ids more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// None.
    Uniform,
    /// The second half as often as the first, the third a third as often, ….
    Zipf,
    /// Nine of ten writes go to a tenth of the ids.
    Hot,
}

/// Weights of the kinds of writes.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Whole entities.
    pub put: u32,
    /// Merge patches.
    pub patch: u32,
    /// Increments.
    pub increment: u32,
    /// Deletes.
    pub delete: u32,
    /// Two to four edits of the other kinds at once.
    pub transaction: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { put: 3, patch: 5, increment: 2, delete: 1, transaction: 1 }
    }
}

/// What entities look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentShape {
    /// A few fields.
    Flat,
    /// Maps in maps.
    Nested,
    /// Lists of texts and of maps.
    Arrays,
    /// Any of them, per write.
    Mixed,
}
