//! Real node processes on this machine, for `demo` and `bench`: this very program as `run`, with its own data
//! directory, its own ports, and nothing special.

#[cfg(feature = "bench")]
mod measured;
mod relay;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::client::Api;
use crate::data_dir::DataDir;
use crate::error::CliError;
use crate::model::{Created, Invited, Joined, SpaceStatus, Status};
use crate::target::space_path;

#[cfg(feature = "bench")]
pub(crate) use measured::frames_at_rest;
pub(crate) use relay::{Network, Relay};

/// A node that does not answer by then does not start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// How often it is looked whether a process is ready: what happens right after is measured.
const READY_POLL: Duration = Duration::from_micros(500);
const _: () = assert!(READY_POLL.as_micros() <= POLL.as_micros() && POLL.as_millis() < START_TIMEOUT.as_millis());

/// A node process. It is killed and reaped when this is dropped.
#[derive(Debug)]
pub(crate) struct LocalNode {
    pub(crate) name: String,
    pub(crate) api: Api,
    data: DataDir,
    #[cfg(feature = "bench")]
    advertise: Option<String>,
    child: Reaped,
}

/// What a process takes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    #[cfg(feature = "bench")]
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

#[derive(Debug)]
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell otherwise.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl LocalNode {
    /// Makes a node in `dir/name` and starts it. With a relay, others are told the relay's address only.
    pub(crate) async fn start(dir: &Path, name: &str, relay: Option<&Relay>) -> Result<Self, CliError> {
        let data = DataDir::at(dir.join(name));
        let output = command(&data)?.args(["init", "--name", name]).output();
        let output = output.map_err(|error| CliError::failed("a node could not be made").cause(error))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ").to_owned();
            return Err(CliError::failed(format!("the node {name} could not be made")).cause(why));
        }
        let advertise = relay.map(|relay| relay.address().to_string());
        let child = spawn(&data, advertise.as_deref())?;
        let (api, child) = ready(&data, name, child).await?;
        if let Some(relay) = relay {
            relay.lead_to(data.node_file()?.listen_here());
        }
        Ok(Self {
            name: name.to_owned(),
            api,
            data,
            #[cfg(feature = "bench")]
            advertise,
            child,
        })
    }

    pub(crate) fn data_path(&self) -> &Path {
        self.data.path()
    }

    /// The socket it speaks QUIC from.
    pub(crate) fn listen(&self) -> Result<std::net::SocketAddr, CliError> {
        Ok(self.data.node_file()?.listen_here())
    }

    /// From /proc; nothing elsewhere.
    pub(crate) fn memory(&self) -> Memory {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.0.id())).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Memory {
            #[cfg(feature = "bench")]
            resident: field("VmRSS:").unwrap_or_default(),
            peak: field("VmHWM:").unwrap_or_default(),
        }
    }

    pub(crate) async fn status(&self) -> Result<Status, CliError> {
        self.api.get("/v1/status").await
    }

    /// The space as this node sees it; empty while it has none.
    pub(crate) async fn space(&self, space: &str) -> Result<SpaceStatus, CliError> {
        Ok(self.status().await?.space(space).cloned().unwrap_or_default())
    }

    pub(crate) async fn create_space(&self, name: &str) -> Result<Created, CliError> {
        self.api.post("/v1/spaces", &json!({ "name": name })).await
    }

    pub(crate) async fn invite(&self, space: &str) -> Result<String, CliError> {
        let body = json!({ "role": "writer", "expires_in_s": 3_600 });
        let invited: Invited = self.api.post(&format!("{}/invites", space_path(space)), &body).await?;
        Ok(invited.ticket)
    }

    pub(crate) async fn join(&self, ticket: &str) -> Result<(), CliError> {
        let joined: Joined = self.api.post("/v1/join?timeout=20s", &json!({ "ticket": ticket })).await?;
        match joined.state.as_str() {
            "joined" => Ok(()),
            state => {
                Err(CliError::failed(format!("the node {} could not join", self.name)).cause(format!("it is {state}")))
            }
        }
    }
}

