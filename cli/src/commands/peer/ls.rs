//! `peer ls`.

use reqwest::Method;
use serde::Deserialize;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::model::Dial;
use crate::ui::Ui;

/// List connections and the addresses that were added by hand
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo peer ls")]
pub(crate) struct LsArgs {}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Peers {
    connections: Vec<Connection>,
    added: Vec<String>,
    dials: Vec<Dial>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Connection {
    node: String,
    name: String,
    address: String,
    dialled: bool,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, _: &LsArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, "/v1/peers")).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    let rows = answer.json::<Peers>()?.rows();
    if rows.is_empty() {
        ui.note("no connections and no addresses: members of a space find each other by themselves");
        return Ok(());
    }
    ui.line(human::table("", &rows))
}

impl Peers {
    fn rows(&self) -> Vec<Vec<String>> {
        let connected = self.connections.iter().map(|peer| {
            let how = if peer.dialled { "connected, dialled" } else { "connected, dialled by it" };
            vec![peer.address.clone(), how.to_owned(), format!("{} {}", peer.name, peer.node)]
        });
        let added = self.added.iter().map(|address| vec![address.clone(), "added by hand".to_owned()]);
        let failed = self.dials.iter().map(|dial| {
            let tries = human::many(dial.failures, "try", "tries");
            vec![dial.addrs.join(" "), format!("not reached, {tries}"), dial.error.clone()]
        });
        connected.chain(added).chain(failed).collect()
    }
}
