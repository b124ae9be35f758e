//! `watch`.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use crate::args::Context;
use crate::client::{Api, Lines};
use crate::error::{CliError, Kind};
use crate::human;
use crate::target::{ScopeRef, encode, space_path};
use crate::ui::Ui;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
const _: () = assert!(RETRY_FIRST.as_millis() > 0 && RETRY_FIRST.as_millis() < RETRY_MAX.as_millis(), "pauses grow");

/// Follow the changes of a space or collection, live, until Ctrl-C
///
/// On a terminal a short line per change: the author's time (UTC), what happened, the entity and its value. Piped, or
/// with --json, one CloudEvents 1.0 JSON document per line: an event's `id` is the cursor after it; give it to --since
/// and nothing is missed. A connection that breaks is taken up again where it was.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo watch shop\n  tombolo watch shop/orders --since beginning\n  tombolo watch shop --since CURSOR"
)]
pub(crate) struct WatchArgs {
    /// The space, or one collection of it: SPACE[/COLLECTION]
    #[arg(value_name = "SPACE[/COLLECTION]")]
    scope: ScopeRef,
    /// A cursor, `now` or `beginning`
    #[arg(long, value_name = "CURSOR", default_value = "now")]
    since: String,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    value: serde_json::Value,
    verdict: Option<String>,
}

impl Event {
    /// The event in at most `width` characters.
    fn short(&self, width: usize) -> String {
        let kind = self.kind.rsplit("tombolo.").next().unwrap_or_default();
        let (what, more) = match kind {
            "entity.changed" => ("changed", self.data.value.to_string()),
            "entity.deleted" => ("deleted", String::new()),
            "entry.refused" => ("refused", self.data.verdict.clone().unwrap_or_default()),
            "rules.changed" => ("members", "the members or their roles have changed".to_owned()),
            "reset" => ("reset", "the cursor is not of this node: all entities follow".to_owned()),
            other => (other, String::new()),
        };
        // A listing of what is there has no times of its own.
        let time = self.time.get(..19).map_or_else(|| " ".repeat(19), |time| time.replacen('T', " ", 1));
        let line = format!("{time}  {what:<7}  {}  {}", human::plain(&self.subject), human::plain(&more));
        human::clip(line.trim_end(), width).into_owned()
    }
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &WatchArgs) -> Result<(), CliError> {
    let mut cursor = match args.since.as_str() {
        "beginning" => None,
        since => Some(since.to_owned()),
    };
    let mut lines = open(&context.api()?, &args.scope, cursor.as_deref()).await?;
    loop {
        let broken = match lines.next().await {
            Ok(Some(line)) => {
                let event: Event =
                    serde_json::from_slice(&line).map_err(|error| CliError::unexpected("an event has no id", error))?;
                if ui.is_read() {
                    ui.line(event.short(ui.width().unwrap_or(usize::MAX)))?;
                } else {
                    ui.raw(&line)?;
                    ui.raw(b"\n")?;
                    ui.flush()?;
                }
                cursor = Some(event.id);
                continue;
            }
            Ok(None) => "the node ended it".to_owned(),
            Err(error) => error.cause.unwrap_or(error.message),
        };
        ui.warn(format!("the stream broke ({broken}); taking it up again"));
        lines = reopen(context, &args.scope, cursor.as_deref()).await?;
    }
}

async fn open(api: &Api, scope: &ScopeRef, cursor: Option<&str>) -> Result<Lines, CliError> {
    let since = cursor.map(|cursor| format!("&since={}", encode(cursor))).unwrap_or_default();
    let collection =
        scope.collection.as_deref().map(|name| format!("&collection={}", encode(name))).unwrap_or_default();
    let path = format!("{}/changes?live=ndjson{since}{collection}", space_path(&scope.space));
    api.lines(api.stream(Method::GET, &path)).await
}

/// Tries for as long as it is only that nobody answers. The node may come back on another port.
async fn reopen(context: &Context, scope: &ScopeRef, cursor: Option<&str>) -> Result<Lines, CliError> {
    let mut pause = RETRY_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
        let opened = match context.api() {
            Ok(api) => open(&api, scope, cursor).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if matches!(error.kind, Kind::NotRunning | Kind::Protocol | Kind::Refused(_, 503)) => (),
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_eyes_is_a_line_that_fits() {
        let text = r#"{"id":"ab","type":"dev.tombolo.entity.changed","subject":"stock/apple","time":"2027-01-15T08:00:00.250Z",
            "data":{"value":{"name":"apple","price":10}}}"#;
        let event: Event = serde_json::from_str(text).expect("parses");
        let line = r#"2027-01-15 08:00:00  changed  stock/apple  {"name":"apple","price":10}"#;
        assert_eq!(event.short(80), line);
        assert_eq!(event.short(50).chars().count(), 50);
        let bare: Event = serde_json::from_str(r#"{"id":"ab"}"#).expect("parses");
        assert_eq!(bare.short(80).trim(), "");
    }
}
