//! `run`.

use std::net::SocketAddr;

use serde_json::json;

use crate::args::Context;
use crate::error::CliError;
use crate::node_process::{self, RunConfig};
use crate::ui::Ui;

/// Run the node until Ctrl-C or SIGTERM
///
/// Makes the data directory where there is none. The addresses that were chosen are printed on stdout and written to
/// `node.json` in the data directory, so that `tombolo --data DIR …` finds the node. Logs go to stderr.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tombolo run\n  tombolo --data ./berlin run --listen 0.0.0.0:7700 --http 127.0.0.1:7701\n  \
    tombolo --data /tmp/a run --listen 127.0.0.1:0 --http 127.0.0.1:0 --no-mdns"
)]
pub(crate) struct RunArgs {
    /// Address for other nodes (QUIC, UDP); port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "[::]:7700")]
    listen: SocketAddr,
    /// Address of the HTTP API; port 0 picks a free one. Beyond loopback the token travels unencrypted
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7701")]
    http: SocketAddr,
    /// What people call this node [default: as before, else the host's name]
    #[arg(long)]
    name: Option<String>,
    /// Neither announce this node on the local network nor look for others there
    #[arg(long)]
    no_mdns: bool,
    /// Address under which others reach this node, host:port, instead of the ones it finds (can be repeated)
    #[arg(long, value_name = "ADDR")]
    advertise: Vec<String>,
    /// Host name under which the HTTP API may be called besides loopback names (can be repeated)
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
}

pub(crate) fn run(ui: &mut Ui, context: &Context, args: &RunArgs) -> Result<(), CliError> {
    if !context.data.is_initialised() {
        let node = node_process::init(&context.data, args.name.as_deref())?;
        ui.note(format!("Made a node in {} ({node}).", context.data.path().display()));
    }
    let config = RunConfig {
        data: context.data.path().to_owned(),
        listen: args.listen,
        http: args.http,
        name: args.name.clone(),
        mdns: !args.no_mdns,
        advertise: args.advertise.clone(),
        allow_hosts: args.allow_host.clone(),
    };
    node_process::run(config, &mut |listen, http| {
        if ui.is_json() {
            return ui.json(&json!({ "listen": listen, "http": http }));
        }
        ui.line(format!("nodes  {listen}\nhttp   http://{http}"))
    })
}
