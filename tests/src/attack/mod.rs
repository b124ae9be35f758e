//! Attacks and loads on real nodes, each with what it may cost: `cargo run --release -p tombolo-tests --bin attack`.
//!
//! A row starts nodes of its own in temporary directories, does its worst over loopback, and measures what everybody
//! else saw meanwhile. [`ROWS`] lists them; the binary prints a table and fails where a bound is not kept.

pub mod entries;
pub mod http;
pub mod member;
pub mod meter;
pub mod scale;
pub mod stranger;

use std::fmt;

/// What a row measured of one thing, and its bound.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was measured.
    pub what: &'static str,
    /// The figure, with its unit.
    pub measured: String,
    /// The bound, as people read it.
    pub reach: String,
    /// Whether the bound is kept; `None`: a figure for comparison, without a bound.
    pub kept: Option<bool>,
}

impl Finding {
    /// A figure that must not exceed `most`.
    #[must_use]
    pub fn at_most(what: &'static str, figure: f64, most: f64, unit: &str) -> Self {
        let kept = Some(figure <= most);
        Self { what, measured: format!("{figure:.2} {unit}"), reach: format!("<= {most} {unit}"), kept }
    }

    /// A figure that must reach `least`.
    #[must_use]
    pub fn at_least(what: &'static str, figure: f64, least: f64, unit: &str) -> Self {
        let kept = Some(figure >= least);
        Self { what, measured: format!("{figure:.2} {unit}"), reach: format!(">= {least} {unit}"), kept }
    }

    /// Something that must hold.
    #[must_use]
    pub fn holds(what: &'static str, measured: impl fmt::Display, kept: bool) -> Self {
        Self { what, measured: measured.to_string(), reach: "holds".to_owned(), kept: Some(kept) }
    }

    /// A figure to compare with.
    #[must_use]
    pub fn figure(what: &'static str, measured: impl fmt::Display) -> Self {
        Self { what, measured: measured.to_string(), reach: String::new(), kept: None }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name on the command line.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// Does it.
    pub run: fn() -> Vec<Finding>,
}

/// All rows.
pub const ROWS: &[Row] = &[
    Row {
        name: "unfinished-frames",
        what: "400 strangers with 8 unfinished frames of 5 MiB each",
        run: stranger::unfinished_frames,
    },
    Row { name: "silent", what: "1,100 silent strangers of one key and address", run: stranger::silent },
    Row {
        name: "handshakes",
        what: "140 handshakes renewed without a control stream",
        run: stranger::handshakes_without_control,
    },
    Row {
        name: "packed",
        what: "200 strangers that send packed ranges of an unknown space",
        run: stranger::packed_ranges,
    },
    Row {
        name: "tiny-changes",
        what: "a writer's 1,000 changes of 64 bytes that claim 65,536 operations",
        run: entries::tiny_changes_of_a_writer,
    },
    Row { name: "tiny-changes-reader", what: "a reader's 3,000 of them", run: entries::tiny_changes_of_a_reader },
    Row {
        name: "full-changes",
        what: "a writer's 20 changes with the most operations, as many as bytes",
        run: entries::full_changes,
    },
    Row { name: "held-chain", what: "16,000 held entries freed by one", run: entries::held_chain },
    Row { name: "waiting-feeds", what: "40,000 feeds that wait for what nobody has", run: entries::waiting_feeds },
    Row {
        name: "unknown-dependency",
        what: "entries that name a dependency nobody has, entity of 100,000 changes",
        run: entries::unknown_dependency,
    },
    Row { name: "doubling", what: "a JSON Patch that doubles an entity 24 times", run: http::doubling },
    Row {
        name: "changes-of-none",
        what: "8 readers of changes?collection=none over 300,000 entries",
        run: http::changes_of_none,
    },
    Row { name: "unread-sse", what: "500 unread change streams from the beginning", run: http::unread_streams },
    Row { name: "exports", what: "100 exports at once", run: http::exports },
    Row { name: "slowloris", what: "10,000 half requests without a token", run: http::half_requests },
    Row { name: "scale", what: "2,000 spaces, 10,000 feeds, 1 M entities: start, write", run: scale::many },
];
