//! What readers see: winners, and maps created concurrently shown as one.
//!
//! The *group* at a path is all live map operations at its key in any map of the group above it. It is one value of the
//! key's conflict set. Its id, by which it wins or loses, is **the greatest id among its map operations that have
//! visible content**; without any it is not shown (as an element of an array it is, by its greatest id). The bytes
//! value "empty map" joins the group and shows `{}` when nothing else of the group does.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::doc::{Doc, Kind, Live, Object, Value};
use super::id::OpId;
use super::ops::Ops;
use super::seq::Seq;
use super::visits::BYTES_PER_VISIT;
use super::write::VIEW_BYTES_MAX;
use super::{DELETED, EntityState, Flags};
use crate::json::{Fields, Json, VIEW_DEPTH_MAX};

/// The live operations one object holds at a key or element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) holder: OpId,
    pub(super) ops: &'a Ops,
}

/// One value of a conflict set.
#[derive(Debug, Clone)]
pub(super) enum Shown<'a> {
    /// Maps that are viewed as one.
    Map(Vec<OpId>),
    /// The map without keys.
    Empty,
    /// Anything else.
    Value(&'a Value),
}

#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) id: OpId,
    pub(super) holder: OpId,
    pub(super) shown: Shown<'a>,
}

impl EntityState {
    /// The entity as JSON. An absent entity's fields are still there: ask [`EntityState::is_present`] first.
    #[must_use]
    pub fn view(&self) -> Json {
        Json::Object(self.doc.fields(&[OpId::ROOT], 1, &mut false))
    }

    /// The canonical bytes of the view.
    #[must_use]
    pub fn view_bytes(&self) -> Vec<u8> {
        self.view().to_bytes()
    }

    /// What readers must be told besides the view.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let mut over_depth = false;
        let view = Json::Object(self.doc.fields(&[OpId::ROOT], 1, &mut over_depth));
        Flags { over_depth, over_size: view.to_bytes().len() > VIEW_BYTES_MAX, came_back: self.came_back() }
    }
}

impl Doc {
    /// The conflict set of a key (or, with `in_list`, of an element): the winner first.
    pub(super) fn candidates<'a>(&'a self, slots: &[Slot<'a>], in_list: bool) -> Vec<Candidate<'a>> {
        let mut found = Vec::new();
        let (mut group, mut holder) = (Vec::new(), OpId::ROOT);
        let (mut empty, mut shown) = (None::<OpId>, None::<OpId>);
        for slot in slots {
            self.visits.add(slot.ops.len());
            for op in slot.ops {
                if op.value.is_map() {
                    group.push(op.id);
                    if self.has_content(op.id) {
                        shown = shown.max(Some(op.id));
                    } else if in_list {
                        empty = empty.max(Some(op.id));
                    }
                } else if op.value.is_empty_map() {
                    empty = empty.max(Some(op.id));
                } else {
                    found.push(Candidate { id: op.id, holder: slot.holder, shown: Shown::Value(&op.value) });
                    continue;
                }
                holder = slot.holder;
            }
        }
        if let Some(id) = shown.or(empty.filter(|_| in_list && !group.is_empty())) {
            found.push(Candidate { id, holder, shown: Shown::Map(group) });
        } else if let Some(id) = empty {
            found.push(Candidate { id, holder, shown: Shown::Empty });
        }
        found.sort_unstable_by_key(|candidate| Reverse(candidate.id));
        debug_assert!(
            found.iter().filter(|it| !matches!(it.shown, Shown::Value(_))).count() <= 1,
            "maps are one value"
        );
        found
    }

    /// Whether a map shows anything: some map within, however deep, holds something that is no map.
    fn has_content(&self, id: OpId) -> bool {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            for op in self.map(id).into_iter().flat_map(|keys| keys.values().flatten()) {
                self.visits.add(1);
                if !op.value.is_map() {
                    return true;
                }
                stack.push(op.id);
            }
        }
        false
    }

    /// The fields of a group. `depth` counts the containers down to and with it.
    pub(super) fn fields(&self, group: &[OpId], depth: usize, over: &mut bool) -> Fields {
        let mut field = |key: &str, slots: &[Slot<'_>]| {
            let shown = shown_key(group, key)?.to_owned();
            Some((shown, self.winner(slots, false, depth, over)?))
        };
        if let [id] = group {
            let keys = self.map(*id).into_iter().flatten();
            return keys.filter_map(|(key, ops)| field(key, &[Slot { holder: *id, ops }])).collect();
        }
        self.all_slots(group).into_iter().filter_map(|(key, slots)| field(key, &slots)).collect()
    }

