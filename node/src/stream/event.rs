//! Events as CloudEvents 1.0 in structured JSON.

use serde_json::{Value, json};
use tombolo_crdt::entity::EntityState;
use tombolo_crdt::{Hlc, Receipt, SpaceId};

use super::cursor::Cursor;
use super::quote;
use crate::moment::rfc3339;

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Changed,
    Deleted,
    Refused,
    Rules,
    Reset,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Changed => "dev.tombolo.entity.changed",
            Self::Deleted => "dev.tombolo.entity.deleted",
            Self::Refused => "dev.tombolo.entry.refused",
            Self::Rules => "dev.tombolo.rules.changed",
            Self::Reset => "dev.tombolo.reset",
        }
    }
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// Where a reader is that has taken it.
    pub(crate) cursor: Cursor,
    /// Collection, id, revision and view of the entity it is about.
    entity: Option<(String, String, String, Option<Vec<u8>>)>,
    receipt: Option<Receipt>,
    hlc: Option<Hlc>,
    refused: Option<Value>,
}

impl Event {
    pub(crate) const fn new(kind: Kind, cursor: Cursor) -> Self {
        Self { kind, cursor, entity: None, receipt: None, hlc: None, refused: None }
    }

    pub(crate) fn entity(mut self, collection: &str, id: &str, state: Option<&EntityState>) -> Self {
        let revision = state.map_or_else(String::new, |state| state.revision().to_string());
        let view = state.filter(|state| state.is_present()).map(EntityState::view_bytes);
        self.entity = Some((collection.to_owned(), id.to_owned(), revision, view));
        self
    }

    pub(crate) const fn receipt(mut self, receipt: Option<Receipt>) -> Self {
        self.receipt = receipt;
        self
    }

    pub(crate) const fn at(mut self, hlc: Option<Hlc>) -> Self {
        self.hlc = hlc;
        self
    }

    pub(crate) fn refused(mut self, verdict: Option<&str>, entities: Vec<(String, String)>) -> Self {
        let entities: Vec<Value> =
            entities.into_iter().map(|(collection, id)| json!({ "collection": collection, "id": id })).collect();
        self.refused = Some(json!({ "verdict": verdict, "entities": entities }));
        self
    }

    /// The entity it is about, and its view if it is there.
    pub(crate) fn about(&self) -> Option<(&str, &str, Option<&[u8]>)> {
        let (collection, id, _, view) = self.entity.as_ref()?;
        Some((collection, id, view.as_deref()))
    }

    /// The entry it comes from.
    pub(crate) const fn entry(&self) -> Option<Receipt> {
        self.receipt
    }

    /// The event as one line of JSON, without a line feed. The view is passed on byte by byte.
    pub(crate) fn to_json(&self, space: SpaceId) -> Vec<u8> {
        let mut out = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{}\",\"source\":\"tombolo:{space}\",\"type\":\"{}\"",
            self.cursor,
            self.kind.name()
        )
        .into_bytes();
        if let Some((collection, id, ..)) = &self.entity {
            out.extend_from_slice(format!(",\"subject\":{}", quote(&format!("{collection}/{id}"))).as_bytes());
        } else if let Some(receipt) = self.receipt {
            out.extend_from_slice(format!(",\"subject\":\"{receipt}\"").as_bytes());
        }
        if let Some(hlc) = self.hlc {
            out.extend_from_slice(format!(",\"time\":\"{}\"", rfc3339(hlc)).as_bytes());
        }
        out.extend_from_slice(b",\"datacontenttype\":\"application/json\",\"data\":");
        self.data(&mut out);
        out.push(b'}');
        out
    }

    fn data(&self, out: &mut Vec<u8>) {
        let receipt = self.receipt.map(|receipt| receipt.to_string());
        if let Some((collection, id, revision, view)) = &self.entity {
            let (collection, id) = (quote(collection), quote(id));
            let head = format!("{{\"collection\":{collection},\"id\":{id},\"revision\":\"{revision}\",\"value\":");
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(view.as_deref().unwrap_or(b"null"));
            out.extend_from_slice(format!(",\"receipt\":{}}}", json!(receipt)).as_bytes());
            return;
        }
        let mut data = json!({});
        if let Some(refused) = &self.refused {
            data.clone_from(refused);
        }
        if let Some(receipt) = receipt {
            data["receipt"] = receipt.into();
        }
        out.extend_from_slice(data.to_string().as_bytes());
    }

    /// The event as a message of a stream of server-sent events.
    pub(crate) fn to_sse(&self, space: SpaceId) -> Vec<u8> {
        let mut out = format!("id: {}\nevent: {}\ndata: ", self.cursor, self.kind.name()).into_bytes();
        // JSON has no line feeds outside strings, and in strings they are escaped.
        out.extend_from_slice(&self.to_json(space));
        out.extend_from_slice(b"\n\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use tombolo_crdt::FeedId;

    use super::super::cursor::Mark;
    use super::*;

    #[test]
    fn events_are_json_with_the_members_of_cloudevents() {
        let space = SpaceId::from_bytes([1; 32]);
        let cursor = Cursor::At(Mark::default(), 2);
        let receipt = Receipt { feed: FeedId::from_bytes([2; 16]), seq: 3 };
        let event = Event::new(Kind::Deleted, cursor).entity("orders", "a\"b", None).receipt(Some(receipt));
        let event = event.at(Some(Hlc::from_millis(0)));
        let value: Value = serde_json::from_slice(&event.to_json(space)).expect("JSON");
        assert_eq!(value["type"], "dev.tombolo.entity.deleted");
        assert_eq!(value["id"], "00000000000000000000000000000000.2");
        assert_eq!(value["subject"], "orders/a\"b");
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(value["data"]["value"], Value::Null);
        assert_eq!(value["data"]["receipt"], receipt.to_string());

        let refused = Event::new(Kind::Refused, Cursor::At(Mark::default(), 0)).receipt(Some(receipt));
        let refused = refused.refused(Some("role"), vec![("orders".to_owned(), "a".to_owned())]);
        let value: Value = serde_json::from_slice(&refused.to_json(space)).expect("JSON");
        assert_eq!((&value["data"]["verdict"], &value["data"]["entities"][0]["id"]), (&json!("role"), &json!("a")));
        let sse = String::from_utf8(refused.to_sse(space)).expect("text");
        assert!(sse.starts_with("id: 0") && sse.ends_with("\n\n") && sse.matches('\n').count() == 4, "{sse}");
    }
}
