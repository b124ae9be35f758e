//! What made-up writes say. Every value carries the number of its write, so that nobody takes one write for another.

use serde_json::{Map, Value, json};

use crate::Dice;
use crate::plan::Action;
use crate::scenario::model::{ContentShape, Workload};

/// A kind of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Patch,
    Increment,
    Delete,
}

/// Makes the values of one write.
pub(super) struct Pen<'w> {
    load: &'w Workload,
    no: u32,
    used: u32,
    dice: Dice,
}

/// Of eight fields of a patch, one is taken away.
const REMOVED: usize = 8;
/// Distance between the numbers of two writes: more values than one write has.
const NUMBERS: u32 = 1_000;

impl<'w> Pen<'w> {
    /// For the write with this number; the seed is the write's own.
    pub(super) const fn new(load: &'w Workload, no: u32, seed: u64) -> Self {
        Self { load, no, used: 0, dice: Dice::new(seed) }
    }

    pub(super) fn action(&mut self, kind: Kind) -> Action {
        match kind {
            Kind::Put => Action::Put(self.content(false)),
            Kind::Patch => Action::Patch(self.content(true)),
            Kind::Delete => Action::Delete,
            Kind::Increment => {
                let by = self.dice.pick(&self.load.by).copied().unwrap_or(1);
                let path = if self.dice.once_in(3) { "/stock" } else { "/count" };
                Action::Increment { path: path.into(), by }
            }
        }
    }

    /// `w17`, then `w17.1`, `w17.2`, ….
    fn text(&mut self) -> Value {
        self.used += 1;
        match self.used {
            1 => json!(format!("w{}", self.no)),
            used => json!(format!("w{}.{}", self.no, used - 1)),
        }
    }

    /// 17001, 17002, ….
    fn number(&mut self) -> Value {
        self.used += 1;
        json!(u64::from(self.no) * u64::from(NUMBERS) + u64::from(self.used))
    }

    fn content(&mut self, patch: bool) -> Value {
        let shape = match (self.load.shape, self.dice.below(3)) {
            (ContentShape::Mixed, 0) => ContentShape::Flat,
            (ContentShape::Mixed, 1) => ContentShape::Nested,
            (ContentShape::Mixed, _) => ContentShape::Arrays,
            (shape, _) => shape,
        };
        let mut map = Map::new();
        match shape {
            ContentShape::Nested => {
                let geo = [("lat", self.number()), ("lon", self.number())];
                let geo = self.some(geo, patch);
                let address = [("city", self.text()), ("street", self.text()), ("geo", Value::Object(geo))];
                let address = self.some(address, patch);
                let owner = [("name", self.text()), ("since", self.number())];
                let owner = self.some(owner, patch);
                map.insert("address".into(), Value::Object(address));
                map.insert("owner".into(), Value::Object(owner));
            }
            ContentShape::Arrays => {
                let lines = json!([{ "item": self.text(), "n": self.number() }, { "item": self.text() }]);
                let fields = [("tags", json!([self.text(), self.text()])), ("lines", lines)];
                map.append(&mut self.some(fields, patch));
            }
            ContentShape::Flat | ContentShape::Mixed => {
                let fields =
                    [("title", self.text()), ("state", self.text()), ("note", self.text()), ("size", self.number())];
                map.append(&mut self.some(fields, patch));
            }
        }
        if self.load.padding > 0 {
            map.insert("padding".into(), json!(format!("w{} {}", self.no, "x".repeat(self.load.padding))));
        }
        Value::Object(map)
    }

    /// At least one of the fields; in a patch some of them are taken away.
    fn some<const N: usize>(&mut self, fields: [(&str, Value); N], patch: bool) -> Map<String, Value> {
        let kept = self.dice.below(N);
        let mut map = Map::new();
        for (index, (key, value)) in fields.into_iter().enumerate() {
            if index == kept || self.dice.once_in(2) {
                let gone = patch && self.dice.once_in(REMOVED);
                map.insert(key.into(), if gone { Value::Null } else { value });
            }
        }
        map
    }
}
