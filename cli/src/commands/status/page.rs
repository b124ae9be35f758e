//! The page: the node, its spaces, their members.

use super::troubles::{Names, of_node, of_space};
use crate::human;
use crate::model::{MemberStatus, SpaceStatus, Status};

/// Large rows in the line about them.
const LARGEST_SHOWN: usize = 3;

/// The whole page. `width`: columns that a line may take.
pub(super) fn render(status: &Status, now_ms: u64, width: Option<usize>) -> String {
    let name = human::plain(&status.name);
    let mut text = format!("node   {name}  {}  {}", human::short(&status.node), status.addrs.join(" "));
    for join in &status.joins {
        let name = human::plain(join["name"].as_str().unwrap_or("a space")).into_owned();
        text.push_str(&format!("\n  joining {name}: no member has answered yet"));
    }
    if status.spaces.is_empty() && status.joins.is_empty() {
        text.push_str("\nno spaces yet: `tombolo space create NAME`, or `tombolo space join TICKET`");
    }
    for space in &status.spaces {
        text.push_str("\n\n");
        text.push_str(&render_space(space, now_ms, None));
    }
    let troubles = of_node(status);
    if !troubles.is_empty() {
        text.push('\n');
    }
    for line in troubles {
        text.push_str(&format!("\n! {line}"));
    }
    fit(&text, width)
}

/// One space with its members, and what is wrong with it.
pub(crate) fn render_space(space: &SpaceStatus, now_ms: u64, width: Option<usize>) -> String {
    let mut text = format!(
        "space  {}  {}  {}  {}  state {}",
        human::plain(&space.name),
        human::short(&space.space),
        space.role.as_deref().unwrap_or("no role"),
        human::many(space.entities, "entity", "entities"),
        human::short(&space.state),
    );
    let names = Names::of(std::slice::from_ref(space));
    let mut members: Vec<&MemberStatus> = space.members.iter().collect();
    members.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    let rows: Vec<Vec<String>> = members.into_iter().map(|member| member_row(member, &names, now_ms)).collect();
    if rows.is_empty() {
        let name = human::word(&space.name).into_owned();
        text.push_str(&format!("\n  nobody else yet: `tombolo space invite {} --role writer`", human::plain(&name)));
    } else {
        text.push('\n');
        text.push_str(&human::table("  ", &rows));
    }
    if space.repaired > 0 {
        let rows = human::some(space.repaired, "damaged row");
        text.push_str(&format!("\n  {rows} built anew from the entries"));
    }
    text.push_str(&largest(space));
    for line in of_space(space, &names, now_ms) {
        text.push_str(&format!("\n  ! {line}"));
    }
    fit(&text, width)
}

