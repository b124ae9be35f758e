//! RFC 9457 problem details: what is said when something cannot be done.
//!
//! Every slug is stable. A title says what kind of thing went wrong, the detail what and where, the hint what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::handle::Stopped;
use crate::store::StoreError;
use crate::stream::StreamError;

/// Where the types of problems are described.
const BASE: &str = "https://tombolo.dev/problems/";

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unauthorized,
    ForbiddenHost,
    ForbiddenOrigin,
    Role,
    NotFound,
    UnknownSpace,
    AmbiguousSpace,
    SpaceExists,
    MethodNotAllowed,
    RevisionMismatch,
    BaseUnknown,
    RevisionUnknown,
    TooLarge,
    UnsupportedMediaType,
    InvalidJson,
    InvalidValue,
    InvalidName,
    InvalidTicket,
    TicketExpired,
    TicketUsed,
    TicketRefused,
    IdempotencyConflict,
    InvalidArgument,
    Damaged,
    Store,
    Full,
    TooManyStreams,
    Timeout,
    Stopping,
}

impl Kind {
    /// All kinds, for the description of the API.
    pub(super) const ALL: [Self; 29] = [
        Self::Unauthorized,
        Self::ForbiddenHost,
        Self::ForbiddenOrigin,
        Self::Role,
        Self::NotFound,
        Self::UnknownSpace,
        Self::AmbiguousSpace,
        Self::SpaceExists,
        Self::MethodNotAllowed,
        Self::RevisionMismatch,
        Self::BaseUnknown,
        Self::RevisionUnknown,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidJson,
        Self::InvalidValue,
        Self::InvalidName,
        Self::InvalidTicket,
        Self::TicketExpired,
        Self::TicketUsed,
        Self::TicketRefused,
        Self::IdempotencyConflict,
        Self::InvalidArgument,
        Self::Damaged,
        Self::Store,
        Self::Full,
        Self::TooManyStreams,
        Self::Timeout,
        Self::Stopping,
    ];

