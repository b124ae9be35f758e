//! `receipt`.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use crate::args::Context;
use crate::error::{CliError, Kind};
use crate::target::encode;
use crate::ui::Ui;
use crate::{duration, human};

/// Show which members hold a write, or wait until they do
///
/// RECEIPT is what the write printed (`tombolo history` has it as well). Exit 1 if what is waited for has not come
/// about in time.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo receipt RECEIPT\n  tombolo receipt RECEIPT --wait all --timeout 1m\n  tombolo receipt RECEIPT --wait 2"
)]
pub(crate) struct ReceiptArgs {
    /// What the write answered: FEED-NUMBER
    receipt: String,
    /// Wait until `all` members, this many of them (this node counts) or the node of this name or id hold it
    #[arg(long, value_name = "all|N|NODE")]
    wait: Option<String>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Receipt {
    verdict: Option<String>,
    members: u64,
    acknowledged: u64,
    peers: Vec<Peer>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Peer {
    node: String,
    name: String,
    acknowledged: bool,
    connected: bool,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &ReceiptArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let mut route = format!("/v1/receipts/{}", encode(&args.receipt));
    if let Some(wait) = &args.wait {
        route.push_str(&format!("?wait={}&timeout={}ms", encode(wait), args.timeout.as_millis()));
    }
    let request = api.request(Method::GET, &route).timeout(args.timeout + Duration::from_secs(30));
    let answer = api.answer(request).await.map_err(|error| match &error.kind {
        Kind::Refused(slug, _) if slug == "not-found" => {
            error.hint("copy the whole receipt; a write that another node made is known here once it has come")
        }
        _ => error,
    })?;
    let receipt: Receipt = answer.json()?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        ui.raw(b"\n")?;
    } else {
        ui.line(render(&receipt))?;
    }
    match &args.wait {
        Some(wait) if answer.is_unfinished => {
            let within = human::duration(args.timeout);
            Err(CliError::failed(format!("within {within} it has not come to {}", whom(wait)))
                .cause("who is away gets it when it is connected again; nothing is lost")
                .hint("see `tombolo status`"))
        }
        _ => Ok(()),
    }
}

fn whom(wait: &str) -> String {
    match wait.parse::<u64>() {
        Ok(members) => human::some(members, "member"),
        Err(_) if wait == "all" => "all members".to_owned(),
        Err(_) => human::plain(wait).into_owned(),
    }
}

fn render(receipt: &Receipt) -> String {
    let verdict = match receipt.verdict.as_deref() {
        None => "not here yet",
        Some(verdict) => verdict,
    };
    let mut text = format!("{verdict}; {} of {} hold it", receipt.acknowledged, human::some(receipt.members, "member"));
    let rows = receipt.peers.iter().map(|peer| {
        let name = if peer.name.is_empty() { human::short(&peer.node).to_owned() } else { peer.name.clone() };
        let holds = if peer.acknowledged { "has it" } else { "not yet, as far as known" };
        vec![name, holds.to_owned(), if peer.connected { "connected" } else { "away" }.to_owned()]
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    rows.sort();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&human::table("  ", &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_order_of_their_names() {
        let text = r#"{"verdict":"applied","members":3,"acknowledged":2,"peers":[
            {"node":"ab","name":"hamburg","acknowledged":true,"connected":true},
            {"node":"cdcdcdcdcd","name":"","acknowledged":false,"connected":false}]}"#;
        let receipt: Receipt = serde_json::from_str(text).expect("parses");
        let shown = "applied; 2 of 3 members hold it\n  cdcdcdcd  not yet, as far as known  away\n  \
            hamburg   has it                    connected";
        assert_eq!(render(&receipt), shown);
        assert_eq!((whom("all"), whom("1")), ("all members".to_owned(), "1 member".to_owned()));
    }
}
