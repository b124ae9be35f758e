//! The options every command has.

use std::path::PathBuf;

use clap::CommandFactory as _;

use crate::client::Api;
use crate::commands::Command;
use crate::data_dir::DataDir;
use crate::error::CliError;
use crate::logging::LogFormat;

/// The options that may stand anywhere on the line. They are hidden from the lists: there they would take twelve lines
/// of every command's help, and mean nothing to some.
const GLOBALS: &str = "\
Options of every command:
      --data DIR           Data directory of the node: else $TOMBOLO_DATA, else the platform's
                           directory for application data
      --json               Print results and errors as JSON
      --log-format FORMAT  How logs on stderr look, text or json (what is logged: $RUST_LOG)
";
const GLOBALS_SHORT: &str = "--data DIR, --json and --log-format go with every command: see `tombolo --help`.";

const EXAMPLES: &str = "\
Examples:
  tombolo demo                                   see it work: three nodes, a partition, a heal
  tombolo run                                    start a node here
  tombolo space create shop                      a space to share
  tombolo space invite shop --role writer        a ticket for another machine
  tombolo space join TICKET                      …there

Exit codes: 0 ok, 1 failed, 2 wrong usage; those of `tombolo sim` are in its help. Results go to stdout, everything else to stderr.";

/// `0.1.0 (1a2b3c4d5e6f)`: with the commit that it was built from, where that is known.
pub(crate) const fn version() -> &'static str {
    match option_env!("TOMBOLO_VERSION") {
        Some(version) => version,
        None => env!("CARGO_PKG_VERSION"),
    }
}

/// The program's command line: every command's help with the options of all, in one line.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let help = format!("{GLOBALS}\n{EXAMPLES}");
    below(command, |command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        command.after_help(format!("{help}\n\n{GLOBALS_SHORT}"))
    })
    .after_help(help)
}

/// Changes every command below this one.
fn below(command: clap::Command, change: fn(clap::Command) -> clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |command| change(below(command, change))))
}

/// A sync node that keeps working offline: every site takes writes, all sites end up with the same bytes
#[derive(clap::Parser, Debug)]
#[command(name = "tombolo", version = version(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that may stand anywhere on the line.
#[derive(clap::Args, Debug)]
pub(crate) struct Globals {
    /// Data directory of the node [default: the platform's directory for application data]
    #[arg(long, global = true, hide = true, env = "TOMBOLO_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print results and errors as JSON
    #[arg(long, global = true, hide = true)]
    pub(crate) json: bool,
    /// How logs on stderr look (what is logged: RUST_LOG)
    #[arg(long, global = true, hide = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Whether a line that could not be understood was meant for `tombolo sim`, which has exit codes of its own.
pub(crate) fn is_for_sim(line: impl IntoIterator<Item = std::ffi::OsString>) -> bool {
    let understood = Cli::command().ignore_errors(true).try_get_matches_from(line);
    understood.is_ok_and(|matches| matches.subcommand_name() == Some("sim"))
}

/// What commands know about their surroundings.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) data: DataDir,
}

impl Context {
    pub(crate) fn new(globals: &Globals) -> Result<Self, CliError> {
        Ok(Self { data: DataDir::locate(globals.data.as_deref())? })
    }

    /// The running node's HTTP API.
    pub(crate) fn api(&self) -> Result<Api, CliError> {
        Api::of_node(&self.data)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn definitions_hold_and_every_command_has_an_example() {
        let mut command = command();
        command.build();
        command.clone().debug_assert();
        let mut open: Vec<clap::Command> = vec![command];
        while let Some(command) = open.pop() {
            if command.get_name() == "help" {
                continue;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
            assert!(help.contains("--data DIR") && help.contains("--log-format"), "{}", command.get_name());
            open.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn globals_stand_anywhere() {
        for line in [["tombolo", "--data", "/d", "status", "--json"], ["tombolo", "status", "--json", "--data", "/d"]] {
            let cli = Cli::try_parse_from(line).expect("parses");
            assert_eq!(cli.globals.data.as_deref(), Some(std::path::Path::new("/d")));
            assert!(cli.globals.json);
        }
    }

    #[test]
    fn wrong_lines_of_sim_are_told_apart() {
        let is_for_sim = |line: &str| is_for_sim(line.split(' ').map(Into::into));
        for line in
            ["tombolo sim", "tombolo sim run --seeds x", "tombolo --data /d sim nonsense", "tombolo --json sim replay"]
        {
            assert!(is_for_sim(line), "{line}");
        }
        for line in ["tombolo", "tombolo put sim", "tombolo --data sim run --nonsense", "tombolo simulate"] {
            assert!(!is_for_sim(line), "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            &["tombolo"][..],
            &["tombolo", "put", "only-a-space"],
            &["tombolo", "put", "s/c/i", "{}", "--if-match", "a", "--create"],
            &["tombolo", "import", "s/c", "f", "--id", "a", "--id-template", "b"],
            &["tombolo", "space", "invite", "s", "--role", "king"],
            &["tombolo", "space", "invite", "s", "--expires", "soon"],
            &["tombolo", "watch", "s", "--collection"],
            &["tombolo", "run", "--listen", "berlin:7705"],
            &["tombolo", "sim", "run", "--seeds", "9..3"],
            &["tombolo", "sim", "run", "--shard", "0/8"],
            &["tombolo", "sim", "run", "--lane", "paper"],
            &["tombolo", "sim", "run", "--threads", "0"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
