//! The work: entities of eight small fields, the same for everybody and every time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Fields by id.
pub(crate) type Items = BTreeMap<String, Map<String, Value>>;

/// The field that changes.
pub(crate) const CHANGING: &str = "count";

/// What a peer must show.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    items: Items,
    round: u64,
}

/// What a peer shows, or should.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Shown {
    pub(crate) entities: u64,
    /// Sum modulo 2^64 of the first eight bytes of SHA-256(id, 0, fields as JSON in the order of their names),
    /// hexadecimal.
    pub(crate) sum: String,
}

impl Work {
    pub(crate) fn new(entities: u64) -> Self {
        Self { items: (0..entities).map(|number| (id(number), fields(number))).collect(), round: 0 }
    }

    pub(crate) fn entities(&self) -> u64 {
        self.items.len() as u64
    }

    pub(crate) fn items(&self) -> &Items {
        &self.items
    }

    /// Changes one field of so many entities, evenly spread; answers these, whole.
    pub(crate) fn change(&mut self, count: u64) -> Items {
        let (entities, round) = (self.entities(), self.round + 1);
        self.round = round;
        let count = count.min(entities);
        let numbers = (0..count).map(|at| at * entities / count);
        numbers.filter_map(|number| self.change_one(number).map(|fields| (id(number), fields))).collect()
    }

    fn change_one(&mut self, number: u64) -> Option<Map<String, Value>> {
        let round = self.round;
        let fields = self.items.get_mut(&id(number))?;
        fields.insert(CHANGING.to_owned(), json!(round));
        Some(fields.clone())
    }

    /// One field of one entity, a new value.
    pub(crate) fn touch(&mut self, number: u64) -> Items {
        self.round += 1;
        let number = number % self.entities().max(1);
        self.change_one(number).map(|fields| (id(number), fields)).into_iter().collect()
    }

    pub(crate) fn shown(&self) -> Shown {
        let mut sum = Sum::default();
        self.items.iter().for_each(|(id, fields)| sum.add(id, fields));
        sum.shown()
    }
}

/// Adds up what a peer shows, in any order.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    entities: u64,
    sum: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, id: &str, fields: &Map<String, Value>) {
        let mut hash = Sha256::new();
        hash.update(id);
        hash.update([0]);
        hash.update(text(fields));
        let (mut raw, digest) = ([0; 8], hash.finalize());
        raw.copy_from_slice(&digest[..8]);
        self.sum = self.sum.wrapping_add(u64::from_be_bytes(raw));
        self.entities += 1;
    }

    pub(crate) fn shown(&self) -> Shown {
        Shown { entities: self.entities, sum: format!("{:016x}", self.sum) }
    }
}

/// Fields as JSON in the order of their names. All values are strings, booleans and integers: there is one way to write
/// them.
pub(crate) fn text(fields: &Map<String, Value>) -> String {
    let ordered: BTreeMap<&String, &Value> = fields.iter().collect();
    serde_json::to_string(&ordered).unwrap_or_default()
}

fn id(number: u64) -> String {
    format!("c{number:07}")
}

/// About 150 bytes of JSON.
fn fields(number: u64) -> Map<String, Value> {
    let random = mix(number);
    let part = |shift: u32, range: u64| (random >> shift) % range;
    let syllables =
        ["ber", "lin", "os", "lo", "ham", "burg", "vil", "la", "san", "to", "mar", "kov", "ny", "stad", "ford", "ia"];
    let name: String = (0..3 + part(0, 3)).map(|at| syllables[part(4 * at as u32, 16) as usize]).collect();
    let country = ["no", "fr", "it", "pe", "ke", "jp", "ca", "nz"][part(8, 8) as usize];
    let fields = json!({
        "name": name,
        "country": country,
        "region": format!("{:02}", part(20, 60)),
        "lat": part(33, 18_000_000),
        "lng": part(29, 36_000_000),
        "open": part(7, 2) == 0,
        "note": format!("row {number} of the work"),
        CHANGING: 0,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// SplitMix64: well mixed, and the same for ever.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_touches_one_field_of_so_many_and_shows() {
        let mut work = Work::new(100);
        let before = work.shown();
        let changed = work.change(10);
        assert_eq!(changed.keys().map(String::as_str).take(2).collect::<Vec<_>>(), ["c0000000", "c0000010"]);
        assert_eq!((changed.len(), changed["c0000010"].len(), &changed["c0000010"][CHANGING]), (10, 8, &json!(1)));
        assert_eq!((before.entities, work.shown().entities), (100, 100));
        assert_ne!(before.sum, work.shown().sum);
        assert_eq!(work.change(1_000).len(), 100);
        assert_eq!(work.touch(105)["c0000005"][CHANGING], json!(3));
        assert_eq!(work.touch(5)["c0000005"][CHANGING], json!(4));
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let work = Work::new(3);
        let mut sum = Sum::default();
        work.items().iter().rev().for_each(|(id, fields)| sum.add(id, fields));
        assert_eq!(sum.shown(), work.shown());
    }
}
