//! A system under measurement: two processes on this machine, "a" that has and writes, "b" that lacks and shows.

mod child;
mod tombolo;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

pub(crate) use child::Kind;

use crate::work::{Items, Shown};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    Tombolo,
    Samod,
    IrohDocs,
    Pouchdb,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) tombolo: PathBuf,
    pub(crate) node: PathBuf,
    pub(crate) pouchdb: PathBuf,
}

/// Bytes that passed between the two, both ways.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wire {
    /// Payload of UDP datagrams or of TCP streams: with the system's encryption, if it has any.
    pub(crate) all: u64,
    /// Without the bytes of QUIC and TLS; equal to `all` for systems that speak plain TCP. `None`: not known.
    pub(crate) bare: Option<u64>,
}

/// What b is to come to.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// The system itself says on b that nothing is missing.
    Settled,
    /// b shows these.
    Shown(Items),
}

/// A pair of processes with what is between them.
#[derive(Debug)]
pub(crate) enum System {
    Tombolo(Box<tombolo::Tombolo>),
    Child(Box<child::Pair>),
}

impl System {
    /// Starts both, empty, not connected.
    pub(crate) async fn start(name: Name, programs: &Programs, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let kind = match name {
            Name::Tombolo => {
                let tombolo = tombolo::Tombolo::start(&programs.tombolo, dir).await?;
                return Ok(Self::Tombolo(Box::new(tombolo)));
            }
            Name::Samod => Kind::Samod,
            Name::IrohDocs => Kind::IrohDocs,
            Name::Pouchdb => Kind::Pouchdb { node: programs.node.clone(), script: programs.pouchdb.join("peer.js") },
        };
        Ok(Self::Child(Box::new(child::Pair::start(kind, dir).await?)))
    }

    /// Writes on a, one change per entity.
    pub(crate) async fn put(&mut self, items: &Items) -> Result<()> {
        match self {
            Self::Tombolo(tombolo) => tombolo.put(items).await,
            Self::Child(pair) => pair.put(items).await,
        }
    }

    /// Lets b meet a for the first time; the time until it shows so many entities.
    pub(crate) async fn first_sync(&mut self, entities: u64) -> Result<Duration> {
        match self {
            Self::Tombolo(tombolo) => tombolo.first_sync(entities).await,
            Self::Child(pair) => pair.first_sync(entities).await,
        }
    }

    /// Stops b cleanly.
    pub(crate) async fn stop_b(&mut self) -> Result<()> {
        match self {
            Self::Tombolo(tombolo) => tombolo.stop_b().await,
            Self::Child(pair) => pair.stop_b().await,
        }
    }

    /// Starts b again and lets it open its store; it is not connected.
    pub(crate) async fn start_b(&mut self) -> Result<()> {
        match self {
            Self::Tombolo(tombolo) => tombolo.start_b().await,
            Self::Child(pair) => pair.start_b().await,
        }
    }

    /// Connects b to a; the time from there to the goal.
    pub(crate) async fn reconnect(&mut self, goal: &Goal) -> Result<Duration> {
        match self {
            Self::Tombolo(tombolo) => tombolo.reconnect(goal).await,
            Self::Child(pair) => pair.reconnect(goal).await,
        }
    }

    /// Writes on a; the time from there until b shows it.
    pub(crate) async fn live(&mut self, items: &Items) -> Result<Duration> {
        match self {
            Self::Tombolo(tombolo) => tombolo.live(items).await,
            Self::Child(pair) => pair.live(items).await,
        }
    }

    /// What has passed since b was last connected, once it is quiet.
    pub(crate) async fn wire(&mut self) -> Result<Wire> {
        match self {
            Self::Tombolo(tombolo) => tombolo.wire().await,
            Self::Child(pair) => pair.wire().await,
        }
    }

    /// Everything b shows.
    pub(crate) async fn shown(&mut self) -> Result<Shown> {
        match self {
            Self::Tombolo(tombolo) => tombolo.shown().await,
            Self::Child(pair) => pair.shown().await,
        }
    }

    /// Peak memory of a and of b, in bytes, of all their processes so far.
    pub(crate) fn peaks(&mut self) -> Result<(u64, u64)> {
        match self {
            Self::Tombolo(tombolo) => tombolo.peaks(),
            Self::Child(pair) => pair.peaks(),
        }
    }

    /// Bytes of b's directory.
    pub(crate) fn disk_b(&self) -> Result<u64> {
        match self {
            Self::Tombolo(tombolo) => tombolo.disk_b(),
            Self::Child(pair) => pair.disk_b(),
        }
    }
}
