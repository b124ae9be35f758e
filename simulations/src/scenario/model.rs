//! What a scenario says, as plain data. The TOML reader fills it; so can Rust.

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_crdt::rules::Role;

use super::language::Statement;
pub use super::load::{Amount, ContentShape, Initial, Mix, Pick, Workload, Write};
use super::place::Place;
use super::units::{Rate, When};
use crate::plan::Spread;

/// A name and where it was written.
#[derive(Clone, Debug, Default)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where.
    pub place: Place,
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self { text: text.into(), place: Place::default() }
    }
}

/// Some of the nodes.
#[derive(Clone, Debug, Default)]
pub enum Who {
    /// All (of those in question).
    #[default]
    All,
    /// One of them, drawn per seed.
    Any,
    /// These: names of nodes or of zones.
    These(Vec<Name>),
}

impl From<&[&str]> for Who {
    fn from(names: &[&str]) -> Self {
        Self::These(names.iter().map(|&name| name.into()).collect())
    }
}

/// A scenario before it is checked: see [`Draft::check`]. `docs/scenarios.md` explains every field under its TOML name.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The scenario's name: `a-z 0-9 -`.
    pub name: String,
    /// The scenario's story in one line.
    pub title: String,
    /// What a user recognises, and what to look for.
    pub about: String,
    /// How long writes and faults go on.
    pub duration: Duration,
    /// How long the survivors may take to converge.
    pub patience: Duration,
    /// May run over the model network.
    pub world: bool,
    /// May run over real QUIC.
    pub quic: bool,
    /// Who must converge in the end.
    pub survivors: Survivors,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What lies between them.
    pub topology: Topology,
    /// The spaces; none: one, named `main`, all writers.
    pub spaces: Vec<Space>,
    /// What everybody has at the beginning.
    pub initial: Vec<Initial>,
    /// Writes made up per seed.
    pub workloads: Vec<Workload>,
    /// Writes spelled out.
    pub writes: Vec<Write>,
    /// Faults spelled out.
    pub faults: Vec<Statement>,
    /// Faults made up per seed.
    pub random: Option<Random>,
    /// What must be true in the end.
    pub assertions: Vec<Assert>,
    /// Where keys were written that are plain values above.
    pub(super) keys: BTreeMap<&'static str, Place>,
}

/// Who must converge in the end.
#[derive(Clone, Debug)]
pub enum Survivors {
    /// A connected part drawn per seed.
    Random,
    /// Everybody.
    All,
    /// These.
    Named(Vec<Name>),
}

/// A node, as the scenario describes it.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's name, unique among nodes and zones.
    pub name: Name,
    /// The node's zone, to name several nodes at once.
    pub zone: Option<Name>,
    /// The wall clock at the beginning against true time, from and to, in milliseconds.
    pub clock_offset_ms: (i64, i64),
    /// How fast its wall clock runs, from and to.
    pub clock_drift_ppm: (i32, i32),
    /// How long a commit on the node's disk takes.
    pub commit: Spread,
}

impl Node {
    /// A node with a right clock and a disk that takes 0.5 to 20 ms.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let commit = Spread { min_us: 500, p50_us: 1_000, p99_us: 5_000, max_us: 20_000 };
        Self { name: name.into(), zone: None, clock_offset_ms: (0, 0), clock_drift_ppm: (0, 0), commit }
    }
}

/// What lies between the nodes.
#[derive(Clone, Debug)]
pub struct Topology {
    /// Which links there are.
    pub shape: Shape,
    /// What a link is like.
    pub class: LinkClass,
    /// Links between zones or nodes that are different.
    pub between: Vec<LinkChange>,
    /// Links by name: more of them, or different ones.
    pub links: Vec<LinkChange>,
}

