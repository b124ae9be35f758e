//! What a run tells: a diagram of one run, and a report over many.
//!
//! ```text
//! plan + outcome with events  ->  diagram (HTML), shiviz (log)
//! outcomes of many runs       ->  Summary  ->  text, JSON, JUnit XML, HTML page, CI annotations
//! ```
//!
//! Nothing here reads a clock or the network, and what it writes loads nothing from elsewhere: a file that was made on
//! a build machine opens in any browser, offline. [`files`] says what lies where.

pub mod diagram;
pub mod files;
mod html;
pub mod shiviz;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod words;

pub use diagram::diagram;
pub use shiviz::shiviz;
pub use summary::Summary;
