//! What people read when something fails: one error type, classified here and nowhere else.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::human;

/// What went wrong, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CliError {
    pub(crate) message: String,
    pub(crate) cause: Option<String>,
    pub(crate) hint: Option<String>,
    pub(crate) kind: Kind,
}

/// The class of an error: decides the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line is wrong.
    Usage,
    /// No node answers.
    NotRunning,
    /// The node said no, with this stable slug and HTTP status.
    Refused(String, u16),
    /// A file, a pipe, a process.
    Io,
    /// The node answered something that is not understood, or the connection broke.
    Protocol,
    /// What was to be shown does not hold.
    Failed,
    /// Of a simulation: something that must never be, and was.
    Violated,
    /// Of a simulation: nothing can be said.
    Inconclusive,
    /// Of a simulation: the same seed gave two different runs.
    NotDeterministic,
    /// Whoever read stdout has gone: not an error worth a word.
    BrokenPipe,
    /// Ctrl-C.
    Interrupted,
}

impl CliError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        debug_assert!(!message.is_empty(), "an error says what is wrong");
        Self { message, cause: None, hint: None, kind }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// A file or directory that could not be used.
    pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        let error_text = Self::new(Kind::Io, format!("{what} {} failed", path.display())).cause(error);
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                error_text.hint("run as the user who owns it, or change its permissions")
            }
            io::ErrorKind::StorageFull => error_text.hint("free some space on this disk and run the command again"),
            _ => error_text,
        }
    }

    pub(crate) fn cause(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// No node answers for this data directory.
    pub(crate) fn not_running(data: &Path, cause: impl ToString) -> Self {
        Self::new(Kind::NotRunning, format!("no node is running on {}", data.display()))
            .cause(cause)
            .hint(format!("start it with `tombolo --data {} run`", human::path(data)))
    }

    /// The request did not get through.
    pub(crate) fn http(error: &reqwest::Error, data: &Path) -> Self {
        if error.is_connect() {
            return Self::not_running(data, root_cause(error));
        }
        let message =
            if error.is_timeout() { "the node took too long to answer" } else { "the connection to the node broke" };
        Self::new(Kind::Protocol, message).cause(root_cause(error)).hint("see what the node's log says, then try again")
    }

    /// An answer that is not what the API promises.
    pub(crate) fn unexpected(what: &str, cause: impl ToString) -> Self {
        Self::new(Kind::Protocol, format!("the node's answer was not understood: {what}"))
            .cause(cause)
            .hint("use the same version of `tombolo` for the node and for this command")
    }

    /// A problem document (RFC 9457), or whatever else came with a status that says no.
    pub(crate) fn refused(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => problem.into_error(status),
            Err(_) => Self::new(Kind::Refused(String::new(), status), format!("the node answered {status}"))
                .cause(String::from_utf8_lossy(&body[..body.len().min(500)])),
        }
    }

    /// As [`CliError::refused`], for a problem inside a larger document.
    pub(crate) fn problem(value: &Value) -> Self {
        match Problem::deserialize(value) {
            Ok(problem) => {
                let status = problem.status;
                problem.into_error(status)
            }
            Err(_) => Self::new(Kind::Refused(String::new(), 0), value.to_string()),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::BrokenPipe => ExitCode::SUCCESS,
            Kind::Interrupted => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    }

    /// As [`CliError::exit_code`], for `tombolo sim`, where 0 to 3 say what came of the runs and nothing else does: not
    /// even a reader of stdout that has gone may look like a run that held.
    pub(crate) fn exit_code_of_sim(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Violated => 1,
            Kind::Inconclusive => 2,
            Kind::NotDeterministic => 3,
            Kind::Usage => SIM_USAGE,
            Kind::Interrupted => 130,
            _ => SIM_FAILED,
        })
    }

    /// Three lines for people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for (label, part) in [("why", &self.cause), ("try", &self.hint)] {
            if let Some(part) = part.as_ref().filter(|part| !part.is_empty()) {
                text.push_str(&format!("  {label}: {}\n", part.replace('\n', "\n       ")));
            }
        }
        text
    }

    /// One line for machines.
    pub(crate) fn to_json(&self) -> Value {
        let kind = match &self.kind {
            Kind::Usage => "usage",
            Kind::NotRunning => "not-running",
            Kind::Refused(..) => "refused",
            Kind::Io => "io",
            Kind::Protocol => "protocol",
            Kind::Failed => "failed",
            Kind::Violated => "violated",
            Kind::Inconclusive => "inconclusive",
            Kind::NotDeterministic => "not-deterministic",
            Kind::BrokenPipe => "broken-pipe",
            Kind::Interrupted => "interrupted",
        };
        let mut error = json!({ "kind": kind, "message": self.message, "why": self.cause, "try": self.hint });
        if let Kind::Refused(slug, status) = &self.kind {
            error["type"] = json!(slug);
            error["status"] = json!(status);
        }
        json!({ "error": error })
    }
}

impl From<io::Error> for CliError {
    /// Only for stdout and stderr; files say what they are with [`CliError::file`].
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::BrokenPipe, "the reader of the output has gone"),
            _ => Self::new(Kind::Io, "writing the output failed").cause(error),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    hint: Option<String>,
    #[serde(flatten)]
    more: serde_json::Map<String, Value>,
}

