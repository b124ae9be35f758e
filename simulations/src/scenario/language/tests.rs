use super::*;
use crate::scenario::units;

fn one(text: &str) -> Statement {
    let (mut statements, problems) = read(text, None, &Place::default());
    assert!(problems.is_empty(), "{text}: {problems:?}");
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

#[test]
fn the_example_of_every_fault_is_read() {
    for (verb, _, usage) in VERBS {
        for usage in usage.split(", or one way: ") {
            let text = usage.replace("T..T2", "1h..2h").replace("T0", "30m").replace(" T ", " 1h ");
            let text = text.replace(" A", " berlin").replace(" B", " rome, oslo");
            let statement = one(&text);
            assert_eq!(statement.begin, units::when("1h").expect("a time"), "{verb}");
        }
    }
}

#[test]
fn statements_end_with_semicolons_and_lines() {
    let text = "# a partition\nat 2h cut berlin from *; at 50h heal # done\n\n;;at 51h..52h~1m isolate any\n";
    let (statements, problems) = read(text, None, &Place::default());
    assert!(problems.is_empty());
    assert!(matches!(statements[0].what, What::Cut { b: Who::All, one_way: false, .. }));
    assert_eq!(statements[0].end, End::Open);
    assert!(matches!(statements[1].what, What::Heal));
    assert!(matches!(statements[2].what, What::Isolate(Who::Any)));
    assert_eq!(statements[2].end, End::At(units::when("52h~1m").expect("a time")));
}

#[test]
fn options_come_in_any_order() {
    let statement = one("at 1h crash a,b torn in-repair 2 for 30s~5s in-commit 7");
    assert_eq!(statement.end, End::For(units::when("30s~5s").expect("a time")));
    let What::Crash { who: Who::These(names), unsynced, in_commit, in_repair } = statement.what else {
        panic!("not a crash");
    };
    assert_eq!(names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((unsynced, in_commit, in_repair), (Some(Unsynced::Torn), Some(7), Some(2)));
}