    /// The value that wins a key or element.
    fn winner(&self, slots: &[Slot<'_>], in_list: bool, depth: usize, over: &mut bool) -> Option<Json> {
        if let [slot] = slots
            && let Some(only) = slot.ops.only()
            && !only.value.is_map()
        {
            return Some(self.value(only.id, &only.value, depth, over));
        }
        self.candidates(slots, in_list).first().map(|winner| self.json(winner, depth, over))
    }

    /// One value of a conflict set as JSON, below `depth` containers.
    pub(super) fn json(&self, candidate: &Candidate<'_>, depth: usize, over: &mut bool) -> Json {
        match &candidate.shown {
            Shown::Map(_) if depth >= VIEW_DEPTH_MAX => {
                *over = true;
                Json::Null
            }
            Shown::Map(group) => Json::Object(self.fields(group, depth + 1, over)),
            Shown::Empty => Json::Object(Fields::new()),
            Shown::Value(value) => self.value(candidate.id, value, depth, over),
        }
    }

    fn value(&self, id: OpId, value: &Value, depth: usize, over: &mut bool) -> Json {
        let text = if let Value::Str(text) = value { text.len() } else { 0 };
        self.visits.add(1 + text / BYTES_PER_VISIT);
        match value {
            Value::Null => Json::Null,
            Value::Bool(bool) => Json::Bool(*bool),
            Value::Int(int) | Value::Counter(int) => Json::Int(*int),
            Value::Uint(uint) => Json::Uint(*uint),
            Value::Float(float) if float.is_finite() => Json::Float(*float),
            Value::Float(_) => Json::Null,
            Value::Str(text) => Json::String(text.clone()),
            Value::Bytes(_) if value.is_empty_map() => Json::Object(Fields::new()),
            Value::Bytes(bytes) | Value::Unknown(_, bytes) => Json::String(data_encoding::BASE64.encode(bytes)),
            Value::Timestamp(millis) => rfc3339(*millis).map_or(Json::Int(*millis), Json::String),
            Value::Object(Kind::Text) => Json::String(self.text(id)),
            Value::Object(_) if depth >= VIEW_DEPTH_MAX => {
                *over = true;
                Json::Null
            }
            Value::Object(_) => match self.objects.get(&id) {
                Some(Object::Seq(seq)) => {
                    let slots = seq.shown().map(|elem| [Slot { holder: id, ops: &elem.ops }]);
                    Json::Array(slots.filter_map(|slot| self.winner(&slot, true, depth + 1, over)).collect())
                }
                // Maps come as groups; nothing else is an object.
                _ => Json::Null,
            },
        }
    }

    /// A text: its winners one after the other, U+FFFC for what is no string.
    fn text(&self, id: OpId) -> String {
        let shown = self.seq(id).into_iter().flat_map(Seq::shown);
        let winners = shown.inspect(|_| self.visits.add(1)).filter_map(|elem| elem.ops.last());
        let part = |op| match op {
            &Live { value: Value::Str(ref text), .. } => text.as_str(),
            _ => "\u{fffc}",
        };
        winners.map(part).collect()
    }
}

/// `$deleted`, `$$deleted`, ...: keys that the tombstone register keeps from being stored as they are.
fn is_reserved(key: &str) -> bool {
    key.trim_start_matches('$') == "deleted" && key.starts_with('$')
}

/// The key under which a group stores a user's key.
pub(super) fn stored_key<'a>(group: &[OpId], key: &'a str) -> Cow<'a, str> {
    let stored =
        if group == [OpId::ROOT] && is_reserved(key) { Cow::Owned(format!("${key}")) } else { Cow::Borrowed(key) };
    debug_assert_eq!(shown_key(group, &stored), Some(key), "what is stored is shown as it was called");
    stored
}

/// The user's name of a stored key; `None` for the register.
pub(super) fn shown_key<'a>(group: &[OpId], key: &'a str) -> Option<&'a str> {
    if group != [OpId::ROOT] || !is_reserved(key) {
        return Some(key);
    }
    if key == DELETED { None } else { key.strip_prefix('$') }
}

/// Milliseconds since 1970 as RFC 3339, within the years 0 to 9999.
fn rfc3339(millis: i64) -> Option<String> {
    let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days to civil date, after H. Hinnant: eras of 400 years that begin on 1 March.
    let day = days + 719_468;
    let (era, in_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let march = (5 * in_year + 2) / 153;
    let date = in_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    let text = || format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z");
    (0..=9999).contains(&year).then(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc3339() {
        for (millis, text) in [
            (0, Some("1970-01-01T00:00:00.000Z")),
            (951_782_400_123, Some("2000-02-29T00:00:00.123Z")),
            (-1, Some("1969-12-31T23:59:59.999Z")),
            (253_402_300_799_999, Some("9999-12-31T23:59:59.999Z")),
            (253_402_300_800_000, None),
            (i64::MIN, None),
            (i64::MAX, None),
        ] {
            assert_eq!(rfc3339(millis).as_deref(), text, "{millis}");
        }
    }

    #[test]
    fn reserved_keys_step_aside() {
        let root = [OpId::ROOT];
        for key in ["$deleted", "$$deleted", "deleted", "$", "", "$deletedx"] {
            let stored = stored_key(&root, key);
            assert_ne!(stored, DELETED);
            assert_eq!(shown_key(&root, &stored), Some(key));
        }
        assert_eq!(shown_key(&root, DELETED), None);
    }
}
