//! Systems whose processes speak [`crate::talk`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::{Goal, Wire};
use crate::process::{self, Process};
use crate::relay::{self, TcpRelay, Traffic};
use crate::talk::{Answer, ITEMS_MAX, Names, Request};
use crate::work::{Items, Shown};

/// Which one, and what it takes to start it.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Samod,
    IrohDocs,
    Pouchdb { node: PathBuf, script: PathBuf },
}

/// Two processes.
#[derive(Debug)]
pub(crate) struct Pair {
    kind: Kind,
    dir: PathBuf,
    a: Peer,
    b: Option<Peer>,
    names: Names,
    /// Where a is reached; known from the first connection on.
    address: Value,
    relay: Option<TcpRelay>,
    traffic: Traffic,
    /// The count of bytes when b was connected last.
    before: u64,
    peak_b: u64,
}

/// One process.
#[derive(Debug)]
struct Peer {
    process: Process,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Pair {
    pub(super) async fn start(kind: Kind, dir: &Path) -> Result<Self> {
        let (a, b) = (Peer::start(&kind, dir, "a")?, Some(Peer::start(&kind, dir, "b")?));
        let (names, address, traffic) = (Names::new(), Value::Null, Traffic::default());
        Ok(Self { kind, dir: dir.to_owned(), a, b, names, address, relay: None, traffic, before: 0, peak_b: 0 })
    }

    pub(super) async fn put(&mut self, items: &Items) -> Result<()> {
        for items in chunks(items) {
            let names: Names = self.a.ask(Request::Put { items }).await?;
            self.names.extend(names);
        }
        Ok(())
    }

    pub(super) async fn first_sync(&mut self, entities: u64) -> Result<Duration> {
        self.address = self.a.ask(Request::Address).await?;
        self.b()?.ask::<()>(Request::Expect { items: Items::new(), entities }).await?;
        self.tell_names().await?;
        let begin = Instant::now();
        self.connect().await?;
        self.b()?.ask::<()>(Request::Shown).await?;
        Ok(begin.elapsed())
    }

    pub(super) async fn stop_b(&mut self) -> Result<()> {
        let mut b = self.b.take().context("b is not running")?;
        self.peak_b = self.peak_b.max(b.process.peak()?);
        b.ask::<()>(Request::Stop).await?;
        b.process.ended().await
    }

    pub(super) async fn start_b(&mut self) -> Result<()> {
        self.b = Some(Peer::start(&self.kind, &self.dir, "b")?);
        self.tell_names().await?;
        self.b()?.ask::<()>(Request::Open).await
    }

    pub(super) async fn reconnect(&mut self, goal: &Goal) -> Result<Duration> {
        let request = match goal {
            Goal::Settled => Request::Settled,
            Goal::Shown(items) => {
                self.expect(items).await?;
                Request::Shown
            }
        };
        let begin = Instant::now();
        self.connect().await?;
        self.b()?.ask::<()>(request).await?;
        Ok(begin.elapsed())
    }

    pub(super) async fn live(&mut self, items: &Items) -> Result<Duration> {
        self.expect(items).await?;
        let b = self.b.as_mut().context("b is not running")?;
        b.say(&Request::Shown).await?;
        let begin = Instant::now();
        let put = async {
            let _: Names = self.a.ask(Request::Put { items: items.clone() }).await?;
            Ok::<_, anyhow::Error>(())
        };
        let shown = async {
            let () = b.hear().await?;
            Ok::<_, anyhow::Error>(begin.elapsed())
        };
        let ((), shown) = tokio::try_join!(put, shown)?;
        Ok(shown)
    }

    pub(super) async fn wire(&mut self) -> Result<Wire> {
        let before = self.before;
        let all = match self.kind {
            Kind::IrohDocs => {
                let b = self.b()?;
                relay::settled(async || b.ask(Request::Traffic).await).await?
            }
            _ => relay::settled(async || Ok(self.traffic.bytes())).await?,
        } - before;
        Ok(Wire { all, bare: (!matches!(self.kind, Kind::IrohDocs)).then_some(all) })
    }

    pub(super) async fn shown(&mut self) -> Result<Shown> {
        self.b()?.ask(Request::Sum).await
    }

    pub(super) fn peaks(&mut self) -> Result<(u64, u64)> {
        let b = self.b.as_ref().map_or(Ok(0), |b| b.process.peak())?;
        Ok((self.a.process.peak()?, self.peak_b.max(b)))
    }

    pub(super) fn disk_b(&self) -> Result<u64> {
        process::disk(&self.dir.join("b"))
    }

    fn b(&mut self) -> Result<&mut Peer> {
        self.b.as_mut().context("b is not running")
    }

    async fn connect(&mut self) -> Result<()> {
        if let Some(ticket) = self.address["ticket"].as_str() {
            let to = ticket.to_owned();
            self.before = self.b()?.ask(Request::Traffic).await?;
            return self.b()?.ask(Request::Connect { to }).await;
        }
        let address: SocketAddr = self.address["address"].as_str().context("a has no address")?.parse()?;
        // One address for good: PouchDB finds its checkpoint by the URL of the other side.
        let relay = match self.relay.take() {
            Some(relay) => relay,
            None => TcpRelay::open(address, &self.traffic).await?,
        };
        let to = relay.address().to_string();
        (self.relay, self.before) = (Some(relay), self.traffic.bytes());
        self.b()?.ask(Request::Connect { to }).await
    }

    async fn expect(&mut self, items: &Items) -> Result<()> {
        for items in chunks(items) {
            self.b()?.ask::<()>(Request::Expect { items, entities: 0 }).await?;
        }
        Ok(())
    }

    async fn tell_names(&mut self) -> Result<()> {
        let names = self.names.clone();
        if names.is_empty() { Ok(()) } else { self.b()?.ask(Request::Names { names }).await }
    }
}

impl Peer {
    fn start(kind: &Kind, dir: &Path, name: &str) -> Result<Self> {
        let data = dir.join(name);
        let mut command = match kind {
            Kind::Pouchdb { node, script } => {
                let mut command = Command::new(node);
                command.arg(script);
                command
            }
            Kind::Samod | Kind::IrohDocs => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["peer", if matches!(kind, Kind::Samod) { "samod" } else { "iroh-docs" }]);
                command
            }
        };
        // Working directory: what a library writes beside its data is its own too.
        std::fs::create_dir_all(&data)?;
        let log = std::fs::File::options().create(true).append(true).open(dir.join(format!("{name}.log")))?;
        command.arg(&data).current_dir(&data).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut process = Process::start(&mut command)?;
        let input = process.child().stdin.take().context("no standard input")?;
        let output = process.child().stdout.take().context("no standard output")?;
        Ok(Self { process, input, output: BufReader::new(output).lines() })
    }

    async fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Result<T> {
        self.say(&request).await?;
        self.hear().await
    }

    async fn say(&mut self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.input.write_all(&line).await.context("a peer's process has ended")?;
        Ok(self.input.flush().await?)
    }

    async fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.output.next_line().await?.context("a peer's process has ended")?;
        match serde_json::from_str(&line)? {
            Answer::Ok(value) => Ok(serde_json::from_value(value)?),
            Answer::Error(why) => bail!(why),
        }
    }
}

fn chunks(items: &Items) -> impl Iterator<Item = Items> {
    let mut rest = items.iter();
    std::iter::from_fn(move || {
        let chunk: Items = rest.by_ref().take(ITEMS_MAX).map(|(id, fields)| (id.clone(), fields.clone())).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}
