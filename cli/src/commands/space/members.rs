//! `space members`.

use reqwest::Method;
use serde::Deserialize;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::target::space_path;
use crate::ui::Ui;

/// List the members of a space with their roles and addresses
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo space members shop")]
pub(crate) struct MembersArgs {
    /// Name or id of the space
    space: String,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Member {
    node: String,
    name: String,
    role: Option<String>,
    addrs: Vec<String>,
    connected: bool,
    #[serde(rename = "self")]
    is_self: bool,
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &MembersArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, &format!("{}/members", space_path(&args.space)))).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    let members = answer.json::<Members>()?.members;
    let row = |member: &Member| {
        let link = match (member.is_self, member.connected) {
            (true, _) => "this node",
            (_, true) => "connected",
            _ => "away",
        };
        let name = if member.name.is_empty() { "-".to_owned() } else { member.name.clone() };
        vec![
            name,
            member.role.clone().unwrap_or_default(),
            link.to_owned(),
            member.node.clone(),
            member.addrs.join(" "),
        ]
    };
    ui.line(human::table("", &members.iter().map(row).collect::<Vec<_>>()))
}
