//! `import`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;
use serde_json::json;

use crate::args::Context;
use crate::error::{CliError, Kind};
use crate::human;
use crate::import::{Counts, Event, Job, Key, Resume, Source, SourceError, upload};
use crate::target::CollectionRef;
use crate::ui::Ui;

/// Bad rows that are shown one by one.
const BAD_SHOWN: u64 = 20;

/// Import a JSON array or NDJSON into a collection
///
/// The format is found out; gzip is unpacked. Rows that are there already and equal are left alone, so importing again
/// does no harm. An import of a file that was interrupted goes on where it was when the same command is run again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo import world/cities cities.ndjson.gz --id id\n  \
    curl -s https://example.com/rows.json | tombolo import shop/items - --id-template '{country}-{no}'")]
pub(crate) struct ImportArgs {
    /// The collection: SPACE/COLLECTION
    #[arg(value_name = "SPACE/COLLECTION")]
    collection: CollectionRef,
    /// A file, or - for stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// Leave malformed rows out (they are listed) instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Begin at the beginning, also if an earlier import of this file was interrupted
    #[arg(long)]
    restart: bool,
}

/// How rows get their ids.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// The field that is the id
    #[arg(long, value_name = "FIELD")]
    id: Option<String>,
    /// Text with {field} placeholders that makes the id
    #[arg(long, value_name = "TEMPLATE")]
    id_template: Option<String>,
}

impl KeyArgs {
    fn key(&self) -> Key {
        match (&self.id, &self.id_template) {
            (_, Some(template)) => Key::Template(template.clone()),
            (field, None) => Key::Field(field.clone().unwrap_or_default()),
        }
    }
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &ImportArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let job = Job { target: args.collection.clone(), key: args.key.key(), skip_bad: args.skip_bad };
    let (source, resume, size) = open(ui, context, args, &job)?;
    let mut view = View::new(ui.byte_bar(size), source.raw_bytes(), source.unit());
    let result = upload(&api, &job, source, &mut |event| {
        if let Event::Durable(_, Some(place)) = event
            && let Some(resume) = &resume
        {
            resume.save(place)?;
        }
        view.show(ui, event);
        Ok(())
    })
    .await;
    view.bar.finish_and_clear();
    let counts = result?;
    if let Some(resume) = &resume {
        resume.forget();
    }
    if ui.is_json() {
        let seconds = view.bar.elapsed().as_secs_f64();
        return ui.json(&json!({ "target": args.collection.to_string(), "counts": counts, "seconds": seconds }));
    }
    ui.line(summary(&counts, view.bar.elapsed().as_secs_f64()))
}

/// The rows, where the place is kept, and how large the file is.
fn open(
    ui: &Ui,
    context: &Context,
    args: &ImportArgs,
    job: &Job,
) -> Result<(Source, Option<Resume>, Option<u64>), CliError> {
    if args.file == Path::new("-") {
        return Ok((Source::stdin().map_err(|error| unreadable(&args.file, &error))?, None, None));
    }
    let failed = |error: SourceError| unreadable(&args.file, &error);
    let resume = Resume::of(&context.data, &args.file, &format!("{} {:?}", job.target, job.key))?;
    let size = std::fs::metadata(&args.file).map(|about| about.len()).ok();
    let mut source = Source::file(&args.file).map_err(failed)?;
    if args.restart {
        resume.forget();
    } else if let Some(place) = resume.load() {
        ui.note(format!("Going on after {} {} (--restart begins again).", source.unit(), human::count(place.line)));
        source.skip_to(place).map_err(failed)?;
    }
    Ok((source, Some(resume), size))
}

fn unreadable(path: &Path, error: &SourceError) -> CliError {
    match error {
        SourceError::Io(error) => CliError::file("reading", path, error),
        error => CliError::new(Kind::Io, format!("{} cannot be imported", path.display())).cause(error),
    }
}

fn summary(counts: &Counts, seconds: f64) -> String {
    let rate = counts.lines as f64 / seconds.max(0.001);
    let mut text = format!(
        "{} rows in {seconds:.1} s ({}/s): {} created, {} updated, {} as they were",
        human::count(counts.lines),
        human::count(rate as u64),
        human::count(counts.created),
        human::count(counts.updated),
        human::count(counts.unchanged)
    );
    if counts.errors > 0 {
        text.push_str(&format!(", {} skipped", human::count(counts.errors)));
    }
    text
}

struct View {
    bar: ProgressBar,
    raw: Arc<AtomicU64>,
    unit: &'static str,
    bad: u64,
}

impl View {
    fn new(bar: ProgressBar, raw: Arc<AtomicU64>, unit: &'static str) -> Self {
        Self { bar, raw, unit, bad: 0 }
    }

    fn show(&mut self, ui: &Ui, event: Event) {
        match event {
            Event::Durable(counts, _) => {
                let rate = counts.lines as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
                let (lines, unit) = (human::count(counts.lines), self.unit);
                self.bar.set_message(format!("{lines} {unit}s, {}/s", human::count(rate as u64)));
                self.bar.set_position(self.raw.load(Ordering::Relaxed));
            }
            Event::Bad(error) => {
                self.bad += 1;
                match self.bad {
                    ..=BAD_SHOWN => self.bar.suspend(|| {
                        ui.warn(format!("{}: {}", error.message, error.cause.as_deref().unwrap_or_default()));
                    }),
                    n if n == BAD_SHOWN + 1 => self.bar.suspend(|| ui.warn("… more are only counted")),
                    _ => (),
                }
            }
        }
    }
}
