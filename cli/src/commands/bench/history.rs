//! `bench history`: one-field changes to an entity, whatever its history, beside Automerge; and its past.
//!
//! The store is in memory and nothing is committed: what is measured is reading a change, the clock at what it was made
//! on, the gate and applying it, without and with reading and writing the row. Automerge gets the same bytes.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use automerge::Automerge;
use tombolo_crdt::entity::{Change, Clock, EntityState, Provenance};
use tombolo_node::chain::{Budget, ClockAt, Entries, Past, Until, clock_at};
use tombolo_node::history::{Asked, page};
use tombolo_node::store::Reading;

use super::chained::{Chained, KEY, feed, hlc, make, set_field};
use super::report::{Figure, Report, Times};
use crate::error::CliError;
use crate::human;
use crate::ui::Ui;

/// Changes of history.
const HISTORIES: [u64; 4] = [1, 100, 10_000, 100_000];
/// How many changes behind the heads its dependencies lie.
const BEHIND: [u64; 3] = [0, 100, 10_000];
/// Times a change of ours is measured per round, where it takes microseconds.
const REPEATS: usize = 200;
/// What costs more than this is measured once per round.
const REPEAT_BELOW: Duration = Duration::from_millis(2);
/// Changes on a page of history.
const PAGE: usize = 100;

/// How much.
#[derive(clap::Args, Debug)]
pub(super) struct HistoryLoad {
    /// Rounds of every measurement, ours and Automerge's in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

pub(super) fn run(ui: &Ui, load: &HistoryLoad) -> Result<Report, CliError> {
    measure(ui, load.rounds, &HISTORIES, &BEHIND)
}

fn measure(ui: &Ui, rounds: u64, histories: &[u64], behind: &[u64]) -> Result<Report, CliError> {
    let longest = histories.iter().copied().max().unwrap_or(1);
    let kept: Vec<u64> = histories.iter().flat_map(|all| behind.iter().filter_map(|by| all.checked_sub(*by))).collect();
    let bar = ui.count_bar(longest, "changes made");
    let chained = make(longest, &kept, &mut |done| bar.set_position(done))?;
    bar.finish_and_clear();
    let reading = chained.store.reader().reading().map_err(failed)?;
    let mut figures = Vec::new();
    for history in histories {
        ui.note(format!("{} changes …", human::count(*history)));
        let document = document(&chained, *history)?;
        for by in behind.iter().filter(|by| *by < history) {
            let case = Case::new(&chained, *history, *by)?;
            let times = case.measure(&reading, &document, rounds)?;
            figures.extend(times.figures(*history, *by));
        }
    }
    figures.extend(against(&chained, &reading, longest, rounds)?);
    figures.extend(past(&chained, &reading, longest, rounds)?);
    Ok(Report::of("history", figures))
}

fn failed(error: impl ToString) -> CliError {
    CliError::failed("the history bench failed").cause(error)
}

/// Automerge's document of the first changes.
fn document(chained: &Chained, history: u64) -> Result<Automerge, CliError> {
    let mut document = Automerge::new();
    let first = chained.changes.iter().take(usize::try_from(history).unwrap_or(usize::MAX));
    let changes = first.map(|change| foreign(change.bytes())).collect::<Result<Vec<_>, _>>()?;
    document.apply_changes(changes).map_err(failed)?;
    Ok(document)
}

fn foreign(bytes: &[u8]) -> Result<automerge::Change, CliError> {
    automerge::Change::from_bytes(bytes.to_vec()).map_err(failed)
}

/// One change to one state.
struct Case<'a> {
    state: &'a EntityState,
    row: Vec<u8>,
    change: Vec<u8>,
    writer: u8,
}

/// What it took.
#[derive(Default)]
struct Measured {
    ours: Times,
    ours_whole: Times,
    automerge: Times,
    automerge_whole: Times,
}

