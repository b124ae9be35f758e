//! `demo`: three real nodes, real data, a partition, a heal, the proof.

mod cluster;
mod conflicts;

use std::io::Cursor;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::CliError;
use crate::human::{self, count, short};
use crate::import::{Event, Job, Key, Source, upload};
use crate::interrupt::or_interrupted;
use crate::local_nodes::{LocalNode, export_hash, in_step};
use crate::model::SpaceStatus;
use crate::target::CollectionRef;
use crate::ui::Ui;
use cluster::Cluster;
use conflicts::Outcome;

/// The shipped sample: OurAirports, public domain (cli/data/README.md).
const AIRPORTS: &[u8] = include_bytes!("../../../data/airports.ndjson");
const SPACE: &str = "world";
const COLLECTION: &str = "airports";
/// Nothing in the demo takes longer unless it does not work.
const LIMIT: Duration = Duration::from_secs(20);

/// See it work: three real nodes on this machine, a partition, a heal, the proof
///
/// Starts three node processes with QUIC on loopback and stores in a temporary directory, imports 5,210 real airports
/// on one, cuts another off, writes to the same entities on both sides, heals, and compares every byte. Exit 1 if
/// anything does not hold. Leaves nothing behind.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo demo\n  tombolo demo --json")]
pub(crate) struct DemoArgs {}

pub(crate) async fn run(ui: &mut Ui, _: &DemoArgs) -> Result<(), CliError> {
    or_interrupted(show(ui)).await
}

async fn show(ui: &mut Ui) -> Result<(), CliError> {
    let begin = Instant::now();
    say(ui, "1  Three nodes on this machine, each a process of its own")?;
    let cluster = Cluster::start(SPACE).await?;
    show_nodes(ui, &cluster)?;

    say(ui, "\n2  Real data in on one node")?;
    let import = import(ui, &cluster).await?;
    let replicated = Instant::now();
    let seen = in_step(&cluster.all(), SPACE, Some(import.entities), LIMIT).await?;
    let replicated = replicated.elapsed();
    show_digests(ui, &cluster, &format!("equal {} after the import ended", human::duration(replicated))).await?;

    say(ui, "\n3  berlin and hamburg lose oslo; both sides go on writing to the same entities")?;
    let cases = conflicts::cases();
    conflicts::prepare(&cases, &cluster).await?;
    in_step(&cluster.all(), SPACE, None, LIMIT).await?;
    let (cut, apart) = cut(ui, &cluster, &cases).await?;

    say(ui, "\n4  The link is back")?;
    let healing = Instant::now();
    cluster.network.heal();
    let healed = in_step(&cluster.all(), SPACE, None, LIMIT).await?;
    let healing = healing.elapsed();
    show_digests(ui, &cluster, &format!("equal {} after the heal", human::duration(healing))).await?;

    say(ui, "\n5  What became of each conflict")?;
    let outcomes = conflicts::outcomes(&cases, &cluster).await?;
    show_outcomes(ui, &outcomes)?;

    say(ui, "\n6  The proof: the exports of all three, byte for byte")?;
    let proof = proof(ui, &cluster).await?;
    let document = json!({
        "ok": true,
        "nodes": cluster.all().iter().map(|node| json!({ "name": node.name, "memory_peak_bytes": node.memory().peak })).collect::<Vec<_>>(),
        "import": { "entities": import.entities, "bytes": AIRPORTS.len(), "seconds": import.seconds, "entities_per_s": import.rate() },
        "replicated_after_s": replicated.as_secs_f64(),
        "digests": { "imported": digests(&seen), "apart": apart, "healed": digests(&healed) },
        "cut": { "seconds": cut.as_secs_f64(), "datagrams_dropped": cluster.network.dropped() },
        "healed_after_s": healing.as_secs_f64(),
        "conflicts": outcomes,
        "export": proof,
        "network_bytes": cluster.network.passed(),
        "seconds": begin.elapsed().as_secs_f64(),
    });
    finish(ui, &document, &outcomes)
}

/// The figures, and the verdict.
fn finish(ui: &mut Ui, document: &Value, outcomes: &[Outcome]) -> Result<(), CliError> {
    let failed: Vec<&str> = outcomes.iter().filter(|outcome| !outcome.holds).map(|outcome| outcome.title).collect();
    let mut document = document.clone();
    document["ok"] = json!(failed.is_empty() && document["export"]["equal"] == true);
    if ui.is_json() {
        ui.json(&document)?;
    } else {
        let seconds =
            |name: &str| human::duration(Duration::from_secs_f64(document[name].as_f64().unwrap_or_default()));
        ui.line(format!(
            "\nImported {}/s; in step on three nodes {} later; healed in {}; {} over the network; {} in all.",
            count(document["import"]["entities_per_s"].as_f64().unwrap_or_default() as u64),
            seconds("replicated_after_s"),
            seconds("healed_after_s"),
            human::bytes(document["network_bytes"].as_u64().unwrap_or_default()),
            seconds("seconds"),
        ))?;
    }
    if document["export"]["equal"] != true {
        return Err(CliError::failed("the exports differ"));
    }
    if !failed.is_empty() {
        return Err(CliError::failed("not every conflict came out as promised").cause(failed.join(", ")));
    }
    say(
        ui,
        "Nothing was lost, and all three nodes hold the same bytes.\nNext: `tombolo run`, then `tombolo space create NAME`.",
    )
}

