//! Tests of the codec: against Automerge's, and against hostile bytes.

mod differential;
mod oracle;

use super::*;
