//! The node's HTTP API (docs/http.md) from the outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use tombolo_crdt::entity::VIEW_BYTES_MAX;

use crate::data_dir::DataDir;
use crate::error::CliError;

/// For answers that come whole. Streams have no such bound.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// No line of a stream is longer: entities are far smaller.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

const _: () = assert!(LINE_BYTES_MAX >= 16 * VIEW_BYTES_MAX, "an event or a row is no line without an end");

/// One node's API. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
    data: PathBuf,
}

/// An answer that came whole.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Whether the node has said 202: what was asked for has not come about yet.
    pub(crate) is_unfinished: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body).map_err(|error| CliError::unexpected("the JSON differs", error))
    }

    /// A header that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }

    /// The entity's revision, without its quotes.
    pub(crate) fn revision(&self) -> Option<String> {
        let tag = self.headers.get("etag")?.to_str().ok()?;
        Some(tag.trim_start_matches("W/").trim_matches('"').to_owned())
    }
}

impl Api {
    /// The node that runs on a data directory.
    pub(crate) fn of_node(data: &DataDir) -> Result<Self, CliError> {
        Self::new(data.node_file()?.http_here(), data.token()?, data.path())
    }

    pub(crate) fn new(address: SocketAddr, token: String, data: &Path) -> Result<Self, CliError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CliError::failed("the HTTP client could not be started").cause(error))?;
        Ok(Self { http, base: format!("http://{address}"), token, data: data.to_owned() })
    }

    /// A request whose answer comes whole and soon.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.stream(method, path).timeout(ANSWER_TIMEOUT)
    }

    /// A request whose answer may take for ever.
    pub(crate) fn stream(&self, method: Method, path: &str) -> RequestBuilder {
        debug_assert!(path.starts_with('/') && path.is_ascii(), "a route is below the API's address, and encoded");
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Sends, and turns every status that says no into an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|error| CliError::http(&error, &self.data))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| CliError::http(&error, &self.data))?;
        Err(CliError::refused(status.as_u16(), &body))
    }

    /// Sends and waits for the whole answer.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Answer, CliError> {
        let response = self.send(request).await?;
        let (headers, is_unfinished) = (response.headers().clone(), response.status() == StatusCode::ACCEPTED);
        let body = response.bytes().await.map_err(|error| CliError::http(&error, &self.data))?;
        Ok(Answer { is_unfinished, headers, body: body.into() })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.answer(self.request(Method::GET, path)).await?.json()
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.answer(self.request(Method::POST, path).json(body)).await?.json()
    }

    /// Sends and reads the answer line by line.
    pub(crate) async fn lines(&self, request: RequestBuilder) -> Result<Lines, CliError> {
        let response = self.send(request).await?;
        Ok(Lines { response, buffer: Vec::new(), read: 0, data: self.data.clone() })
    }
}

/// The lines of a streamed answer.
#[derive(Debug)]
pub(crate) struct Lines {
    response: Response,
    buffer: Vec<u8>,
    read: usize,
    data: PathBuf,
}

impl Lines {
    /// The next line without its end; `None` at the end of the answer. Empty lines (keep-alives) are left out.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        let mut searched = self.read;
        loop {
            while let Some(length) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer[self.read..searched + length].to_vec();
                self.read = searched + length + 1;
                searched = self.read;
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            }
            assert!(self.read <= self.buffer.len(), "no more is taken than was read");
            self.buffer.drain(..self.read);
            self.read = 0;
            searched = self.buffer.len();
            if searched > LINE_BYTES_MAX {
                return Err(CliError::unexpected("a line has no end", format!("{searched} bytes so far")));
            }
            match self.response.chunk().await.map_err(|error| CliError::http(&error, &self.data))? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.buffer))),
            }
        }
    }
}