/// Which links there are.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Everybody with everybody.
    Mesh,
    /// Each with the next, the last with the first.
    Ring,
    /// Each with the next.
    Line,
    /// Everybody with one, else the first.
    Star(Option<Name>),
    /// Connected, with so many links per node on average, drawn per seed.
    Random(usize),
    /// Only those named.
    Links,
}

/// What a link is like.
#[derive(Clone, Debug)]
pub struct LinkClass {
    /// Time of a packet.
    pub latency: Spread,
    /// Bytes per second; 0: unlimited.
    pub bandwidth: u64,
    /// Packets lost, of a million.
    pub loss_ppm: u32,
    /// Packets doubled, of a million.
    pub duplicate_ppm: u32,
    /// Packets with flipped bits, of a million.
    pub corrupt_ppm: u32,
}

impl Default for LinkClass {
    /// 5 to 60 ms, mostly 15, unlimited, lossless.
    fn default() -> Self {
        let latency = Spread { min_us: 5_000, p50_us: 15_000, p99_us: 40_000, max_us: 60_000 };
        Self { latency, bandwidth: 0, loss_ppm: 0, duplicate_ppm: 0, corrupt_ppm: 0 }
    }
}

/// Links that are different in what is said.
#[derive(Clone, Debug, Default)]
pub struct LinkChange {
    /// One end: a node, or (not for single links) a zone.
    pub a: Name,
    /// The other.
    pub b: Name,
    /// See [`LinkClass`].
    pub latency: Option<Spread>,
    /// See [`LinkClass`].
    pub bandwidth: Option<u64>,
    /// See [`LinkClass`].
    pub loss_ppm: Option<u32>,
    /// See [`LinkClass`].
    pub duplicate_ppm: Option<u32>,
    /// See [`LinkClass`].
    pub corrupt_ppm: Option<u32>,
}

/// A space, as the scenario describes it.
#[derive(Clone, Debug)]
pub struct Space {
    /// The space's name, unique.
    pub name: Name,
    /// Who founds it; else one of the members that may write, drawn per seed.
    pub founder: Option<Name>,
    /// Members by role. Who is named twice has the last role; `All` here means all that are not named elsewhere.
    pub members: Vec<(Who, Role)>,
}

/// Faults made up per seed.
#[derive(Clone, Debug)]
pub struct Random {
    /// Where it was written.
    pub place: Place,
    /// From when to when; else the whole duration.
    pub during: Option<(When, When)>,
    /// Draw per seed which kinds there are, and how often.
    pub swarm: bool,
    /// The least time between two of a kind.
    pub stability: Duration,
    /// The kinds.
    pub kinds: Vec<RandomKind>,
}

/// A kind of random fault.
#[derive(Clone, Copy, Debug)]
pub struct RandomKind {
    /// Which.
    pub kind: super::random::Kind,
    /// How often, before the swarm.
    pub rate: Rate,
    /// How long, from and to.
    pub lasts: (Duration, Duration),
}

/// What must be true in the end.
#[derive(Clone, Debug)]
pub struct Assert {
    /// Where the expression was written.
    pub place: Place,
    /// For messages.
    pub name: String,
    /// The space that is looked at; else the first.
    pub space: Option<Name>,
    /// Over every entity of this collection; none: over every node.
    pub collection: Option<String>,
    /// CEL.
    pub that: String,
    /// Where the expression stands verbatim in its file, to point into it.
    pub(super) verbatim: Option<(super::place::Source, usize)>,
    /// Where the collection was written.
    pub(super) about: Option<Place>,
}

impl Assert {
    /// For every survivor.
    #[must_use]
    pub fn node(name: &str, that: &str) -> Self {
        let place = Place::default();
        let (name, that) = (name.into(), that.into());
        Self { place, name, space: None, collection: None, that, verbatim: None, about: None }
    }

    /// For every entity of a collection on every survivor.
    #[must_use]
    pub fn entity(name: &str, collection: &str, that: &str) -> Self {
        Self { collection: Some(collection.into()), ..Self::node(name, that) }
    }
}