    /// (slug, status, title).
    pub(super) const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "The API token is missing or wrong"),
            Self::ForbiddenHost => ("forbidden-host", StatusCode::FORBIDDEN, "This host name is not allowed"),
            Self::ForbiddenOrigin => {
                ("forbidden-origin", StatusCode::FORBIDDEN, "Web pages elsewhere may not call this")
            }
            Self::Role => ("role", StatusCode::FORBIDDEN, "This node's role does not allow it"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is nothing here"),
            Self::UnknownSpace => ("unknown-space", StatusCode::NOT_FOUND, "This node does not hold the space"),
            Self::AmbiguousSpace => ("ambiguous-space", StatusCode::CONFLICT, "Several spaces have this name"),
            Self::SpaceExists => ("space-exists", StatusCode::CONFLICT, "This node holds such a space already"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The resource does not take this method")
            }
            Self::RevisionMismatch => {
                ("revision-mismatch", StatusCode::PRECONDITION_FAILED, "The entity is not as expected")
            }
            Self::BaseUnknown => {
                ("base-unknown", StatusCode::PRECONDITION_FAILED, "The base revision is not known here")
            }
            Self::RevisionUnknown => {
                ("revision-unknown", StatusCode::NOT_FOUND, "The entity was never so on this node")
            }
            Self::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "Over a limit"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Another content type is needed")
            }
            Self::InvalidJson => ("invalid-json", StatusCode::UNPROCESSABLE_ENTITY, "The body is not JSON"),
            Self::InvalidValue => ("invalid-value", StatusCode::UNPROCESSABLE_ENTITY, "The value cannot be taken"),
            Self::InvalidName => ("invalid-name", StatusCode::UNPROCESSABLE_ENTITY, "A name breaks its rules"),
            Self::InvalidTicket => ("invalid-ticket", StatusCode::UNPROCESSABLE_ENTITY, "The ticket cannot be read"),
            Self::TicketExpired => ("ticket-expired", StatusCode::CONFLICT, "The ticket has expired"),
            Self::TicketUsed => ("ticket-used", StatusCode::CONFLICT, "Somebody has used the ticket"),
            Self::TicketRefused => ("ticket-refused", StatusCode::CONFLICT, "A member refused the ticket"),
            Self::IdempotencyConflict => (
                "idempotency-conflict",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key was used for another request",
            ),
            Self::InvalidArgument => ("invalid-argument", StatusCode::BAD_REQUEST, "An argument is wrong"),
            Self::Damaged => ("damaged", StatusCode::INTERNAL_SERVER_ERROR, "A stored value is damaged"),
            Self::Store => ("store", StatusCode::SERVICE_UNAVAILABLE, "The store cannot be used at present"),
            Self::Full => ("full", StatusCode::INSUFFICIENT_STORAGE, "The disk is full"),
            Self::TooManyStreams => ("too-many-streams", StatusCode::TOO_MANY_REQUESTS, "Too many streams at once"),
            Self::Timeout => ("timeout", StatusCode::REQUEST_TIMEOUT, "The request does not move"),
            Self::Stopping => ("stopping", StatusCode::SERVICE_UNAVAILABLE, "The node is stopping"),
        }
    }

    /// What to do about it, where that is always the same.
    const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Unauthorized => {
                "send `Authorization: Bearer TOKEN`; the token is in the file `token` of the data directory"
            }
            Self::ForbiddenHost => "call a loopback name with the node's port, or start the node with --allow-host",
            Self::ForbiddenOrigin => {
                "call the API from a program on this machine, or from a page that it serves itself"
            }
            Self::UnknownSpace => "`tombolo space ls` lists the spaces of this node",
            Self::AmbiguousSpace => "use the space's id instead of its name",
            Self::SpaceExists => "take another name; `tombolo space ls` lists the spaces of this node",
            Self::RevisionMismatch => "read the entity again and decide; Tombolo-Base merges instead of refusing",
            Self::BaseUnknown => "read the entity again and make the change on top of what it is now",
            Self::RevisionUnknown => {
                "`tombolo history` lists the revisions it had here; a receipt or a moment means the same on every node"
            }
            Self::Full => "make room on the disk; reads go on, and writes are taken again by themselves",
            Self::Store => "try again in a moment; the node reopens its store by itself",
            Self::Damaged => {
                "what can be rebuilt from its entries is, within seconds: try again; `tombolo status` says what cannot"
            }
            Self::TicketExpired | Self::TicketUsed => "ask for a new ticket",
            Self::TooManyStreams => "end some of them: one stream without `collection` tells everything of a space",
            Self::Timeout => "send the body in one go, or as an import",
            Self::Stopping => "nothing was written for this request; send it again once the node runs",
            _ => return None,
        })
    }
}

/// What is said when something cannot be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    detail: String,
    hint: Option<String>,
    more: Map<String, Value>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), hint: kind.hint().map(str::to_owned), more: Map::new() }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A member of the details beyond those of the RFC.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Such a member.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.more.get(name)
    }

    pub(super) fn argument(detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind.facts().1
    }

    pub(super) fn to_json(&self) -> Value {
        let (slug, status, title) = self.kind.facts();
        let mut value = json!({
            "type": format!("{BASE}{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut value {
            members.extend(self.hint.iter().map(|hint| ("hint".to_owned(), Value::from(hint.as_str()))));
            members.extend(self.more.clone());
        }
        value
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{}\n", self.to_json())).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.kind == Kind::TooManyStreams {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.kind == Kind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer realm=\"tombolo\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Corrupt { .. } => Kind::Damaged,
            StoreError::Full { .. } => Kind::Full,
            _ => Kind::Store,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Store(error) => error.into(),
            StreamError::Damaged { ref collection, ref id, .. } => {
                Self::new(Kind::Damaged, error.to_string()).with("collection", &**collection).with("id", &**id)
            }
        }
    }
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Self {
        Self::new(Kind::Stopping, stopped.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_and_details_have_all_members() {
        let slugs: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.facts().0).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        let problem = Problem::new(Kind::TooLarge, "too much").with("limit", 5);
        assert_eq!(
            problem.to_json(),
            json!({
                "type": "https://tombolo.dev/problems/too-large", "title": "Over a limit", "status": 413,
                "detail": "too much", "limit": 5
            })
        );
        assert!(Problem::new(Kind::Full, "").to_json().get("hint").is_some());
    }

    #[test]
    fn store_errors_are_told_apart() {
        let corrupt = StoreError::corrupt("entities", "x");
        assert_eq!(Problem::from(corrupt).kind, Kind::Damaged);
        assert_eq!(Problem::from(StoreError::Latched).kind, Kind::Store);
    }
}
