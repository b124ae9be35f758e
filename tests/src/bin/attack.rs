//! Runs attacks on the `tombolo` binary and prints what they cost everybody else.
//!
//! `attack [NAME…]`: all rows, or those named; `--list` names them. `TOMBOLO_BIN` attacks another build. Exit code 1: a
//! bound was not kept.

#![expect(clippy::print_stdout, reason = "a table for people")]

use std::process::ExitCode;

use tombolo_tests::attack::ROWS;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.iter().any(|name| name == "--list") {
        ROWS.iter().for_each(|row| println!("{:<20} {}", row.name, row.what));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == *name)) {
        println!("there is no row `{unknown}`; --list names them");
        return ExitCode::from(2);
    }
    let mut kept = true;
    for row in ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)) {
        println!("\n{}: {}", row.name, row.what);
        for finding in (row.run)() {
            let verdict = finding.kept.map_or("", |kept| if kept { "kept" } else { "NOT KEPT" });
            println!("  {:<48} {:>22}  {:<14} {verdict}", finding.what, finding.measured, finding.reach);
            kept &= finding.kept != Some(false);
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
