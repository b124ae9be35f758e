//! `put`, and what the writing commands share.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use reqwest::{Method, RequestBuilder};

use crate::args::Context;
use crate::client::Answer;
use crate::error::CliError;
use crate::model::Written;
use crate::target::EntityRef;
use crate::ui::Ui;

/// Write an entity whole
///
/// Replaces what is here now. Fields that another site has written meanwhile and that you do not name are deleted:
/// give the revision you have read with --base (a three-way merge) or --if-match (refused if it has moved on), or use
/// `patch`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo put shop/orders/o-17 '{\"total\":12}'\n  tombolo put shop/orders/o-17 @order.json --base REVISION\n  \
    cat order.json | tombolo put shop/orders/o-17 - --create"
)]
pub(crate) struct PutArgs {
    /// The entity: SPACE/COLLECTION/ID
    #[arg(value_name = "SPACE/COLLECTION/ID")]
    entity: EntityRef,
    /// A JSON object, @FILE, or - for stdin
    #[arg(value_name = "JSON|@FILE|-", default_value = "-")]
    value: String,
    /// The revision that was read: what has changed since is kept
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["if_match", "create"])]
    base: Option<String>,
    /// Only if there is no such entity yet
    #[arg(long, conflicts_with = "if_match")]
    create: bool,
    #[command(flatten)]
    conditions: Conditions,
}

/// Options of every command that writes.
#[derive(clap::Args, Debug)]
pub(crate) struct Conditions {
    /// Only if the entity is at this revision (`*`: only if it exists)
    #[arg(long, value_name = "REVISION")]
    if_match: Option<String>,
    /// A name for this request: repeating it gives the first answer again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Conditions {
    pub(crate) fn apply(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(revision) = &self.if_match {
            request = request.header("If-Match", quoted(revision));
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        request
    }
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &PutArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let body = read_value(ui, &args.value)?;
    let mut request = args.conditions.apply(api.request(Method::PUT, &args.entity.path()));
    if let Some(base) = &args.base {
        request = request.header("Tombolo-Base", base.trim_matches('"'));
    }
    if args.create {
        request = request.header("If-None-Match", "*");
    }
    let answer = api.answer(request.header("Content-Type", "application/json").body(body)).await?;
    show(ui, &args.entity, &answer)
}

/// What a write has done: the new revision on stdout.
pub(crate) fn show(ui: &mut Ui, entity: &EntityRef, answer: &Answer) -> Result<(), CliError> {
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    let written: Written = answer.json()?;
    let what = match (written.created, written.changed) {
        (true, _) => "created",
        (_, true) => "changed",
        _ => "as it was",
    };
    ui.line(&written.revision)?;
    let receipt = written.receipt.map(|receipt| format!("  receipt {receipt}")).unwrap_or_default();
    ui.note(format!("{entity}: {what}{receipt}"));
    Ok(())
}

/// A value from the line, a file, or stdin.
pub(crate) fn read_value(ui: &Ui, text: &str) -> Result<Vec<u8>, CliError> {
    if let Some(path) = text.strip_prefix('@') {
        return std::fs::read(path).map_err(|error| CliError::file("reading", Path::new(path), &error));
    }
    if text != "-" {
        return Ok(text.as_bytes().to_vec());
    }
    if std::io::stdin().is_terminal() {
        ui.note("Reading JSON from this terminal: type it, then press Ctrl-D on a line of its own (Ctrl-C: give up).");
    }
    let mut value = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut value)
        .map_err(|error| CliError::file("reading", Path::new("stdin"), &error))?;
    Ok(value)
}

fn quoted(revision: &str) -> String {
    if revision == "*" { revision.to_owned() } else { format!("\"{}\"", revision.trim_matches('"')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_quoted_once() {
        assert_eq!(quoted("ab"), "\"ab\"");
        assert_eq!(quoted("\"ab\""), "\"ab\"");
        assert_eq!(quoted("*"), "*");
    }

    #[test]
    fn values_come_from_the_line_or_a_file() {
        let ui = Ui::new(true);
        assert_eq!(read_value(&ui, "{}").expect("reads"), b"{}");
        let file = tempfile::NamedTempFile::new().expect("tempfile");
        std::fs::write(file.path(), "{\"a\":1}").expect("write");
        assert_eq!(read_value(&ui, &format!("@{}", file.path().display())).expect("reads"), b"{\"a\":1}");
        assert!(read_value(&ui, "@/nowhere").expect_err("no file").message.contains("/nowhere"));
    }
}
