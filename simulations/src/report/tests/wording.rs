//! Times, faults and writes in words; text and data inside HTML.

use std::time::Duration;

use serde_json::json;

use super::made::{fault, plan, write};
use crate::plan::{Action, Fault};
use crate::report::html::{embed, escape};
use crate::report::words::{self, WRITE_CHARS_MAX, moment, span};

#[test]
fn a_span_has_two_units_and_a_moment_is_exact() {
    let cases = [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_500, "1.5 ms"),
        (59_999_000, "59.999 s"),
        (60_000_000, "1 min"),
        (3_725_000_000, "1 h 2 min"),
        (86_400_000_000, "1 d"),
        (273_600_000_000, "3 d 4 h"),
    ];
    for (us, words) in cases {
        assert_eq!(span(Duration::from_micros(us)), words);
    }
    assert_eq!(moment(Duration::from_micros(3_725_000_042)), "01:02:05.000042");
    assert_eq!(moment(Duration::from_micros(2 * 86_400_000_000 + 1)), "2d 00:00:00.000001");
}

#[test]
fn faults_name_their_nodes_and_writes_their_content() {
    let mut plan = plan(&["berlin", "lisbon", "oslo"]);
    let cut = Fault::Cut { from: vec![0], to: vec![1, 2], one_way: true };
    assert_eq!(words::fault(&plan, &fault(1, 0, 1, cut)), "cut berlin → lisbon, oslo, one way");
    let lossy = Fault::Lossy { from: vec![0], to: vec![9], loss_ppm: 12_500 };
    assert_eq!(words::fault(&plan, &fault(1, 0, 1, lossy)), "1.25 % of packets lost: berlin | node 9");
    let increment = write(3, 0, Action::Increment { path: "/n".to_owned(), by: -2 });
    assert_eq!(words::write(&plan, &increment), "shop: increment stock/item-3 /n by -2");
    plan.writes.push(write(4, 0, Action::Put(json!("é".repeat(WRITE_CHARS_MAX)))));
    let long = words::write(&plan, &plan.writes[0]);
    assert_eq!(long.chars().count(), WRITE_CHARS_MAX + 1);
    assert!(long.ends_with('…'));
}

#[test]
fn text_and_data_stay_where_they_are_put() {
    assert_eq!(escape("<a href='x'>&\"\0"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}");
    let data = json!({"x": "</script><!-- <script> & \u{2028}"});
    let embedded = embed(&data).expect("JSON");
    for forbidden in ["<", ">", "&", "\u{2028}"] {
        assert!(!embedded.contains(forbidden), "{embedded}");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(&embedded).expect("JSON"), data);
}