impl<'a> Case<'a> {
    fn new(chained: &'a Chained, history: u64, behind: u64) -> Result<Self, CliError> {
        let at = |number: u64| chained.states.get(&number).ok_or_else(|| failed("a state was not kept"));
        let state = at(history)?;
        // Another writer has been away for so long; at the heads it is the same one.
        let writer = if behind == 0 { 1 } else { 2 };
        let (change, _) = set_field(at(history - behind)?, writer, history + 1)?;
        Ok(Self { state, row: state.encode(), change: change.bytes().to_vec(), writer })
    }

    fn measure(&self, reading: &Reading, document: &Automerge, rounds: u64) -> Result<Measured, CliError> {
        let mut times = Measured::default();
        let saved = document.save();
        for _ in 0..rounds {
            let first = self.ours(reading)?;
            let repeats = if first < REPEAT_BELOW { REPEATS } else { 1 };
            for _ in 0..repeats {
                times.ours.add(self.ours(reading)?);
                times.ours_whole.add(self.ours_whole(reading)?);
            }
            let mut live = document.clone();
            let begin = Instant::now();
            live.apply_changes([foreign(&self.change)?]).map_err(failed)?;
            times.automerge.add(begin.elapsed());
            drop(live);
            let begin = Instant::now();
            let mut loaded = Automerge::load(&saved).map_err(failed)?;
            loaded.apply_changes([foreign(&self.change)?]).map_err(failed)?;
            black_box(loaded.save());
            times.automerge_whole.add(begin.elapsed());
        }
        Ok(times)
    }

    /// With the state in memory.
    fn ours(&self, reading: &Reading) -> Result<Duration, CliError> {
        let mut state = self.state.clone();
        let begin = Instant::now();
        self.apply(&mut state, reading)?;
        let taken = begin.elapsed();
        black_box(state);
        Ok(taken)
    }

    /// From row to row.
    fn ours_whole(&self, reading: &Reading) -> Result<Duration, CliError> {
        let begin = Instant::now();
        let mut state = EntityState::decode(&self.row).map_err(failed)?;
        self.apply(&mut state, reading)?;
        black_box(state.encode());
        Ok(begin.elapsed())
    }

    /// As the engine does it: decode, the clock at the dependencies, the gate, apply.
    fn apply(&self, state: &mut EntityState, reading: &Reading) -> Result<(), CliError> {
        let change = Change::parse(&self.change, feed(self.writer)).map_err(failed)?;
        let past = if change.deps() == state.heads() { state.clock().clone() } else { clock(reading, state, &change)? };
        state.gate(&change, &past).map_err(failed)?;
        let provenance = Provenance { entry_seq: change.seq(), hlc: hlc(change.seq()), rules_seq: 0 };
        state.apply(&change, &past, &provenance, state.journal() + 1);
        Ok(())
    }
}

fn clock(reading: &Reading, state: &EntityState, change: &Change) -> Result<Clock, CliError> {
    let present = (state.clock(), state.journal());
    let read = (reading, &mut Entries::passing());
    match clock_at(read, KEY, present, change.deps(), &|_| None, Budget::UNBOUNDED).map_err(failed)? {
        ClockAt::Known(clock) => Ok(clock),
        missing => Err(failed(format!("a change it rests on is not there: {missing:?}"))),
    }
}

impl Measured {
    fn figures(&self, history: u64, behind: u64) -> Vec<Figure> {
        let deps = if behind == 0 { "at the heads".to_owned() } else { format!("{} behind", human::count(behind)) };
        let of = |what: &str| format!("{} changes, made {deps}: {what}", human::count(history));
        let automerge = Figure::micros(of("Automerge, document in memory"), self.automerge.p50());
        let whole = Figure::micros(of("Automerge, load, apply, save"), self.automerge_whole.p50());
        let whole = whole.beside_micros("ours", self.ours_whole.p50());
        let bar = history == HISTORIES[3] && behind == 0;
        vec![
            Figure::micros(of("a change alone"), self.ours.p50()),
            automerge.beside_micros("ours", self.ours.p50()),
            Figure::micros(of("with its row read and written"), self.ours_whole.p50()),
            if bar { whole.reach("≥ × 1,000") } else { whole },
        ]
    }
}

