//! The raw limits: redb alone, Automerge alone, QUIC alone, with the settings and sizes of the product.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use automerge::transaction::Transactable as _;
use automerge::{AutoCommit, ROOT};
use quinn::{Connection, Endpoint};
use redb::{Database, TableDefinition};
use tombolo_transport::{Identity, Settings, config};

use super::report::Times;
use super::rows::mix;
use crate::error::CliError;

/// One random-order row per change and two in order, as the node's store has them.
const ENTITIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entities");
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const JOURNAL: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("journal");
const ENTITY_BYTES: usize = 320;
const ENTRY_BYTES: usize = 280;
const JOURNAL_BYTES: usize = 40;

/// Commits of redb alone.
#[derive(Debug)]
pub(super) struct Commits {
    pub(super) times: Times,
    rows: u64,
    taken: Duration,
}

impl Commits {
    pub(super) fn rows_per_s(&self) -> f64 {
        self.rows as f64 / self.taken.as_secs_f64().max(1e-9)
    }
}

/// Commits with two phases and quick repair, as the product does.
pub(super) fn commits(path: &Path, commits: u64, rows: u64) -> Result<Commits, CliError> {
    commits_of(path, commits, rows).map_err(|error| CliError::failed("redb alone failed").cause(error))
}

fn commits_of(path: &Path, commits: u64, rows: u64) -> Result<Commits, redb::Error> {
    let database = Database::create(path)?;
    let (mut times, begin) = (Times::default(), Instant::now());
    for commit in 0..commits {
        let begin = Instant::now();
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        {
            let mut entities = transaction.open_table(ENTITIES)?;
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut journal = transaction.open_table(JOURNAL)?;
            for row in commit * rows..(commit + 1) * rows {
                let (random, ordered) = (mix(row).to_be_bytes(), row.to_be_bytes());
                entities.insert(random.as_slice(), [random[0]; ENTITY_BYTES].as_slice())?;
                entries.insert(ordered.as_slice(), [random[1]; ENTRY_BYTES].as_slice())?;
                journal.insert(ordered.as_slice(), [random[2]; JOURNAL_BYTES].as_slice())?;
            }
        }
        transaction.commit()?;
        times.add(begin.elapsed());
    }
    Ok(Commits { times, rows: commits * rows, taken: begin.elapsed() })
}

/// Entities per second: a new document, one change applied, saved.
pub(super) fn automerge_applies(entities: u64) -> Result<f64, CliError> {
    let failed = |error: automerge::AutomergeError| CliError::failed("Automerge alone failed").cause(error);
    let mut author = AutoCommit::new();
    for (key, value) in
        [("id", "c000000"), ("name", "Sant Julià de Lòria"), ("country", "AD"), ("admin1", "06"), ("admin2", "")]
    {
        author.put(ROOT, key, value).map_err(failed)?;
    }
    author.put(ROOT, "lat", 42.46372).map_err(failed)?;
    author.put(ROOT, "lng", 1.49129).map_err(failed)?;
    let changes = author.get_changes(&[]);
    let (begin, mut bytes) = (Instant::now(), 0);
    for _ in 0..entities {
        let mut document = AutoCommit::new();
        document.apply_changes(changes.iter().cloned()).map_err(failed)?;
        bytes += document.save().len();
    }
    let taken = begin.elapsed();
    if bytes == 0 {
        Err(CliError::failed("Automerge saved nothing"))
    } else {
        Ok(entities as f64 / taken.as_secs_f64())
    }
}

/// Round trips of 300 bytes on one stream.
pub(super) async fn quic_round_trips(count: u64) -> Result<Times, CliError> {
    let pair = Pair::connect().await?;
    let echo = pair.server.clone();
    tokio::spawn(async move {
        let Ok((mut send, mut receive)) = echo.accept_bi().await else { return };
        let mut buffer = [0; 300];
        while receive.read_exact(&mut buffer).await.is_ok() && send.write_all(&buffer).await.is_ok() {}
    });
    let (mut send, mut receive) = pair.client.open_bi().await.map_err(quic)?;
    let (mut times, mut buffer) = (Times::default(), [7; 300]);
    for _ in 0..count {
        let begin = Instant::now();
        send.write_all(&buffer).await.map_err(quic)?;
        receive.read_exact(&mut buffer).await.map_err(quic)?;
        times.add(begin.elapsed());
    }
    Ok(times)
}

/// Bytes per second on one stream.
pub(super) async fn quic_bulk(bytes: usize) -> Result<f64, CliError> {
    let pair = Pair::connect().await?;
    let sender = pair.server.clone();
    let begin = Instant::now();
    tokio::spawn(async move {
        let Ok(mut send) = sender.open_uni().await else { return };
        let piece = vec![7; 256 * 1024];
        for _ in 0..bytes / piece.len() {
            if send.write_all(&piece).await.is_err() {
                return;
            }
        }
        // Nothing more to send: the other side reads to the end.
        send.finish().ok();
        send.stopped().await.ok();
    });
    let mut receive = pair.client.accept_uni().await.map_err(quic)?;
    let mut read = 0;
    while let Some(chunk) = receive.read_chunk(1 << 20, true).await.map_err(quic)? {
        read += chunk.bytes.len();
    }
    Ok(read as f64 / begin.elapsed().as_secs_f64().max(1e-9))
}

/// Two endpoints on loopback that know each other.
struct Pair {
    client: Connection,
    server: Connection,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    async fn connect() -> Result<Self, CliError> {
        let settings = Settings::default();
        let (one, other) = (identity()?, identity()?);
        let listening = endpoint(&one, &settings, Some(config::server(&one, &settings).map_err(quic)?))?;
        let dialling = endpoint(&other, &settings, None)?;
        let client = config::client(&other, &settings, None, Arc::new(OnceLock::new())).map_err(quic)?;
        let address = listening.local_addr().map_err(quic)?;
        let dial = dialling.connect_with(client, address, "localhost").map_err(quic)?;
        let accept = async { listening.accept().await.ok_or_else(|| quic("nobody came"))?.await.map_err(quic) };
        let (client, server) = tokio::try_join!(async { dial.await.map_err(quic) }, accept)?;
        Ok(Self { client, server, _endpoints: [listening, dialling] })
    }
}

fn endpoint(
    identity: &Identity,
    settings: &Settings,
    server: Option<quinn::ServerConfig>,
) -> Result<Endpoint, CliError> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(quic)?;
    let config = config::endpoint(identity, settings).map_err(quic)?;
    let runtime = quinn::default_runtime().ok_or_else(|| quic("there is no async runtime"))?;
    Endpoint::new(config, server, socket, runtime).map_err(quic)
}

fn identity() -> Result<Identity, CliError> {
    Identity::generate().map_err(quic)
}

fn quic(error: impl ToString) -> CliError {
    CliError::failed("QUIC alone failed").cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redb_and_automerge_alone() {
        let dir = tempfile::tempdir().expect("tempdir");
        let redb = commits(&dir.path().join("alone.redb"), 3, 10).expect("commits");
        assert!(redb.rows_per_s() > 0.0 && redb.times.p50() > Duration::ZERO);
        assert!(automerge_applies(10).expect("applies") > 0.0);
    }

    #[tokio::test]
    async fn quic_alone() {
        assert!(quic_round_trips(10).await.expect("echoes").p50() > Duration::ZERO);
        assert!(quic_bulk(1 << 20).await.expect("reads") > 0.0);
    }
}
