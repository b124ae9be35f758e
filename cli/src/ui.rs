//! The only door to stdout and stderr.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::{CliError, Kind};

/// Narrower terminals are written to as if they were endless: what is cut to less says nothing.
const WIDTH_MIN: usize = 40;

/// Results go to stdout, words about them to stderr.
#[derive(Debug)]
pub(crate) struct Ui {
    json: bool,
    out: BufWriter<Stdout>,
}

impl Ui {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, out: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    /// Whether results are for machines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Columns of the terminal that reads the result (`$COLUMNS` where it is set); `None`: a file or a program does.
    pub(crate) fn width(&self) -> Option<usize> {
        let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        told.or_else(terminal_width).filter(|columns| *columns >= WIDTH_MIN)
    }

    /// Whether a person reads the result as it comes.
    pub(crate) fn is_read(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), CliError> {
        writeln!(self.out, "{text}")?;
        self.flush()
    }

    /// A JSON document on a line of its own.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        self.raw(b"\n")?;
        self.flush()
    }

    /// Bytes of the result; may stay in the buffer until [`Ui::flush`].
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.out.write_all(bytes)?)
    }

    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.out.flush()?)
    }

    /// A word to the user beside the result: to stderr, and not at all with --json. A stderr that is gone loses
    /// nothing.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.json {
            writeln!(io::stderr().lock(), "{text}").ok();
        }
    }

    /// As [`Ui::note`], also with --json: something the user must know.
    pub(crate) fn warn(&self, text: impl Display) {
        if self.json {
            writeln!(io::stderr().lock(), "{}", serde_json::json!({ "warning": text.to_string() })).ok();
        } else {
            writeln!(io::stderr().lock(), "{text}").ok();
        }
    }

    pub(crate) fn error(&mut self, error: &CliError) {
        if error.kind == Kind::BrokenPipe {
            return;
        }
        self.out.flush().ok();
        let mut stderr = io::stderr().lock();
        let written =
            if self.json { writeln!(stderr, "{}", error.to_json()) } else { write!(stderr, "{}", error.to_text()) };
        written.ok();
    }

    /// A bar over bytes on stderr; hidden when stderr is no terminal.
    pub(crate) fn byte_bar(&self, total: Option<u64>) -> ProgressBar {
        let template = if total.is_some() {
            "  {bar:32} {percent:>3}%  {msg}  {elapsed} elapsed, {eta} left"
        } else {
            "  {spinner} {msg}  {elapsed} elapsed"
        };
        self.bar(ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()), template)
    }

    /// A bar over things on stderr; hidden when stderr is no terminal.
    pub(crate) fn count_bar(&self, total: u64, unit: &str) -> ProgressBar {
        let template = format!("  {{bar:32}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}, {{eta}} left  {{msg}}");
        self.bar(ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()), &template)
    }

    /// As [`Ui::count_bar`], also for things without a known end.
    pub(crate) fn open_bar(&self, total: Option<u64>, unit: &str) -> ProgressBar {
        match total {
            Some(total) => self.count_bar(total, unit),
            None => {
                let template = format!("  {{spinner}} {{human_pos}} {unit}  {{per_sec}}, {{elapsed}} elapsed  {{msg}}");
                self.bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()), &template)
            }
        }
    }

    fn bar(&self, bar: ProgressBar, template: &str) -> ProgressBar {
        if self.json {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template(template);
        // It would be a defect of this file; the plain bar is good enough then.
        debug_assert!(style.is_ok(), "the template of a bar parses");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("━━─"));
        }
        bar
    }
}

#[cfg(unix)]
fn terminal_width() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col))
}

#[cfg(not(unix))]
fn terminal_width() -> Option<usize> {
    None
}
