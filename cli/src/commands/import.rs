//! `import`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;
use serde_json::json;

use crate::args::Context;
use crate::error::{CliError, Kind};
use crate::human;
use crate::import::{Counts, Event, Job, Key, Restore, Resume, Source, SourceError, is_exported, restore, upload};
use crate::target::{CollectionRef, ScopeRef};
use crate::ui::Ui;

/// Bad rows that are shown one by one.
const BAD_SHOWN: u64 = 20;

/// Import a JSON array, NDJSON or an export
///
/// The format is found out; gzip is unpacked. Rows that are there already and equal are left alone, so importing again
/// does no harm. An import of a file that was interrupted goes on where it was when the same command is run again.
/// What `tombolo export` wrote goes back where it was: name the space, and no --id. A counter comes back as a number.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo import world/cities cities.ndjson.gz --id id\n  \
    curl -s https://example.com/rows.json | tombolo import shop/items - --id-template '{country}-{no}'\n  \
    tombolo import shop shop.ndjson")]
pub(crate) struct ImportArgs {
    /// The collection: SPACE/COLLECTION; for an export, the space is enough
    #[arg(value_name = "SPACE[/COLLECTION]")]
    target: ScopeRef,
    /// A file, or - for stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// What the lines are [default: found out from the first, where no id is given]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Leave malformed rows out (they are listed) instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Begin at the beginning, also if an earlier import of this file was interrupted
    #[arg(long)]
    restart: bool,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// An entity
    Rows,
    /// A line of `tombolo export`: {"collection","id","value"}
    Export,
}

/// How rows get their ids.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct KeyArgs {
    /// The field that is the id
    #[arg(long, value_name = "FIELD")]
    id: Option<String>,
    /// Text with {field} placeholders that makes the id
    #[arg(long, value_name = "TEMPLATE")]
    id_template: Option<String>,
}

impl KeyArgs {
    fn key(&self) -> Option<Key> {
        match (&self.id, &self.id_template) {
            (_, Some(template)) => Some(Key::Template(template.clone())),
            (Some(field), None) => Some(Key::Field(field.clone())),
            (None, None) => None,
        }
    }
}

/// What is to be done, as line and input say it.
enum Plan {
    Rows(Job),
    Export(Restore),
}

impl Plan {
    /// # Errors
    /// The line does not say enough, or too much.
    fn of(args: &ImportArgs) -> Result<Self, CliError> {
        let key = args.key.key();
        let exported = match (args.format, &key) {
            (Some(format), _) => format == Format::Export,
            (None, Some(_)) => false,
            (None, None) => args.file != Path::new("-") && begins_exported(&args.file)?,
        };
        match (exported, key, &args.target.collection) {
            (true, None, _) => Ok(Self::Export(Restore { into: args.target.clone(), skip_bad: args.skip_bad })),
            (true, Some(_), _) => Err(CliError::usage("the lines of an export have their ids: leave --id away")),
            (false, None, _) => Err(CliError::usage("nothing says where ids come from").hint(
                "--id FIELD or --id-template TEMPLATE for rows; --format export for what `tombolo export` wrote",
            )),
            (false, Some(_), None) => Err(CliError::usage(format!("`{}` does not say where", args.target.space))
                .hint("name the collection as well: SPACE/COLLECTION")),
            (false, Some(key), Some(collection)) => {
                let target = CollectionRef::new(&args.target.space, collection);
                Ok(Self::Rows(Job { target, key, skip_bad: args.skip_bad }))
            }
        }
    }

    /// What tells this import from others of the same file.
    fn about(&self) -> String {
        match self {
            Self::Rows(job) => format!("{} {:?}", job.target, job.key),
            Self::Export(job) => format!("{:?} export", job.into),
        }
    }
}

/// Whether the first row of a file is a line of an export.
fn begins_exported(path: &Path) -> Result<bool, CliError> {
    let mut row = Vec::new();
    let read = Source::file(path).and_then(|mut source| source.next(&mut row));
    match read {
        Ok(_) => Ok(is_exported(&row)),
        Err(error) => Err(unreadable(path, &error)),
    }
}

pub(crate) async fn run(ui: &mut Ui, context: &Context, args: &ImportArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let plan = Plan::of(args)?;
    let (source, resume, size) = open(ui, context, args, &plan)?;
    let mut view = View::new(ui.byte_bar(size), source.raw_bytes(), source.unit());
    let mut on = |event| {
        if let Event::Durable(_, Some(place)) = event
            && let Some(resume) = &resume
        {
            resume.save(place)?;
        }
        view.show(ui, event);
        Ok(())
    };
    let result = match &plan {
        Plan::Rows(job) => upload(&api, job, source, &mut on).await,
        Plan::Export(job) => restore(&api, job, source, &mut on).await,
    };
    view.bar.finish_and_clear();
    let counts = result?;
    if let Some(resume) = &resume {
        resume.forget();
    }
    if ui.is_json() {
        let seconds = view.bar.elapsed().as_secs_f64();
        return ui.json(&json!({ "target": args.target.to_string(), "counts": counts, "seconds": seconds }));
    }
    ui.line(summary(&counts, view.bar.elapsed().as_secs_f64()))
}

/// The rows, where the place is kept, and how large the file is.
fn open(
    ui: &Ui,
    context: &Context,
    args: &ImportArgs,
    plan: &Plan,
) -> Result<(Source, Option<Resume>, Option<u64>), CliError> {
    if args.file == Path::new("-") {
        return Ok((Source::stdin().map_err(|error| unreadable(&args.file, &error))?, None, None));
    }
    let failed = |error: SourceError| unreadable(&args.file, &error);
    let resume = Resume::of(&context.data, &args.file, &plan.about())?;
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
    let rows = counts.durable() + counts.errors;
    let rate = rows as f64 / seconds.max(0.001);
    let mut text = format!(
        "{} rows in {seconds:.1} s ({}/s): {} created, {} updated, {} as they were",
        human::count(rows),
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
                let rows = counts.durable() + counts.errors;
                let rate = rows as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
                let (lines, unit) = (human::count(rows), self.unit);
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
