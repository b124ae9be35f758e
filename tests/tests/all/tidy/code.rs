//! Rules about code.

/// Lines without the items that are compiled for tests alone. As rustfmt leaves them: an item ends with its line, or at
/// the brace that stands below its beginning.
pub(super) fn product<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut kept = Vec::new();
    let mut lines = lines;
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let head = lines.by_ref().find(|line| line.ends_with(['{', ';', '}', ',']));
        if head.is_some_and(|head| head.ends_with('{')) {
            lines.by_ref().find(|line| *line == end);
        }
    }
    kept
}

#[test]
fn what_is_compiled_for_tests_alone_is_no_product() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n    #[cfg(test)]\n    fn c() {\n        assert!(d);\n    }\n    // assert!(e)\n\
                debug_assert_eq!(f, g);";
    let lines = product(text.lines());
    assert_eq!(lines, ["a", "b", "    // assert!(e)", "debug_assert_eq!(f, g);"]);
}
