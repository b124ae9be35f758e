//! Scenario `made`, seed 17: values, a value. Found by tombolo 0.1.0.

use tombolo_sim::capsule::plan_of;
use tombolo_sim::outcome::{RunOptions, Verdict};
use tombolo_sim::world;

/// Everything that is decided before the run.
const PLAN: &str = r##"{
  "scenario": "made",
  "seed": 17,
  "noise": 9012699239430190511,
  "nodes": [
    {
      "name": "north",
      "clock_offset_ms": 0,
      "clock_drift_ppm": 0,
      "commit": {
        "min_us": 500,
        "p50_us": 1000,
        "p99_us": 5000,
        "max_us": 20000
      }
    },
    {
      "name": "south",
      "clock_offset_ms": 0,
      "clock_drift_ppm": 0,
      "commit": {
        "min_us": 500,
        "p50_us": 1000,
        "p99_us": 5000,
        "max_us": 20000
      }
    }
  ],
  "links": [
    {
      "from": 0,
      "to": 1,
      "latency": {
        "min_us": 5000,
        "p50_us": 15000,
        "p99_us": 40000,
        "max_us": 60000
      },
      "bandwidth": 0,
      "loss_ppm": 0,
      "duplicate_ppm": 0,
      "corrupt_ppm": 0
    }
  ],
  "spaces": [
    {
      "name": "main",
      "members": [
        [
          0,
          "Writer"
        ],
        [
          1,
          "Writer"
        ]
      ]
    }
  ],
  "initial": [
    {
      "space": 0,
      "collection": "stock",
      "id": "lamp",
      "value": {
        "name": "a \"#quoted\"# lamp"
      }
    }
  ],
  "writes": [],
  "faults": [],
  "duration": 60000000,
  "patience": 600000000,
  "survivors": [
    0,
    1
  ],
  "assertions": []
}"##;

#[test]
fn scenario_made_17() {
    let plan = plan_of(PLAN).expect("a plan of this version");
    assert_eq!(world::run(&plan, RunOptions::default()).verdict, Verdict::Held);
}
