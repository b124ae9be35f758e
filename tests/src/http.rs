//! A small client of a node's HTTP API.

use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body as sent.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as JSON lines.
    #[must_use]
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.body.lines().filter(|line| !line.is_empty()).map(parse).collect()
    }

    /// A header, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Itself, if the status is as expected.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The slug of the problem that was answered.
    #[must_use]
    #[track_caller]
    pub fn problem(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// A request that failed below HTTP: the node is gone, or was killed in the middle.
#[derive(Debug)]
pub struct Gone(pub String);

/// Client of one node.
#[derive(Debug)]
pub struct Api {
    runtime: Runtime,
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    /// Client of the node at `http` (host:port).
    #[must_use]
    pub fn new(http: &str, token: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(120)).build().expect("a client");
        Self { runtime, client, base: format!("http://{http}"), token: token.to_owned() }
    }

    /// Where it asks (host:port).
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap_or(&self.base)
    }

    /// The token it shows.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request with extra headers.
    ///
    /// # Errors
    /// [`Gone`]: no answer.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Gone> {
        let method: reqwest::Method = method.parse().expect("a method");
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let gone = |error: reqwest::Error| Gone(format!("{error:?}"));
        self.runtime.block_on(async {
            let response = request.send().await.map_err(gone)?;
            let status = response.status().as_u16();
            let text = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let headers = response.headers().iter().map(text).collect();
            let body = response.text().await.map_err(gone)?;
            Ok(Answer { status, headers, body })
        })
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
        self.try_send(method, path, headers, body).unwrap_or_else(|Gone(error)| panic!("{method} {path}: {error}"))
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    /// PUT of a JSON value.
    #[track_caller]
    pub fn put(&self, path: &str, value: &Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], Some(value.to_string()))
    }

    /// PATCH with a JSON Merge Patch.
    #[track_caller]
    pub fn merge(&self, path: &str, value: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/merge-patch+json")], Some(value.to_string()))
    }

    /// PATCH with typed operations.
    #[track_caller]
    pub fn ops(&self, path: &str, value: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/tombolo-ops+json")], Some(value.to_string()))
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], None)
    }

    /// POST of a JSON value.
    #[track_caller]
    pub fn post(&self, path: &str, value: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], Some(value.to_string()))
    }
}
