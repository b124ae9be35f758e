//! Tests of the codec: against Automerge's, and against hostile bytes.

mod differential;
mod forge;
mod hostile;
mod made;
mod mutation;
mod oracle;

use super::*;