/// The longest history against the shortest, in turn. After one change all fields have one origin in the row, later
/// each has its own, so the row is longer: its length is told.
fn against(chained: &Chained, reading: &Reading, longest: u64, rounds: u64) -> Result<Vec<Figure>, CliError> {
    let (one, many) = (Case::new(chained, 1, 0)?, Case::new(chained, longest, 0)?);
    let mut times: [Times; 4] = Default::default();
    let [one_alone, many_alone, one_whole, many_whole] = &mut times;
    for _ in 0..rounds as usize * REPEATS {
        one_alone.add(one.ours(reading)?);
        many_alone.add(many.ours(reading)?);
        one_whole.add(one.ours_whole(reading)?);
        many_whole.add(many.ours_whole(reading)?);
    }
    let longest = human::count(longest);
    let alone = format!("a change alone: {longest} changes of history against 1");
    let whole = format!(
        "with its row ({} bytes against {}): {longest} changes of history against 1",
        many.row.len(),
        one.row.len()
    );
    Ok(vec![
        Figure::micros(alone, many_alone.p50()).beside_micros("1 change", one_alone.p50()).reach("≤ × 1.2"),
        Figure::micros(whole, many_whole.p50()).beside_micros("1 change", one_whole.p50()).reach("≤ × 1.2"),
    ])
}

/// What looking back costs.
fn past(chained: &Chained, reading: &Reading, history: u64, rounds: u64) -> Result<Vec<Figure>, CliError> {
    let present = chained.states.get(&history).ok_or_else(|| failed("a state was not kept"))?;
    let (mut folds, mut half, mut pages) = (Times::default(), Times::default(), Times::default());
    for _ in 0..rounds {
        for (times, until) in
            [(&mut folds, Until::Present), (&mut half, Until::Time { millis: hlc(history / 2 + 1).millis() })]
        {
            let begin = Instant::now();
            let mut past = Past::new(KEY, history, until);
            while let ControlFlow::Continue(()) = past.step(reading).map_err(failed)? {}
            times.add(begin.elapsed());
        }
        let begin = Instant::now();
        let asked = Asked { limit: PAGE, ..Asked::default() };
        black_box(page(reading, KEY, present, &asked).map_err(failed)?);
        pages.add(begin.elapsed());
    }
    let of = |what: &str| format!("{} changes: {what}", human::count(history));
    Ok(vec![
        Figure::time(of("the whole history folded again"), folds.p50()),
        Figure::time(of("the entity as it was after half of them"), half.p50()),
        Figure::micros(of("a page of 100 changes"), pages.p50()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_measured() {
        let ui = Ui::new(true);
        let report = measure(&ui, 1, &[1, 20], &[0, 5]).expect("measures");
        let shown = serde_json::to_value(&report).expect("JSON");
        let figures = shown["figures"].as_array().expect("figures");
        assert_eq!(figures.len(), 3 * 4 + 2 + 3, "{shown}");
        assert!(figures.iter().all(|figure| figure["value"].as_f64() > Some(0.0)), "{shown}");
    }

    #[test]
    fn ours_and_automerge_come_to_the_same() {
        let chained = make(30, &[20, 30], &mut |_| {}).expect("made");
        let reading = chained.store.reader().reading().expect("a reading");
        let case = Case::new(&chained, 30, 10).expect("a case");
        let mut state = case.state.clone();
        case.apply(&mut state, &reading).expect("applies");
        let mut document = document(&chained, 30).expect("a document");
        document.apply_changes([foreign(&case.change).expect("a change")]).expect("applies");
        let mut heads: Vec<[u8; 32]> = document.get_heads().iter().map(|head| head.0).collect();
        heads.sort_unstable();
        assert_eq!(state.heads().iter().map(|head| *head.as_bytes()).collect::<Vec<_>>(), heads);
        let (winner, _) = automerge::ReadDoc::get(&document, automerge::ROOT, "f7").expect("reads").expect("is there");
        let shown = state.view().to_bytes();
        let view: serde_json::Value = serde_json::from_slice(&shown).expect("JSON");
        assert_eq!(view["f7"].as_i64(), winner.as_i64());
    }
}