impl Problem {
    fn into_error(self, status: u16) -> CliError {
        let slug = self.kind.rsplit('/').next().unwrap_or_default().to_owned();
        let mut cause = self.detail.unwrap_or_default();
        for name in ["line", "column", "current", "limit"] {
            if let Some(value) = self.more.get(name) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if !cause.contains(&value) {
                    cause.push_str(&format!("{}{name} {value}", if cause.is_empty() { "" } else { "; " }));
                }
            }
        }
        let own = own_hint(&slug).map(str::to_owned);
        let hint = own.or(self.hint).or_else(|| default_hint(&slug).map(str::to_owned));
        let message = if self.title.is_empty() { format!("the node answered {status}") } else { self.title };
        let cause = Some(cause).filter(|cause| !cause.is_empty());
        CliError { message, cause, hint, kind: Kind::Refused(slug, status) }
    }
}

/// Where the node's advice is for programs that speak HTTP, and people at a terminal need another.
fn own_hint(slug: &str) -> Option<&'static str> {
    Some(match slug {
        "unauthorized" => {
            "name the running node's own directory with --data; if this is it, its file `token` was changed since the \
             start: start the node again"
        }
        "ambiguous-space" => "use the space's id instead of its name: `tombolo space ls`",
        "revision-mismatch" => "read it again with `tombolo get --meta`, then write with the new revision",
        "base-unknown" => "read it again with `tombolo get --meta` and use that revision as --base",
        "ticket-expired" => {
            "if the clock here is wrong, set it; else ask for a new ticket: `tombolo space invite SPACE --role ROLE`"
        }
        _ => return None,
    })
}

/// For answers that carry no hint of their own.
fn default_hint(slug: &str) -> Option<&'static str> {
    Some(match slug {
        "unknown-space" => "see the spaces of this node with `tombolo space ls`",
        "not-found" => "see what there is with `tombolo ls SPACE/COLLECTION`",
        "invalid-json" => {
            "a shell takes quotes away: put the JSON into single quotes, as in '{\"price\":9}', or into a file: @FILE"
        }
        "revision-unknown" => "see the revisions it had here with `tombolo history`",
        "invalid-ticket" => "copy the whole line that `tombolo space invite` printed",
        "ticket-used" | "ticket-refused" => "ask for a new one: `tombolo space invite SPACE --role ROLE`",
        "idempotency-conflict" => "use a new key for a new request",
        "full" => "free some space on the node's disk; writes are taken again by themselves",
        "damaged" => "stop the node and run `tombolo verify`",
        "role" => "see the roles with `tombolo space members SPACE`",
        _ => return None,
    })
}

/// Exit code of `tombolo sim` for a wrong line, scenario, seeds file or capsule: `EX_USAGE` of BSD's sysexits.
pub(crate) const SIM_USAGE: u8 = 64;
/// Exit code of `tombolo sim` when it could not do its work: `EX_IOERR`.
pub(crate) const SIM_FAILED: u8 = 74;
const _: () = assert!(SIM_USAGE > 3 && SIM_FAILED > 3 && SIM_USAGE != SIM_FAILED, "0 to 3 say what came of the runs");

/// What clap found wrong with the line (or the help that was asked for). `code`: for a wrong line.
pub(crate) fn usage(error: &clap::Error, json: bool, code: u8) -> ExitCode {
    if json && error.use_stderr() {
        let text = error.to_string();
        // What follows an empty line is the usage, which --help shows as well.
        let text = text.split("\n\n").next().unwrap_or_default().trim();
        let text = text.strip_prefix("error: ").unwrap_or(text).to_owned();
        crate::ui::Ui::new(true).error(&CliError::usage(text));
    } else if error.print().is_err() {
        return ExitCode::FAILURE;
    }
    if error.use_stderr() { ExitCode::from(code) } else { ExitCode::SUCCESS }
}

/// The innermost cause: the outer ones only repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_becomes_what_why_and_try() {
        let body = br#"{"type":"https://tombolo.dev/problems/revision-mismatch","title":"the entity has moved on",
            "status":412,"detail":"airports/KJFK is not as expected","current":"ab12"}"#;
        let error = CliError::refused(412, body);
        assert_eq!(
            error.to_text(),
            "error: the entity has moved on\n  why: airports/KJFK is not as expected; current ab12\n  \
             try: read it again with `tombolo get --meta`, then write with the new revision\n"
        );
        assert_eq!(error.to_json()["error"]["type"], "revision-mismatch");
        assert_eq!(error.to_json()["error"]["status"], 412);
    }

    #[test]
    fn a_foreign_answer_is_shown_as_it_is() {
        let error = CliError::refused(502, b"<html>bad gateway");
        assert_eq!(error.to_text(), "error: the node answered 502\n  why: <html>bad gateway\n");
    }

    #[test]
    fn a_node_that_does_not_run_says_how_to_start_it() {
        let error = CliError::not_running(Path::new("/data"), "connection refused");
        assert!(error.to_text().contains("try: start it with `tombolo --data /data run`"));
        assert_eq!(error.to_json()["error"]["kind"], "not-running");
    }
}
