//! One node process and its HTTP API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::process::Command;

use super::address;
use crate::process::Process;

/// A node that does not answer by then does not start.
const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Node {
    process: Process,
    client: Client,
    base: String,
    token: String,
    listen: SocketAddr,
}

/// Lines of a stream that the node answers with.
#[derive(Debug)]
pub(super) struct Events {
    response: Response,
    buffer: Vec<u8>,
    read: usize,
}

impl Node {
    /// Starts it and waits until it takes requests.
    pub(super) async fn start(program: &Path, data: &Path, advertise: SocketAddr) -> Result<Self> {
        std::fs::remove_file(data.join("node.json")).ok();
        let log = std::fs::File::options().create(true).append(true).open(data.join("log"))?;
        let mut command = Command::new(program);
        command.arg("--data").arg(data).env_remove("TOMBOLO_DATA");
        command.args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--no-mdns", "--advertise"]);
        command.arg(advertise.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = Process::start(&mut command)?;
        let (begin, mut poll) = (Instant::now(), tokio::time::interval(POLL));
        loop {
            poll.tick().await;
            if let Some(status) = process.child().try_wait()? {
                bail!("a node ended at once ({status}): {}", log_end(data));
            }
            if begin.elapsed() > START_LIMIT {
                bail!("a node does not become ready: {}", log_end(data));
            }
            let Some((base, token, listen)) = announced(data, &process) else { continue };
            let client = Client::builder().no_proxy().build()?;
            if client.get(format!("{base}/readyz")).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Self { process, client, base, token, listen });
            }
        }
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.process.terminate();
        self.process.ended().await
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// The socket it speaks QUIC from.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        json(self.request(Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        json(self.request(Method::POST, path).json(body)).await
    }

    /// A merge patch.
    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<()> {
        let request = self.request(Method::PATCH, path).header("content-type", "application/merge-patch+json");
        good(request.body(body.to_string())).await.map(|_| ())
    }

    /// Sends NDJSON; answers the counters at the end.
    pub(super) async fn import(&self, path: &str, body: Vec<u8>) -> Result<Value> {
        let request = self.request(Method::POST, path).header("content-type", "application/x-ndjson").body(body);
        let mut lines = Events::of(good(request).await?);
        let mut last = Value::Null;
        while let Some(line) = lines.next().await? {
            let mut value: Value = serde_json::from_slice(&line)?;
            if value.get("error").is_some() {
                bail!("import: {value}");
            }
            last = value["done"].take();
        }
        Ok(last)
    }

    /// Opens a stream of lines.
    pub(super) async fn events(&self, path: &str) -> Result<Events> {
        Ok(Events::of(good(self.request(Method::GET, path)).await?))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }
}

impl Events {
    fn of(response: Response) -> Self {
        Self { response, buffer: Vec::new(), read: 0 }
    }

    /// The next line that is not empty; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(length) = self.buffer[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer[self.read..self.read + length].to_vec();
                self.read += length + 1;
                if line.is_empty() { continue } else { return Ok(Some(line)) }
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

async fn json(request: RequestBuilder) -> Result<Value> {
    Ok(good(request).await?.json().await?)
}

/// The answer, unless it is a problem.
async fn good(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, url) = (response.status(), response.url().to_string());
    bail!("{url} answers {status}: {}", response.text().await.unwrap_or_default());
}

/// What this very process has written about itself.
fn announced(data: &Path, process: &Process) -> Option<(String, String, SocketAddr)> {
    let file: Value = serde_json::from_slice(&std::fs::read(data.join("node.json")).ok()?).ok()?;
    let is_this = file["pid"].as_u64() == process.id().map(u64::from);
    let token = std::fs::read_to_string(data.join("token")).ok()?;
    let http = address(&file, "http").ok()?;
    is_this.then_some((format!("http://{http}"), token.trim().to_owned(), address(&file, "listen").ok()?))
}

/// The last lines of a node's log.
fn log_end(data: &Path) -> String {
    let path: PathBuf = data.join("log");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("\n")
}
