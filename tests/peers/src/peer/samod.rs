//! samod: one Automerge document per entity, files in a directory, TCP.
//!
//! Every document is open on both sides, as of an application that shows them all: only then does samod announce them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use ::samod::storage::TokioFilesystemStorage;
use ::samod::{BackoffConfig, DialerHandle, DocHandle, DocumentId, Repo};
use anyhow::{Context as _, Result, anyhow};
use automerge::transaction::Transactable as _;
use automerge::{Automerge, AutomergeError, ROOT, ReadDoc as _, ScalarValue};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::Peer;
use crate::talk::Names;
use crate::work::{Items, Shown, Sum};

/// Documents that are opened or sought at once.
const AT_ONCE: usize = 256;
/// When a document is asked for again that the other side did not have.
const AGAIN: Duration = Duration::from_millis(20);

type Changes = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// One repo.
pub(super) struct Samod {
    repo: Repo,
    address: SocketAddr,
    names: BTreeMap<String, DocumentId>,
    handles: BTreeMap<String, DocHandle>,
    dialer: Option<DialerHandle<Infallible>>,
    expected: Vec<(String, Map<String, Value>, Option<Changes>)>,
}

impl Samod {
    pub(super) async fn start(data: &Path) -> Result<Self> {
        let repo = Repo::build_tokio().with_storage(TokioFilesystemStorage::new(data)).load().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let acceptor = repo.make_acceptor(url::Url::parse(&format!("tcp://{address}"))?)?;
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).ok();
                if acceptor.accept_tokio_io(socket).is_err() {
                    return;
                }
            }
        });
        let (names, handles) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { repo, address, names, handles, dialer: None, expected: Vec::new() })
    }

    /// Handles of all documents that are named and not open yet.
    async fn find_all(&mut self) -> Result<()> {
        let missing: Vec<(String, DocumentId)> = self
            .names
            .iter()
            .filter(|(id, _)| !self.handles.contains_key(*id))
            .map(|(id, name)| (id.clone(), name.clone()))
            .collect();
        let repo = self.repo.clone();
        let mut found = stream::iter(missing)
            .map(|(id, name)| {
                let repo = repo.clone();
                async move { Ok::<_, anyhow::Error>((id, find(&repo, name).await?)) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(one) = found.next().await {
            let (id, handle) = one?;
            self.handles.insert(id, handle);
        }
        Ok(())
    }
}

impl Peer for Samod {
    async fn put(&mut self, items: Items) -> Result<Names> {
        let mut names = Names::new();
        for (id, fields) in items {
            if let Some(handle) = self.handles.get(&id) {
                handle.with_document(|doc| write(doc, &fields))?;
                continue;
            }
            let mut doc = Automerge::new();
            write(&mut doc, &fields)?;
            let handle = self.repo.create(doc).await?;
            names.insert(id.clone(), handle.document_id().to_string());
            self.names.insert(id.clone(), handle.document_id().clone());
            self.handles.insert(id, handle);
        }
        Ok(names)
    }

    async fn address(&mut self) -> Result<Value> {
        Ok(json!({ "address": self.address }))
    }

    async fn names(&mut self, names: Names) -> Result<()> {
        for (id, name) in names {
            let name = name.parse().map_err(|error| anyhow!("{name} is no document id: {error:?}"))?;
            self.names.insert(id, name);
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<()> {
        self.find_all().await
    }

    async fn connect(&mut self, to: String) -> Result<()> {
        let url = url::Url::parse(&format!("tcp://{to}"))?;
        let dialer = self.repo.dial_tcp(url, BackoffConfig::default());
        self.dialer = Some(dialer.map_err(|error| anyhow!("no dialer: {error}"))?);
        Ok(())
    }

    async fn expect(&mut self, items: Items, _: u64) -> Result<()> {
        for (id, fields) in items {
            let changes = self.handles.get(&id).map(|handle| handle.changes().map(|_| ()).boxed());
            self.expected.push((id, fields, changes));
        }
        Ok(())
    }

    async fn shown(&mut self) -> Result<()> {
        self.find_all().await?;
        for (id, fields, changes) in std::mem::take(&mut self.expected) {
            let handle = self.handles.get(&id).with_context(|| format!("{id} has no name"))?;
            let mut changes = changes.unwrap_or_else(|| handle.changes().map(|_| ()).boxed());
            while handle.with_document(|doc| read(doc))? != fields {
                changes.next().await.with_context(|| format!("{id} is gone"))?;
            }
        }
        Ok(())
    }

    async fn settled(&mut self) -> Result<()> {
        let dialer = self.dialer.as_ref().context("not connected")?;
        dialer.established().await.map_err(|error| anyhow!("no connection: {error:?}"))?;
        let connection = dialer.connection_id().context("the connection is gone")?;
        for handle in self.handles.values() {
            handle.we_have_their_changes(connection).await;
        }
        Ok(())
    }

    fn traffic(&self) -> Option<u64> {
        None
    }

    async fn sum(&mut self) -> Result<Shown> {
        let mut sum = Sum::default();
        for (id, handle) in &self.handles {
            sum.add(id, &handle.with_document(|doc| read(doc))?);
        }
        Ok(sum.shown())
    }

    async fn stop(self) -> Result<()> {
        self.repo.stop().await;
        Ok(())
    }
}

async fn find(repo: &Repo, name: DocumentId) -> Result<DocHandle> {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        again.tick().await;
        if let Some(handle) = repo.find(name.clone()).await? {
            return Ok(handle);
        }
    }
}

/// One change with the fields that differ.
fn write(doc: &mut Automerge, fields: &Map<String, Value>) -> Result<()> {
    let old = read(doc)?;
    doc.transact::<_, _, AutomergeError>(|transaction| {
        for (name, value) in fields.iter().filter(|(name, value)| old.get(*name) != Some(value)) {
            transaction.put(ROOT, name.as_str(), scalar(value))?;
        }
        Ok(())
    })
    .map_err(|failure| anyhow!("a change failed: {}", failure.error))?;
    Ok(())
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(value) => ScalarValue::Boolean(*value),
        Value::Number(number) => ScalarValue::Int(number.as_i64().unwrap_or_default()),
        Value::String(text) => ScalarValue::Str(text.as_str().into()),
        _ => ScalarValue::Null,
    }
}

fn read(doc: &Automerge) -> Result<Map<String, Value>> {
    let mut fields = Map::new();
    for name in doc.keys(ROOT) {
        let Some((automerge::Value::Scalar(scalar), _)) = doc.get(ROOT, name.as_str())? else { continue };
        let value = match scalar.as_ref() {
            ScalarValue::Boolean(value) => json!(value),
            ScalarValue::Int(value) => json!(value),
            ScalarValue::Str(text) => json!(text.as_str()),
            _ => Value::Null,
        };
        fields.insert(name, value);
    }
    Ok(fields)
}
