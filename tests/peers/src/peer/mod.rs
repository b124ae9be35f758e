//! The other side of [`crate::talk`]: a process that is one peer of samod or iroh-docs.

#[cfg(feature = "iroh")]
mod iroh;
#[cfg(feature = "samod")]
mod samod;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::talk::{Answer, Names, Request};
use crate::work::{Items, Shown};

/// A system under measurement, as one of its applications sees it.
trait Peer: Sized {
    async fn put(&mut self, items: Items) -> Result<Names>;
    async fn address(&mut self) -> Result<Value>;
    async fn names(&mut self, names: Names) -> Result<()>;
    async fn open(&mut self) -> Result<()>;
    async fn connect(&mut self, to: String) -> Result<()>;
    async fn expect(&mut self, items: Items, entities: u64) -> Result<()>;
    async fn shown(&mut self) -> Result<()>;
    async fn settled(&mut self) -> Result<()>;
    fn traffic(&self) -> Option<u64>;
    async fn sum(&mut self) -> Result<Shown>;
    async fn stop(self) -> Result<()>;
}

/// Runs one until it is told to stop, or its driver is gone.
pub(crate) async fn run(system: &str, data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    match system {
        #[cfg(feature = "samod")]
        "samod" => serve(samod::Samod::start(data).await?).await,
        #[cfg(feature = "iroh")]
        "iroh-docs" => serve(iroh::Iroh::start(data).await?).await,
        other => anyhow::bail!("this build knows no peer {other}"),
    }
}

async fn serve<P: Peer>(mut peer: P) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let request: Request = serde_json::from_str(&line)?;
        if matches!(request, Request::Stop) {
            let stopped = peer.stop().await.map(|()| Value::Null);
            return say(stopped).await;
        }
        say(answer(&mut peer, request).await).await?;
    }
    // The driver is gone. A library may hold the process up with threads of its own.
    std::process::exit(0);
}

async fn answer<P: Peer>(peer: &mut P, request: Request) -> Result<Value> {
    Ok(match request {
        Request::Put { items } => json!(peer.put(items).await?),
        Request::Address => peer.address().await?,
        Request::Names { names } => json!(peer.names(names).await?),
        Request::Open => json!(peer.open().await?),
        Request::Connect { to } => json!(peer.connect(to).await?),
        Request::Expect { items, entities } => json!(peer.expect(items, entities).await?),
        Request::Shown => json!(peer.shown().await?),
        Request::Settled => json!(peer.settled().await?),
        Request::Traffic => json!(peer.traffic()),
        Request::Sum => json!(peer.sum().await?),
        Request::Stop => Value::Null,
    })
}

async fn say(what: Result<Value>) -> Result<()> {
    let answer = what.map_or_else(|error| Answer::Error(format!("{error:#}")), Answer::Ok);
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let mut out = tokio::io::stdout();
    out.write_all(&line).await?;
    Ok(out.flush().await?)
}
