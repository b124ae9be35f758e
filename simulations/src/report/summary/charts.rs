//! Charts as SVG inside the page: no script, readable when printed and by a screen reader.

use std::collections::BTreeMap;

use super::Histogram;
use crate::report::html::escape;
use crate::report::words::clip;

const WIDTH: u64 = 620;
const PLOT_HEIGHT: u64 = 120;
/// Above the bars: a line for each mark, so that their words never meet.
const HEAD: u64 = 26;
const ROW_HEIGHT: u64 = 20;
const NAMES_WIDTH: u64 = 300;
/// Most characters of a name: what there is room for.
const NAME_CHARS_MAX: usize = 50;
const VALUES_WIDTH: u64 = 180;

/// Buckets of a histogram that make one bar, when there are many; and how many that is.
const BUCKETS_PER_BAR: u64 = 4;
const BARS_MANY: u64 = 40;
/// Most labels below the bars.
const LABELS_MAX: u64 = 6;

/// Number of a bucket, counted from the one of 0: neighbours differ by one.
fn index(floor: u64) -> u64 {
    let shift = u64::from(floor.checked_ilog2().unwrap_or(0)).saturating_sub(4);
    shift * 16 + (floor >> shift)
}

/// Least value of the bucket with that number.
fn floor(index: u64) -> u64 {
    let shift = (index / 16).saturating_sub(1);
    (index - shift * 16) << shift
}

/// A distribution; from left to right each doubling is equally wide.
pub(super) fn distribution(title: &str, values: &Histogram, label: impl Fn(u64) -> String) -> String {
    let wide = index(values.max) - index(values.min) > BARS_MANY;
    let each = if wide { BUCKETS_PER_BAR } else { 1 };
    let mut bars: BTreeMap<u64, u64> = BTreeMap::new();
    for (floor, count) in &values.buckets {
        *bars.entry(index(*floor) / each).or_default() += count;
    }
    let (Some(first), Some(last)) = (bars.keys().next(), bars.keys().next_back()) else { return String::new() };
    let (first, last) = (first.saturating_sub(1), last + 1);
    let most = bars.values().max().copied().unwrap_or(1).max(1);
    let x = |bar: u64| (bar - first) * WIDTH / (last - first + 1);
    let mut svg = String::new();
    for (bar, count) in &bars {
        let height = (count * PLOT_HEIGHT).div_ceil(most);
        let (left, right) = (x(*bar), x(bar + 1));
        assert!(height <= PLOT_HEIGHT && left <= right && right <= WIDTH, "a bar lies in its plot");
        let from = floor(bar * each);
        svg.push_str(&format!(
            "<rect class=\"bar\" x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{height}\"><title>{count} runs from {}</title></rect>",
            PLOT_HEIGHT - height + HEAD,
            (right - left).saturating_sub(1).max(1),
            escape(&label(from)),
        ));
    }
    let every = ((last - first) / LABELS_MAX).max(1);
    for bar in (first..=last).filter(|bar| (bar - first).is_multiple_of(every)) {
        let text = escape(&label(floor(bar * each)));
        svg.push_str(&format!("<text class=\"axis\" x=\"{}\" y=\"{}\">{text}</text>", x(bar), PLOT_HEIGHT + HEAD + 14));
    }
    for (name, percent, y) in [("½", 50, 10), ("99 %", 99, 22)] {
        let value = values.quantile(percent);
        let at = (x(index(value) / each) + x(index(value) / each + 1)) / 2;
        svg.push_str(&format!(
            "<line class=\"mark\" x1=\"{at}\" y1=\"{}\" x2=\"{at}\" y2=\"{}\"/><text class=\"mark\" x=\"{}\" y=\"{y}\">{name} {}</text>",
            y + 2,
            PLOT_HEIGHT + HEAD,
            at.min(WIDTH - 90),
            escape(&label(value)),
        ));
    }
    let about =
        format!("{title}: half within {}, 99 of 100 within {}", label(values.quantile(50)), label(values.quantile(99)));
    figure(title, &about, PLOT_HEIGHT + HEAD + 20, &svg)
}

/// A bar with its name and what stands after it.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: u64,
    pub(super) told: String,
    /// How it looks: a class of the style sheet.
    pub(super) class: &'static str,
}

/// Bars below each other, the longest as wide as there is room.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or(1).max(1);
    let room = WIDTH - NAMES_WIDTH - VALUES_WIDTH;
    let mut svg = String::new();
    for (bar, nth) in bars.iter().zip(0_u64..) {
        let (y, width) = (nth * ROW_HEIGHT, u128::from(bar.value) * u128::from(room) / u128::from(most));
        let (name, told, class) = (escape(&clip(bar.name.clone(), NAME_CHARS_MAX)), escape(&bar.told), bar.class);
        svg.push_str(&format!(
            "<text class=\"name {class}\" x=\"{}\" y=\"{}\">{name}</text>\
             <rect class=\"bar {class}\" x=\"{NAMES_WIDTH}\" y=\"{}\" width=\"{width}\" height=\"{}\"/>\
             <text class=\"value {class}\" x=\"{}\" y=\"{}\">{told}</text>",
            NAMES_WIDTH - 8,
            y + 14,
            y + 3,
            ROW_HEIGHT - 6,
            u128::from(NAMES_WIDTH) + width + 6,
            y + 14,
        ));
    }
    let about: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.name, bar.told)).collect();
    figure(title, &format!("{title}: {}", about.join("; ")), bars.len() as u64 * ROW_HEIGHT + 4, &svg)
}

fn figure(title: &str, about: &str, height: u64, svg: &str) -> String {
    format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">{svg}</svg></figure>\n",
        escape(title),
        escape(about),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_room() {
        let mut values = Histogram::default();
        values.add(5);
        let svg = distribution("Times", &values, |value| value.to_string());
        assert!(svg.contains("y=\"10\">½ 5<") && svg.contains("y=\"22\">99 % 5<"), "one below the other: {svg}");
        let long = Bar { name: "n".repeat(64), value: 1, told: String::new(), class: "" };
        assert!(bars("Bars", &[long]).contains(&format!(">{}…</text>", "n".repeat(NAME_CHARS_MAX))));
    }

    #[test]
    fn buckets_are_numbered_without_a_gap() {
        let floors: Vec<u64> = (0..200).map(floor).collect();
        assert!(floors.windows(2).all(|pair| pair[0] < pair[1]), "{floors:?}");
        for (floor, number) in floors.iter().zip(0..) {
            assert_eq!(index(*floor), number);
            let mut one = Histogram::default();
            one.add(*floor);
            assert_eq!(one.buckets.keys().next(), Some(floor), "the same buckets as those of a histogram");
        }
    }
}
