//! `run`.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
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
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:7700", value_parser = listen_address)]
    listen: SocketAddr,
    /// Address of the HTTP API; port 0 picks a free one. Beyond loopback the token travels unencrypted
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7701", value_parser = listen_address)]
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
    for warning in warnings(context, args) {
        ui.warn(format!("warning: {warning}"));
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

/// An address to listen on: a number, since a name says where others are, not what this machine has.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected IP:PORT, as in 0.0.0.0:7700 or [::]:7700; the name under which others reach this node goes to --advertise"
            .to_owned()
    })
}

/// What is open wider than it should be: told at every start, until it is mended.
fn warnings(context: &Context, args: &RunArgs) -> Vec<String> {
    let mut warnings = Vec::new();
    if !args.http.ip().is_loopback() {
        warnings.push(format!(
            "the HTTP API listens beyond this machine, on {}: whoever sees the traffic sees the token, which opens \
             everything. Use a loopback address, or let a proxy with TLS in front",
            args.http
        ));
        if args.allow_host.is_empty() {
            warnings.push(
                "it answers to loopback names only: --allow-host NAME lets others in that call it NAME".to_owned(),
            );
        }
    }
    for (path, forbidden, remedy) in
        [(context.data.path().to_owned(), 0o022, "chmod go-w"), (context.data.file("token"), 0o077, "chmod 600")]
    {
        if let Some(mode) = mode(&path).filter(|mode| mode & forbidden != 0) {
            let path = human::path(&path);
            warnings.push(format!("other users can get at {path} (mode {mode:04o}): `{remedy} {path}`"));
        }
    }
    warnings
}

/// The permission bits of a file that is there.
#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(path.metadata().ok()?.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_that_others_can_reach_is_warned_of_with_the_way_out() {
        use clap::Parser as _;

        use crate::args::Cli;
        let warned = |line: &[&str]| {
            let cli = Cli::try_parse_from(["tombolo", "--data", "/nowhere", "run"].iter().chain(line)).expect("parses");
            let crate::commands::Command::Run(args) = &cli.command else { panic!("it is `run`") };
            warnings(&Context::new(&cli.globals).expect("a directory"), args)
        };
        assert_eq!(warned(&[]), Vec::<String>::new());
        for address in ["0.0.0.0:7701", "[::]:7701", "192.0.2.1:7701"] {
            let told = warned(&["--http", address]);
            let [open, names] = told.as_slice() else { panic!("{told:?}") };
            assert!(open.contains(address) && open.contains("token") && open.contains("TLS"), "{open}");
            assert!(names.contains("--allow-host"), "{names}");
        }
        assert_eq!(warned(&["--http", "0.0.0.0:7701", "--allow-host", "berlin"]).len(), 1);
    }

    #[test]
    fn a_name_to_listen_on_is_answered_with_an_example() {
        assert_eq!(listen_address("[::]:7700").map(|address| address.port()), Ok(7700));
        assert!(listen_address("berlin:7705").expect_err("a name").contains("0.0.0.0:7700"));
    }
}
