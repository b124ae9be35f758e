//! `status`.

use reqwest::Method;

use crate::args::Context;
use crate::error::CliError;
use crate::human;
use crate::model::{Disputed, Frozen, MemberStatus, SpaceStatus, Status};
use crate::ui::Ui;

/// Show spaces, peers, lag, and what needs a human
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tombolo status\n  tombolo status --json")]
pub(crate) struct StatusArgs {}

pub(crate) async fn run(ui: &mut Ui, context: &Context, _: &StatusArgs) -> Result<(), CliError> {
    let api = context.api()?;
    let answer = api.answer(api.request(Method::GET, "/v1/status")).await?;
    if ui.is_json() {
        ui.raw(answer.body.trim_ascii_end())?;
        return ui.raw(b"\n");
    }
    ui.line(render(&answer.json()?))
}

/// The whole page.
fn render(status: &Status) -> String {
    let mut text = format!("node   {}  {}  {}", status.name, human::short(&status.node), status.addrs.join(" "));
    if let Some(why) = &status.full {
        text.push_str(&format!("\n  ! writes are refused: {why}"));
    }
    match status.counters.failures {
        0 => {}
        failures => text.push_str(&format!(
            "\n  ! {} of its commits failed since it was started, on a full or failing disk or on damaged data: \
             see its log, then stop it and run `tombolo verify`",
            human::count(failures)
        )),
    }
    if !status.joins.is_empty() {
        text.push_str(&format!("\n  {} space(s) to join: no member has answered yet", status.joins.len()));
    }
    for dial in &status.dials {
        let (addrs, tries) = (dial.addrs.join(" "), human::count(dial.failures));
        text.push_str(&format!("\n  ! cannot reach {addrs} ({tries} tries): {}", dial.error));
    }
    if status.spaces.is_empty() {
        text.push_str("\nno spaces yet: `tombolo space create NAME`, or `tombolo space join TICKET`");
    }
    for space in &status.spaces {
        text.push_str("\n\n");
        text.push_str(&render_space(space));
    }
    text
}

/// One space with its members.
pub(crate) fn render_space(space: &SpaceStatus) -> String {
    let mut text = format!(
        "space  {}  {}  {}  {} entities  state {}",
        human::plain(&space.name),
        human::short(&space.space),
        space.role.as_deref().unwrap_or("no role"),
        human::count(space.entities),
        human::short(&space.state),
    );
    let rows: Vec<Vec<String>> = space.members.iter().map(member_row).collect();
    if rows.is_empty() {
        text.push_str(&format!(
            "\n  nobody else yet: `tombolo space invite {} --role writer`",
            human::plain(&space.name)
        ));
    } else {
        text.push('\n');
        text.push_str(&human::table("  ", &rows));
    }
    for held in &space.held {
        let from = human::short(&held.node);
        let reason = human::plain(&held.reason);
        text.push_str(&format!("\n  ! {} entries of {from} wait: {reason}", human::count(held.entries)));
    }
    if space.refused > 0 {
        text.push_str(&format!(
            "\n  ! {} entries were refused and are kept in quarantine",
            human::count(space.refused)
        ));
    }
    if space.repaired > 0 {
        text.push_str(&format!("\n  {} damaged rows were built anew from their entries", human::count(space.repaired)));
    }
    for Frozen { collection, id, reason } in &space.frozen {
        let (collection, id, reason) = (human::plain(collection), human::plain(id), human::plain(reason));
        text.push_str(&format!("\n  ! {collection}/{id} is damaged here and frozen: {reason}"));
    }
    let more = space.poisoned.saturating_sub(space.frozen.len() as u64);
    if more > 0 {
        text.push_str(&format!("\n  ! {} more entities are damaged here and frozen", human::count(more)));
    }
    for Disputed { collection, id, with } in &space.disputed {
        let (collection, id, with) = (human::plain(collection), human::plain(id), human::short(with));
        text.push_str(&format!("\n  ! {collection}/{id} is another at {with} with the same entries: please report it"));
    }
    text
}

fn member_row(member: &MemberStatus) -> Vec<String> {
    let name = if member.name.is_empty() { human::short(&member.node).to_owned() } else { member.name.clone() };
    let mut state = match (member.diverged, member.in_step, member.behind) {
        (true, ..) => "! DIVERGED: same entries, another state; run `tombolo verify` on both".to_owned(),
        (_, true, _) => "in step".to_owned(),
        (_, _, Some(0)) => "has all of ours".to_owned(),
        (_, _, Some(behind)) => {
            let since = member.behind_for().map(|since| format!(" for {}", human::duration(since))).unwrap_or_default();
            format!("behind by {}{since}", human::count(behind))
        }
        (_, _, None) => "unknown".to_owned(),
    };
    if !member.reason.is_empty() {
        state.push_str(&format!(": {}", member.reason));
    }
    if member.refused_there > 0 {
        state.push_str(&format!(" (refused {} entries of ours)", member.refused_there));
    }
    let link = if member.connected { "connected" } else { "away" };
    vec![name, member.role.clone().unwrap_or_default(), link.to_owned(), state]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_behind_says_by_how_much_and_why() {
        let member = MemberStatus {
            name: "hamburg".to_owned(),
            role: Some("writer".to_owned()),
            behind: Some(1_200),
            reason: "not connected".to_owned(),
            ..MemberStatus::default()
        };
        let space = SpaceStatus { name: "shop".to_owned(), members: vec![member], ..SpaceStatus::default() };
        let text = render(&Status { spaces: vec![space], ..Status::default() });
        assert!(text.contains("hamburg  writer  away  behind by 1,200: not connected"), "{text}");
    }

    #[test]
    fn failed_commits_are_told_with_what_to_do_about_them() {
        let status: Status = serde_json::from_str(r#"{"counters":{"failures":1200}}"#).expect("decodes");
        let text = render(&status);
        let line = text.lines().find(|line| line.contains("1,200")).expect("a line of its own");
        assert!(line.contains("failed") && line.contains("tombolo verify"), "{text}");
        assert!(!render(&Status::default()).contains("failed"));
    }

    #[test]
    fn an_empty_node_says_what_to_do_next() {
        assert!(render(&Status::default()).contains("space create"));
    }
}
