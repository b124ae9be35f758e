//! Tests of the codec: against Automerge's, and against hostile bytes.

mod differential;
mod forge;
mod hostile;
mod mutation;
mod oracle;
mod timing;

use super::*;
