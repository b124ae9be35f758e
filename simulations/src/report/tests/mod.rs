//! Goal: what a run tells is true, complete within its limits, and cannot break out of the file it is in.
//! Method: plans and events made by hand, and a long run made by dice.

mod diagrams;
mod made;
mod shiviz_logs;
mod summaries;
mod wording;
