//! iroh-docs: one document, one entry per entity whose content is the entity's JSON, redb files, QUIC on loopback
//! without relays or look-ups elsewhere.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::iroh::endpoint::presets;
use ::iroh::protocol::Router;
use ::iroh::{Endpoint, RelayMode, SecretKey};
use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::{Stream, StreamExt as _};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{ALPN as BLOBS_ALPN, BlobsProtocol, Hash};
use iroh_docs::api::Doc;
use iroh_docs::api::protocol::{AddrInfoOptions, ShareMode};
use iroh_docs::engine::LiveEvent;
use iroh_docs::protocol::Docs;
use iroh_docs::store::Query;
use iroh_docs::{ALPN as DOCS_ALPN, AuthorId, ContentStatus, DocTicket};
use iroh_gossip::net::{GOSSIP_ALPN, Gossip};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::Peer;
use crate::talk::Names;
use crate::work::{Items, Shown, Sum, text};

/// One node.
pub(super) struct Iroh {
    endpoint: Endpoint,
    router: Router,
    blobs: FsStore,
    docs: Docs,
    author: AuthorId,
    doc: Option<Doc>,
    seen: Arc<Seen>,
    entities: u64,
}

/// What has come, by the hash of its content: an entity shows when its entry and its content are here.
#[derive(Debug, Default)]
struct Seen {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: HashSet<Hash>,
    contents: HashSet<Hash>,
    expected: HashSet<Hash>,
    shown: u64,
    synced: bool,
}

impl Iroh {
    pub(super) async fn start(data: &Path) -> Result<Self> {
        let secret = identity(&data.join("identity"))?;
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(secret)
            .relay_mode(RelayMode::Disabled)
            .clear_ip_transports()
            .bind_addr((Ipv4Addr::LOCALHOST, port(&data.join("port"))))?
            .bind()
            .await?;
        if let Some(bound) = endpoint.bound_sockets().first() {
            std::fs::write(data.join("port"), bound.port().to_string())?;
        }
        let blobs = FsStore::load(data.join("blobs")).await.map_err(|error| anyhow!("no blobs: {error}"))?;
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let docs = Docs::persistent(directory(data)?);
        let docs = docs.spawn(endpoint.clone(), (*blobs).clone(), gossip.clone()).await?;
        let router = Router::builder(endpoint.clone())
            .accept(BLOBS_ALPN, BlobsProtocol::new(&blobs, None))
            .accept(GOSSIP_ALPN, gossip)
            .accept(DOCS_ALPN, docs.clone())
            .spawn();
        let author = docs.author_default().await?;
        Ok(Self { endpoint, router, blobs, docs, author, doc: None, seen: Arc::default(), entities: 0 })
    }

    fn doc(&self) -> Result<&Doc> {
        self.doc.as_ref().context("there is no document yet")
    }

    fn watch(&self, events: impl Stream<Item = Result<LiveEvent>> + Send + Unpin + 'static) {
        tokio::spawn(watch(events, self.seen.clone()));
    }
}

impl Peer for Iroh {
    async fn put(&mut self, items: Items) -> Result<Names> {
        if self.doc.is_none() {
            self.doc = Some(self.docs.create().await?);
        }
        let doc = self.doc()?;
        for (id, fields) in items {
            doc.set_bytes(self.author, id, text(&fields)).await?;
        }
        Ok(Names::new())
    }

    async fn address(&mut self) -> Result<Value> {
        let doc = self.doc()?;
        doc.start_sync(Vec::new()).await?;
        let ticket = doc.share(ShareMode::Write, AddrInfoOptions::Addresses).await?;
        Ok(json!({ "ticket": ticket.to_string() }))
    }

    async fn names(&mut self, _: Names) -> Result<()> {
        Ok(())
    }

    async fn open(&mut self) -> Result<()> {
        let listed = self.docs.list().await?.next().await.context("the store has no document")?;
        let doc = self.docs.open(listed?.0).await?.context("the document is gone")?;
        self.watch(doc.subscribe().await?);
        self.doc = Some(doc);
        Ok(())
    }

