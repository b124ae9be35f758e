//! `peer add`.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use tombolo_transport::dial::{Address, ParseAddressError};

use crate::args::Context;
use crate::error::CliError;
use crate::ui::Ui;

/// Dial an address from now on, also after a restart
///
/// Only needed where nodes cannot find each other by ticket, roster or local network.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  tombolo peer add berlin.example:7700")]
pub(crate) struct AddArgs {
    /// HOST or HOST:PORT of the other node; the port is 7700 unless told
    #[arg(value_name = "ADDR", value_parser = address)]
    addr: Address,
}

/// The port that `run` listens on unless told.
const PORT: u16 = 7700;

/// An address, completed by the port that nodes listen on.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let completed = match text.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT).to_string(),
        Err(_) if !text.contains(':') => format!("{text}:{PORT}"),
        Err(_) => text.to_owned(),
    };
    completed.parse().map_err(|error: ParseAddressError| error.to_string())
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &AddArgs) -> Result<(), CliError> {
    let added: Value = context.api()?.post("/v1/peers", &json!({ "addr": args.addr.to_string() })).await?;
    if ui.is_json() {
        return ui.json(&added);
    }
    ui.note(format!("Dialling {} from now on. See `tombolo status`.", args.addr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_the_usual_one() {
        let shown = |text| address(text).map(|address| address.to_string());
        assert_eq!(shown("berlin.example"), Ok("berlin.example:7700".to_owned()));
        assert_eq!(shown("berlin.example:1"), Ok("berlin.example:1".to_owned()));
        assert_eq!(shown("192.0.2.1"), Ok("192.0.2.1:7700".to_owned()));
        assert_eq!(shown("2001:db8::1"), Ok("[2001:db8::1]:7700".to_owned()));
        assert!(shown("a b").is_err() && shown("berlin:").is_err() && shown("").is_err());
    }
}
