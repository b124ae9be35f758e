//! What a command is about: `SPACE`, `SPACE/COLLECTION`, `SPACE/COLLECTION/ID`.

use std::fmt;
use std::str::FromStr;

use tombolo_crdt::names;

/// A collection of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CollectionRef {
    pub(crate) space: String,
    pub(crate) collection: String,
}

/// One entity. The id is everything after the second slash and may hold slashes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityRef {
    pub(crate) collection: CollectionRef,
    pub(crate) id: String,
}

/// A whole space or one collection of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeRef {
    pub(crate) space: String,
    pub(crate) collection: Option<String>,
}

impl CollectionRef {
    pub(crate) fn new(space: &str, collection: &str) -> Self {
        Self { space: space.to_owned(), collection: collection.to_owned() }
    }

    pub(crate) fn entity(&self, id: &str) -> EntityRef {
        EntityRef { collection: self.clone(), id: id.to_owned() }
    }

    /// The route of the collection below the API's address.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", space_path(&self.space), encode(&self.collection))
    }
}

impl EntityRef {
    /// The route of the entity below the API's address.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection.path(), encode(&self.id))
    }
}

impl FromStr for CollectionRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (space, collection) = text.split_once('/').ok_or_else(|| form(text, "SPACE/COLLECTION"))?;
        if space.is_empty() {
            return Err(form(text, "SPACE/COLLECTION"));
        }
        names::check_collection(collection).map_err(|error| error.to_string())?;
        Ok(Self::new(space, collection))
    }
}

impl FromStr for EntityRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || form(text, "SPACE/COLLECTION/ID");
        let second = text.match_indices('/').nth(1).ok_or_else(wrong)?.0;
        let (collection, id) = text.split_at(second);
        let id = &id[1..];
        names::check_id(id).map_err(|error| error.to_string())?;
        if matches!(id, "." | "..") {
            return Err(format!(
                "the id `{id}` cannot stand in a URL; reach it with POST /v1/spaces/SPACE/transactions"
            ));
        }
        Ok(Self { collection: collection.parse()?, id: id.to_owned() })
    }
}

impl FromStr for ScopeRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains('/') {
            true => {
                text.parse().map(|CollectionRef { space, collection }| Self { space, collection: Some(collection) })
            }
            false if text.is_empty() => Err(form(text, "SPACE or SPACE/COLLECTION")),
            false => Ok(Self { space: text.to_owned(), collection: None }),
        }
    }
}

impl fmt::Display for CollectionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.space, self.collection)
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.id)
    }
}

impl fmt::Display for ScopeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.collection {
            Some(collection) => write!(f, "{}/{collection}", self.space),
            None => f.write_str(&self.space),
        }
    }
}

/// The route of a space.
pub(crate) fn space_path(space: &str) -> String {
    format!("/v1/spaces/{}", encode(space))
}

/// Percent-encodes everything but the characters that never need it.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    debug_assert!(encoded.is_ascii() && !encoded.contains('/'), "what is encoded is one part of a route");
    encoded
}

fn form(text: &str, expected: &str) -> String {
    format!("`{text}` does not say where: expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_hold_slashes() {
        let entity: EntityRef = "shop/orders/2024/o-17".parse().expect("parses");
        assert_eq!(entity.collection, CollectionRef::new("shop", "orders"));
        assert_eq!(entity.id, "2024/o-17");
        assert_eq!(entity.path(), "/v1/spaces/shop/orders/2024%2Fo-17");
        assert_eq!(entity.to_string(), "shop/orders/2024/o-17");
        let entity: EntityRef = "s/c/Zürich 1/%".parse().expect("parses");
        assert_eq!(entity.path(), "/v1/spaces/s/c/Z%C3%BCrich%201%2F%25");
        assert_eq!("s/c//".parse::<EntityRef>().expect("parses").id, "/");
    }

    #[test]
    fn what_is_no_target() {
        for text in ["", "s", "s/c", "s/c/", "/c/i", "s//i", "s/c d/i", "s/c/\n", "s/c/..", "s/c/."] {
            assert!(text.parse::<EntityRef>().is_err(), "{text:?}");
        }
        for text in ["", "s", "/c", "s/", "s/a b", "s/c/i"] {
            assert!(text.parse::<CollectionRef>().is_err(), "{text:?}");
        }
        assert_eq!("s".parse::<ScopeRef>().expect("parses").collection, None);
        assert_eq!("s/c".parse::<ScopeRef>().expect("parses").collection.as_deref(), Some("c"));
        assert!("s/".parse::<ScopeRef>().is_err());
    }
}
