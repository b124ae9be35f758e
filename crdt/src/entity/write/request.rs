//! What a client may ask for.

use crate::json::Json;

/// A write to one entity.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The entity is this now. With a base: the difference base → value is applied to what is there. Creates.
    Put {
        /// The new value, an object.
        value: Json,
        /// What the caller had read.
        base: Option<Json>,
    },
    /// JSON Merge Patch (RFC 7396).
    MergePatch(Json),
    /// JSON Patch (RFC 6902).
    JsonPatch(Vec<PatchOp>),
    /// Operations that say what they mean.
    Ops(Vec<TypedOp>),
    /// The entity is gone; what its deletion has not seen brings it back. Nothing happens if it is not there.
    Delete,
}

/// A typed operation; paths are JSON Pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypedOp {
    /// Adds to a counter; creates it if nothing is there.
    Increment {
        /// Where the counter is.
        path: String,
        /// What to add.
        by: i64,
    },
    /// Inserts before an index of a list; at its length appends.
    Insert {
        /// Where the list is.
        path: String,
        /// Before which element.
        index: usize,
        /// What to insert.
        values: Vec<Json>,
    },
    /// Deletes elements of a list.
    Delete {
        /// Where the list is.
        path: String,
        /// The first element to go.
        index: usize,
        /// How many go.
        count: usize,
    },
    /// Deletes, then inserts in the same place.
    Splice {
        /// Where the list is.
        path: String,
        /// The first element to go.
        index: usize,
        /// How many go.
        delete: usize,
        /// What comes instead.
        values: Vec<Json>,
    },
}

/// An operation of a JSON Patch; paths are JSON Pointers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchOp {
    /// Sets a field, or inserts into a list (`-` appends).
    Add {
        /// Where.
        path: String,
        /// What.
        value: Json,
    },
    /// Removes what is there.
    Remove {
        /// Where.
        path: String,
    },
    /// Sets what is there.
    Replace {
        /// Where.
        path: String,
        /// To what.
        value: Json,
    },
    /// Removes from one place, adds at another.
    Move {
        /// Where from.
        from: String,
        /// Where to.
        path: String,
    },
    /// Adds at one place what is at another.
    Copy {
        /// Where from.
        from: String,
        /// Where to.
        path: String,
    },
    /// Fails the patch unless this value is there.
    Test {
        /// Where.
        path: String,
        /// What must be there.
        value: Json,
    },
}

/// A JSON value that is not a JSON Patch. Caller's fault; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchOpError {
    /// Not an array.
    #[error("a JSON Patch is an array of operations")]
    NotAnArray,
    /// An operation that is none of the six, or lacks a member.
    #[error("operation {index}: {lack}")]
    Operation {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        lack: &'static str,
    },
}

impl PatchOp {
    /// Reads the operations of a JSON Patch document.
    pub fn parse_list(patch: &Json) -> Result<Vec<Self>, PatchOpError> {
        let Json::Array(ops) = patch else { return Err(PatchOpError::NotAnArray) };
        let parse = |(index, op)| Self::parse(op).map_err(|lack| PatchOpError::Operation { index, lack });
        ops.iter().enumerate().map(parse).collect()
    }

    fn parse(op: &Json) -> Result<Self, &'static str> {
        let fields = op.as_object().ok_or("not an object")?;
        let text = |name, lack| fields.get(name).and_then(Json::as_str).map(str::to_owned).ok_or(lack);
        let path = text("path", "`path` is missing")?;
        let value = || fields.get("value").cloned().ok_or("`value` is missing");
        let from = || text("from", "`from` is missing");
        match text("op", "`op` is missing")?.as_str() {
            "add" => Ok(Self::Add { path, value: value()? }),
            "remove" => Ok(Self::Remove { path }),
            "replace" => Ok(Self::Replace { path, value: value()? }),
            "move" => Ok(Self::Move { from: from()?, path }),
            "copy" => Ok(Self::Copy { from: from()?, path }),
            "test" => Ok(Self::Test { path, value: value()? }),
            _ => Err("`op` is none of add, remove, replace, move, copy, test"),
        }
    }
}