struct Import {
    entities: u64,
    seconds: f64,
}

impl Import {
    fn rate(&self) -> f64 {
        self.entities as f64 / self.seconds.max(1e-6)
    }
}

async fn import(ui: &mut Ui, cluster: &Cluster) -> Result<Import, CliError> {
    let target = CollectionRef::new(SPACE, COLLECTION);
    let job = Job { target, key: Key::Field("ident".to_owned()), skip_bad: false };
    let source =
        Source::new(Cursor::new(AIRPORTS)).map_err(|error| CliError::failed("the sample is damaged").cause(error))?;
    let rows = AIRPORTS.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()).count() as u64;
    let (bar, begin) = (ui.count_bar(rows, "airports"), Instant::now());
    let counts = upload(&cluster.berlin.api, &job, source, &mut |event| {
        if let Event::Durable(counts, _) = event {
            bar.set_position(counts.lines);
        }
        Ok(())
    })
    .await?;
    bar.finish_and_clear();
    let import = Import { entities: counts.created, seconds: begin.elapsed().as_secs_f64() };
    let (entities, rate) = (count(import.entities), count(import.rate() as u64));
    say(ui, format!("   {entities} airports (OurAirports, public domain) on berlin, {rate}/s, durable"))?;
    if import.entities != rows {
        return Err(CliError::failed(format!("{rows} airports were to be imported, {entities} were")));
    }
    Ok(import)
}

/// Cuts oslo off, writes on both sides, and makes sure that neither side has seen the other.
async fn cut(ui: &mut Ui, cluster: &Cluster, cases: &[conflicts::Case]) -> Result<(Duration, Value), CliError> {
    let begin = Instant::now();
    cluster.network.cut(cluster.oslo.listen()?);
    let writes = conflicts::write(cases, cluster).await?;
    let near = in_step(&[&cluster.berlin, &cluster.hamburg], SPACE, None, LIMIT).await?;
    let far = cluster.oslo.space(SPACE).await?;
    if near.state == far.state {
        return Err(CliError::failed("oslo was to be cut off and is not"));
    }
    let text = format!("{writes} writes while apart; {} datagrams dropped", count(cluster.network.dropped()));
    show_digests(ui, cluster, &text).await?;
    Ok((begin.elapsed(), json!({ "berlin": digests(&near), "hamburg": digests(&near), "oslo": digests(&far) })))
}

/// Exports all three and compares.
async fn proof(ui: &mut Ui, cluster: &Cluster) -> Result<Value, CliError> {
    let mut hashes = Vec::new();
    for node in cluster.all() {
        let (hash, bytes) = export_hash(node, SPACE).await?;
        say(ui, format!("   {:<8} {}  blake3 {}", node.name, human::bytes(bytes), hash.to_hex()))?;
        hashes.push((hash, bytes));
    }
    assert_eq!(hashes.len(), cluster.all().len(), "what is shown as equal has been compared");
    let equal = hashes.iter().all(|hash| *hash == hashes[0]);
    Ok(json!({ "equal": equal, "blake3": hashes[0].0.to_hex().as_str(), "bytes": hashes[0].1 }))
}

fn show_nodes(ui: &mut Ui, cluster: &Cluster) -> Result<(), CliError> {
    for node in cluster.all() {
        say(
            ui,
            format!("   {:<8} QUIC on {}, its store in {}", node.name, node.listen()?, node.data_path().display()),
        )?;
    }
    say(ui, format!("   berlin created the space `{SPACE}`; hamburg and oslo joined with one-line tickets"))
}

async fn show_digests(ui: &mut Ui, cluster: &Cluster, text: &str) -> Result<(), CliError> {
    for node in cluster.all() {
        let seen = node.space(SPACE).await?;
        let line = digest_line(node, &seen);
        say(ui, line)?;
    }
    say(ui, format!("   {text}"))
}

fn digest_line(node: &LocalNode, seen: &SpaceStatus) -> String {
    let (entities, state, frontier) = (count(seen.entities), short(&seen.state), short(&seen.frontier));
    format!("   {:<8} {entities:>6} entities  state {state}  frontier {frontier}", node.name)
}

fn show_outcomes(ui: &mut Ui, outcomes: &[Outcome]) -> Result<(), CliError> {
    for outcome in outcomes {
        let mark = if outcome.holds { "✓" } else { "✗" };
        say(ui, format!("   {mark} {} ({})", outcome.title, outcome.id))?;
        say(ui, format!("       {:<8} {}", outcome.near_node, outcome.near))?;
        say(ui, format!("       oslo     {}", outcome.far))?;
        say(ui, format!("       all show {}   {}", outcome.shown, outcome.rule))?;
    }
    Ok(())
}

fn digests(seen: &SpaceStatus) -> Value {
    json!({ "entities": seen.entities, "state": seen.state, "frontier": seen.frontier })
}

/// The story, for people only.
fn say(ui: &mut Ui, text: impl std::fmt::Display) -> Result<(), CliError> {
    if ui.is_json() { Ok(()) } else { ui.line(text) }
}