/// Asks until the answer is good. For conditions that come about by themselves.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, CliError>,
) -> Result<T, CliError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(CliError::failed(format!("{what} has not come about within {} s", limit.as_secs())));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until all nodes have equal frontiers and equal states with as many entities; answers these.
pub(crate) async fn in_step(
    nodes: &[&LocalNode],
    space: &str,
    entities: Option<u64>,
    limit: Duration,
) -> Result<SpaceStatus, CliError> {
    until("equal digests on all nodes", limit, async || {
        let mut first: Option<SpaceStatus> = None;
        for node in nodes {
            let seen = node.space(space).await?;
            let same = first.as_ref().is_none_or(|first| first.frontier == seen.frontier && first.state == seen.state);
            if seen.state.is_empty() || !same || entities.is_some_and(|entities| entities != seen.entities) {
                return Ok(None);
            }
            first.get_or_insert(seen);
        }
        Ok(first)
    })
    .await
}

/// blake3 and size of a node's export of a space.
pub(crate) async fn export_hash(node: &LocalNode, space: &str) -> Result<(blake3::Hash, u64), CliError> {
    let request = node.api.stream(Method::GET, &format!("{}/export", space_path(space)));
    let mut response = node.api.send(request).await?;
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    while let Some(chunk) = response.chunk().await.map_err(|error| CliError::http(&error, node.data_path()))? {
        hasher.update(&chunk);
        bytes += chunk.len() as u64;
    }
    Ok((hasher.finalize(), bytes))
}

/// A directory for a few nodes that is removed in the end.
pub(crate) fn temporary(what: &str) -> Result<tempfile::TempDir, CliError> {
    tempfile::Builder::new()
        .prefix(&format!("tombolo-{what}-"))
        .tempdir()
        .map_err(|error| CliError::file("making a temporary directory in", &std::env::temp_dir(), &error))
}

fn command(data: &DataDir) -> Result<Command, CliError> {
    let program: PathBuf =
        std::env::current_exe().map_err(|error| CliError::failed("this program cannot find itself").cause(error))?;
    let mut command = Command::new(program);
    command.arg("--data").arg(data.path()).stdin(Stdio::null()).env_remove("TOMBOLO_DATA");
    Ok(command)
}

fn spawn(data: &DataDir, advertise: Option<&str>) -> Result<Reaped, CliError> {
    let path = data.file("log");
    let log = File::options().create(true).append(true).open(&path);
    let log = log.map_err(|error| CliError::file("opening", &path, &error))?;
    let mut command = command(data)?;
    command.args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--no-mdns"]);
    if let Some(address) = advertise {
        command.args(["--advertise", address]);
    }
    let child = command.stdout(Stdio::null()).stderr(log).spawn();
    child.map(Reaped).map_err(|error| CliError::failed("a node process could not be started").cause(error))
}

/// Waits until this very process has said where it listens and takes requests.
async fn ready(data: &DataDir, name: &str, mut child: Reaped) -> Result<(Api, Reaped), CliError> {
    let failed = |why: &str| CliError::failed(format!("the node {name} {why}")).cause(log_end(data));
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if !matches!(child.0.try_wait(), Ok(None)) {
            return Err(failed("ended at once"));
        }
        if let Some(api) = asked(data, child.0.id()).await {
            return Ok((api, child));
        }
        if Instant::now() > deadline {
            return Err(failed("does not become ready"));
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// The API, if the process is ready.
async fn asked(data: &DataDir, pid: u32) -> Option<Api> {
    let api = data.node_file().ok().filter(|file| file.pid == pid).and_then(|_| Api::of_node(data).ok())?;
    api.answer(api.request(Method::GET, "/readyz")).await.ok()?;
    Some(api)
}

/// The last lines of a node's log.
fn log_end(data: &DataDir) -> String {
    let text = fs::read_to_string(data.file("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