    async fn connect(&mut self, to: String) -> Result<()> {
        let ticket: DocTicket = to.parse().map_err(|error| anyhow!("no ticket: {error}"))?;
        match &self.doc {
            Some(doc) => doc.start_sync(ticket.nodes).await,
            None => {
                let (doc, events) = self.docs.import_and_subscribe(ticket).await?;
                self.watch(Box::pin(events));
                self.doc = Some(doc);
                Ok(())
            }
        }
    }

    async fn expect(&mut self, items: Items, entities: u64) -> Result<()> {
        // What an opened store held already is there.
        self.entities = if self.doc.is_some() { 0 } else { entities };
        let hashes = items.values().map(|fields| Hash::new(text(fields)));
        lock(&self.seen.state).expected.extend(hashes);
        Ok(())
    }

    async fn shown(&mut self) -> Result<()> {
        loop {
            let news = self.seen.news.notified();
            {
                let state = lock(&self.seen.state);
                if state.expected.is_empty() && state.shown >= self.entities {
                    return Ok(());
                }
            }
            news.await;
        }
    }

    async fn settled(&mut self) -> Result<()> {
        loop {
            let news = self.seen.news.notified();
            if lock(&self.seen.state).synced {
                return Ok(());
            }
            news.await;
        }
    }

    fn traffic(&self) -> Option<u64> {
        let socket = &self.endpoint.metrics().socket;
        Some(socket.send_ipv4.get() + socket.recv_data_ipv4.get())
    }

    async fn sum(&mut self) -> Result<Shown> {
        let mut sum = Sum::default();
        let mut entries = Box::pin(self.doc()?.get_many(Query::single_latest_per_key().build()).await?);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let content = self.blobs.blobs().get_bytes(entry.content_hash()).await?;
            let fields: Map<String, Value> = serde_json::from_slice(&content)?;
            sum.add(&String::from_utf8_lossy(entry.key()), &fields);
        }
        Ok(sum.shown())
    }

    async fn stop(self) -> Result<()> {
        // The router ends the protocols, the endpoint and the blobs.
        self.router.shutdown().await?;
        Ok(())
    }
}

async fn watch(mut events: impl Stream<Item = Result<LiveEvent>> + Unpin, seen: Arc<Seen>) {
    while let Some(Ok(event)) = events.next().await {
        let mut state = lock(&seen.state);
        match event {
            LiveEvent::InsertRemote { entry, content_status, .. } => {
                let hash = entry.content_hash();
                let complete = content_status == ContentStatus::Complete && state.contents.insert(hash);
                if state.entries.insert(hash) && (complete || state.contents.contains(&hash)) {
                    state.show(hash);
                }
            }
            LiveEvent::ContentReady { hash } => {
                if state.contents.insert(hash) && state.entries.contains(&hash) {
                    state.show(hash);
                }
            }
            LiveEvent::SyncFinished(sync) => {
                state.synced |= sync.result.as_ref().map_or_else(|error| closed_early(error), |_| true);
                if let Err(error) = sync.result {
                    // Into the log of this process.
                    writeln!(std::io::stderr(), "a sync failed: {error}").ok();
                }
            }
            _ => continue,
        }
        drop(state);
        seen.news.notify_waiters();
    }
}

/// The sync itself was done, but the other side closed the connection before this one had closed its streams.
fn closed_early(error: &str) -> bool {
    error.starts_with("Failed to close connection")
}

impl State {
    fn show(&mut self, hash: Hash) {
        self.shown += 1;
        self.expected.remove(&hash);
    }
}

/// The key of the node: a node that starts again is the same one.
fn identity(path: &PathBuf) -> Result<SecretKey> {
    if let Ok(raw) = std::fs::read(path) {
        let Ok(raw) = <[u8; 32]>::try_from(raw) else { bail!("{} is no key", path.display()) };
        return Ok(SecretKey::from_bytes(&raw));
    }
    let secret = SecretKey::generate();
    std::fs::write(path, secret.to_bytes())?;
    Ok(secret)
}

/// The port it had before, if it had one: the other side still knows it there.
fn port(path: &Path) -> u16 {
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn directory(data: &Path) -> Result<PathBuf> {
    let path = data.join("docs");
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