/// The largest rows: every write to one of them costs its size.
fn largest(space: &SpaceStatus) -> String {
    let shown = space.largest.iter().take(LARGEST_SHOWN).map(|row| {
        let name = format!("{}/{}", row.collection, row.id);
        let removed = match row.removed_objects + row.removed_elements {
            0 => String::new(),
            removed => format!(", {} of it removed", human::many(removed, "object or element", "objects and elements")),
        };
        format!("{} ({}{removed})", human::plain(&name), human::bytes(row.row_bytes))
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { String::new() } else { format!("\n  largest rows: {}", shown.join(", ")) }
}

fn fit(text: &str, width: Option<usize>) -> String {
    match width {
        None => text.to_owned(),
        Some(width) => text.lines().map(|line| human::clip(line, width)).collect::<Vec<_>>().join("\n"),
    }
}

fn member_row(member: &MemberStatus, names: &Names, now_ms: u64) -> Vec<String> {
    let link = if member.connected { "connected" } else { "away" };
    let mut state = state(member, now_ms);
    if member.refused_there > 0 {
        state.push_str(&format!(" (refused {} of ours)", human::many(member.refused_there, "entry", "entries")));
    }
    vec![names.shown(&member.node), member.role.clone().unwrap_or_default(), link.to_owned(), state]
}

/// How far the member has what this node holds, and what happens about it.
fn state(member: &MemberStatus, now_ms: u64) -> String {
    if member.diverged {
        return "! DIVERGED: same entries, another state; run `tombolo verify` on both".to_owned();
    }
    if member.in_step {
        return "in step".to_owned();
    }
    match (member.behind, member.connected) {
        (Some(0), true) if member.reason == "receiving" => "has all of ours; more of its own is coming".to_owned(),
        (Some(0), true) => format!("has all of ours; {}", member.reason),
        (Some(0), false) => "had all of ours when it was last here".to_owned(),
        (Some(behind), connected) => {
            let since = member.behind_for(now_ms).map(|since| format!(" for {}", human::duration(since)));
            let doing = if connected { format!("; {}", member.reason) } else { String::new() };
            format!("lacks {} of ours{}{doing}", human::count(behind), since.unwrap_or_default())
        }
        (None, true) => member.reason.clone(),
        (None, false) => "has not been met yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Connection, Dial};

    const NOW: u64 = 1_800_000_000_000;

    fn member(name: &str, connected: bool) -> MemberStatus {
        MemberStatus {
            node: format!("{:0<64}", data_encoding::HEXLOWER.encode(name.as_bytes())),
            name: name.to_owned(),
            role: Some("writer".to_owned()),
            connected,
            in_step: connected,
            behind: Some(if connected { 0 } else { 1_200 }),
            behind_since: (!connected).then_some(NOW - 900_000),
            reason: if connected { String::new() } else { "not connected".to_owned() },
            ..MemberStatus::default()
        }
    }

    fn fleet() -> Status {
        let names =
            ["kiel", "bremen", "essen", "aachen", "hamm", "ulm", "jena", "gera", "celle", "furth", "dachau", "lahr"];
        let members: Vec<MemberStatus> = names.iter().enumerate().map(|(i, name)| member(name, i < 3)).collect();
        let dials = members.iter().filter(|member| !member.connected).map(|member| Dial {
            node: Some(member.node.clone()),
            addrs: vec!["10.77.0.3:7700".to_owned()],
            error: "no answer from 10.77.0.3:7700: nobody there, or UDP is blocked".to_owned(),
            failures: 12,
        });
        let dials = dials.collect();
        let space = SpaceStatus { name: "shop".to_owned(), members, ..SpaceStatus::default() };
        Status { spaces: vec![space], dials, ..Status::default() }
    }

    #[test]
    fn a_fleet_stands_in_order_and_what_is_wrong_follows_with_names() {
        let text = render(&fleet(), NOW, Some(80));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        let members: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("  ")).collect();
        assert!(members.is_sorted() && members.len() == 12, "{text}");
        let first = lines.iter().position(|line| line.starts_with('!')).expect("something is wrong");
        assert!(lines[first..].iter().all(|line| line.starts_with('!')), "{text}");
        assert!(lines[first].contains("aachen") && lines.len() - first < 9, "{text}");
        assert!(lines.last().is_some_and(|line| line.contains("more")), "{text}");
        assert!(text.contains("aachen  writer  away       lacks 1,200 of ours for 15 min"), "{text}");
    }

    #[test]
    #[cfg_attr(not(feature = "bench"), expect(clippy::needless_update, reason = "the bench has a field more"))]
    fn clocks_that_are_off_are_told() {
        let connection = |node: &MemberStatus, skew| Connection {
            node: node.node.clone(),
            name: node.name.clone(),
            clock_skew_ms: skew,
            ..Connection::default()
        };
        let mut status = fleet();
        let members = status.spaces[0].members.clone();
        status.dials.clear();
        status.connections = vec![connection(&members[0], 2_000), connection(&members[1], 400 * 86_400_000)];
        let text = render(&status, NOW, None);
        assert!(
            text.ends_with("! the clock of bremen is 400 d ahead of this machine's: one of them is wrong"),
            "{text}"
        );
        status.connections[0].clock_skew_ms = 400 * 86_400_000 - 5_000;
        let text = render(&status, NOW, None);
        assert!(text.contains("this machine's clock is 400 d behind") && !text.contains("one of them"), "{text}");
    }

    #[test]
    fn failed_commits_are_told_with_what_to_do_about_them() {
        let status: Status = serde_json::from_str(r#"{"counters":{"failures":1200}}"#).expect("decodes");
        let text = render(&status, NOW, None);
        let line = text.lines().find(|line| line.contains("1,200")).expect("a line of its own");
        assert!(line.contains("failed") && line.contains("tombolo verify"), "{text}");
        assert!(!render(&Status::default(), NOW, None).contains("failed"));
    }

    #[test]
    fn two_members_of_one_name_are_told_apart_and_strangers_are_nobodys_concern() {
        let mut status = fleet();
        let members = &mut status.spaces[0].members;
        members[4].name = "vm".to_owned();
        members[5].name = "vm".to_owned();
        let short = members[4..6].iter().map(|member| human::short(&member.node).to_owned()).collect::<Vec<_>>();
        status.dials.retain(|dial| dial.node.as_deref().is_some_and(|node| node.starts_with(&short[0])));
        let text = render(&status, NOW, None);
        for short in &short {
            assert!(text.contains(&format!("vm ({short})")), "{text}");
        }
        assert!(text.contains(&format!("! cannot reach vm ({}): no answer", short[0])), "{text}");
        // Somebody else's node on this network, which answers nobody.
        let lines = text.lines().count();
        status.dials.push(Dial { node: Some("f".repeat(64)), ..status.dials[0].clone() });
        assert_eq!(render(&status, NOW, None).lines().count(), lines);
        status.joins.push(serde_json::json!({"name": "other"}));
        assert!(render(&status, NOW, None).contains("! cannot reach ffffffff"), "it may be whom a ticket leads to");
    }

    #[test]
    fn entities_that_run_out_and_large_rows_are_told_with_the_way_out() {
        let space: SpaceStatus = serde_json::from_str(
            r#"{"name":"shop","running_out_entities":7,
                "running_out":[{"collection":"orders","id":"o-1","numbers_left":412000000}],
                "largest":[{"collection":"orders","id":"o-2","row_bytes":1400000,"removed_objects":9000,
                            "removed_elements":1}]}"#,
        )
        .expect("decodes");
        let text = render_space(&space, NOW, None);
        let line = text.lines().find(|line| line.contains("! orders/o-1")).expect("a line of its own");
        assert!(line.contains("412,000,000") && line.contains("new id") && line.contains("x-merge: list"), "{text}");
        assert!(text.contains("! 6 entities more will run out"), "{text}");
        assert!(text.contains("largest rows: orders/o-2 (1.4 MB, 9,001 objects and elements of it removed)"), "{text}");
        assert!(!render_space(&SpaceStatus::default(), NOW, None).contains("largest"));
    }

    #[test]
    fn an_empty_node_says_what_to_do_next() {
        assert!(render(&Status::default(), NOW, None).contains("space create"));
    }
}
