//! What requests say: paths, query strings, headers, bodies.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tombolo_crdt::Revision;
use tombolo_crdt::entry::Trace;
use tombolo_crdt::json::Json;
use tombolo_crdt::names::{check_collection, check_id};

use super::App;
use super::problem::{Kind, Problem};
use crate::engine::Expect;
use crate::handle::Stopped;

/// Collection names that paths of the API need for themselves.
const RESERVED: [&str; 6] = ["changes", "transactions", "export", "import", "invites", "members"];
/// Bytes of an idempotency key; a UUID has 36.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// The longest wait a request may ask for: proxies and clients give up sooner.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The parts of the path, by name.
#[derive(Debug)]
pub(super) struct PathParts(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for PathParts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<BTreeMap<String, String>>::from_request_parts(parts, state).await;
        let path = path.map_err(|error| Problem::new(Kind::InvalidName, error.body_text()))?;
        Ok(Self(path.0))
    }
}

impl PathParts {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn space(&self) -> &str {
        self.get("space")
    }

    /// Whether the path names a collection.
    pub(super) fn is_of_collection(&self) -> bool {
        self.0.contains_key("collection")
    }

    /// The collection, checked.
    pub(super) fn collection(&self) -> Result<&str, Problem> {
        let name = self.get("collection");
        check_collection_name(name)?;
        Ok(name)
    }

    /// The entity's id, checked. On the path of imports it is `import`.
    pub(super) fn id(&self) -> Result<&str, Problem> {
        let id = self.0.get("id").map_or("import", String::as_str);
        check_entity_id(id)?;
        Ok(id)
    }
}

/// Names that paths cannot carry: clients take them for "here" and "one up" and leave them out, escaped or not.
const PATH_DOTS: [&str; 2] = [".", ".."];

/// Checks an entity's id, as far as the API has a say in it too.
pub(super) fn check_entity_id(id: &str) -> Result<(), Problem> {
    check_id(id).map_err(|error| Problem::new(Kind::InvalidName, error.to_string()))?;
    no_dots("an id", id)
}

fn no_dots(what: &str, name: &str) -> Result<(), Problem> {
    if !PATH_DOTS.contains(&name) {
        return Ok(());
    }
    let detail = format!("{what} cannot be `{name}`: browsers and most HTTP clients remove it from the path");
    Err(Problem::new(Kind::InvalidName, detail).hint("put a letter before it"))
}

/// Checks a collection's name, as far as the API has a say in it too.
pub(super) fn check_collection_name(name: &str) -> Result<(), Problem> {
    check_collection(name).map_err(|error| Problem::new(Kind::InvalidName, error.to_string()))?;
    no_dots("a collection", name)?;
    if RESERVED.contains(&name) {
        let detail = format!("a collection cannot be called `{name}`: the API has a path of that name");
        return Err(Problem::new(Kind::InvalidName, detail));
    }
    Ok(())
}

/// Said where a `+` may have been meant.
pub(super) const PLUS_HINT: &str = "a `+` in a URL stands for a blank; write it as %2B";

/// The query string. Unknown parameters are an error if `T` says so.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            let problem = Problem::argument(error.body_text());
            let has_plus = parts.uri.query().is_some_and(|query| query.contains('+'));
            if has_plus { problem.hint(PLUS_HINT) } else { problem }
        })
    }
}

/// Bytes beyond the limit of a body that are read and thrown away, so that a client that is still sending gets to see
/// the answer (16 MiB).
const DISCARD_BYTES_MAX: usize = 16 << 20;

/// How long a body may rest before the request is given up.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// Waits for more of a body.
///
/// # Errors
/// [`Kind::Timeout`]: nothing came.
pub(super) async fn next_within<T>(wait: Duration, next: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(wait, next).await.map_err(|_| {
        Problem::new(Kind::Timeout, format!("nothing of the body has come for {} seconds", wait.as_secs()))
    })
}

/// Reads a body of at most `limit` bytes, unless the node is closed before all of it is there.
async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    closed: impl Future<Output = ()>,
) -> Result<Bytes, Problem> {
    tokio::select! {
        biased;
        body = whole_body(headers, body, limit) => body,
        () = closed => Err(Stopped.into()),
    }
}

async fn whole_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut chunks = body.into_data_stream();
    let mut taken = Vec::with_capacity(announced.unwrap_or(0).min(limit));
    let mut total = 0usize;
    while let Some(chunk) = next_within(BODY_WAIT, chunks.next()).await? {
        let chunk = chunk.map_err(|error| Problem::argument(format!("the body could not be read: {error}")))?;
        total = total.saturating_add(chunk.len());
        if total <= limit {
            taken.extend_from_slice(&chunk);
        } else if total - limit > DISCARD_BYTES_MAX {
            break;
        }
    }
    if total > limit {
        let problem = Problem::new(Kind::TooLarge, format!("the body is over the limit of {limit} bytes"));
        return Err(problem.with("limit", limit as u64));
    }
    Ok(taken.into())
}

/// The media type of the body, without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses bodies of other types than `wanted`.
pub(super) fn need_content_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let given = content_type(headers);
    if wanted.contains(&given.as_str()) {
        return Ok(());
    }
    let given = if given.is_empty() { "none".to_owned() } else { format!("`{given}`") };
    let hint = format!("send `Content-Type: {}`", wanted.first().copied().unwrap_or_default());
    let detail = format!("the content type is {given}; taken are {}", wanted.join(", "));
    Err(Problem::new(Kind::UnsupportedMediaType, detail).hint(hint))
}

/// The JSON body of a write, exact, of one of the content types `wanted`: as it came and as it reads. A large one is
/// read in a turn.
pub(super) async fn read_write(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    wanted: &[&str],
) -> Result<(Bytes, Json), Problem> {
    need_content_type(headers, wanted)?;
    let bytes = read_body(headers, body, super::WRITE_BODY_MAX, app.closed()).await?;
    let text = bytes.clone();
    let value = app.turns.value(bytes.len(), move || json(&text)).await??;
    Ok((bytes, value))
}

fn json(bytes: &[u8]) -> Result<Json, Problem> {
    Json::parse(bytes).map_err(|error| {
        Problem::new(Kind::InvalidJson, error.to_string())
            .with("line", error.line as u64)
            .with("column", error.column as u64)
    })
}

/// A small JSON body with fixed members.
pub(super) async fn read_small<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    need_content_type(headers, &["application/json"])?;
    let bytes = read_body(headers, body, super::SMALL_BODY_MAX, app.closed()).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let kind = if error.is_data() { Kind::InvalidValue } else { Kind::InvalidJson };
        Problem::new(kind, error.to_string()).with("line", error.line()).with("column", error.column())
    })
}

/// A header as text.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Problem::argument(format!("the header {name} is not plain text")))
}

/// A revision, in quotes or bare.
pub(super) fn revision(text: &str) -> Result<Revision, Problem> {
    let bare = text.trim();
    let bare = bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(bare);
    bare.parse().map_err(|error| Problem::argument(format!("{error}")).hint("a revision is what `ETag` said"))
}

/// What `If-Match` and `If-None-Match` ask of a write. `If-Match` may be a list, of which one must be the present
/// revision.
pub(super) fn expectation(headers: &HeaderMap) -> Result<Expect, Problem> {
    match (list(headers, "if-match")?.as_slice(), list(headers, "if-none-match")?.as_slice()) {
        ([], []) => Ok(Expect::Any),
        (["*"], []) => Ok(Expect::Present),
        (tags, []) => {
            // Weak tags are never equal here (RFC 9110, 13.1.1): of nothing but weak ones none matches.
            let strong = tags.iter().filter(|tag| !tag.starts_with("W/"));
            let revisions = strong.map(|tag| revision(tag)).collect::<Result<Vec<_>, _>>()?;
            match revisions.as_slice() {
                [one] => Ok(Expect::Revision(*one)),
                _ => Ok(Expect::OneOf(revisions)),
            }
        }
        ([], ["*"]) => Ok(Expect::Absent),
        ([], _) => Err(Problem::argument("with a write, `If-None-Match` takes only `*`")),
        _ => Err(Problem::argument("`If-Match` and `If-None-Match` exclude each other")),
    }
}

/// Most entity tags in one header: a client knows one or a few revisions.
const TAGS_MAX: usize = 64;

/// The members of a header that is a list, over all its lines.
fn list<'h>(headers: &'h HeaderMap, name: &str) -> Result<Vec<&'h str>, Problem> {
    let plain = |_| Problem::argument(format!("the header {name} is not plain text"));
    let mut members = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(plain)?;
        members.extend(text.split(',').map(str::trim).filter(|member| !member.is_empty()));
    }
    if members.len() > TAGS_MAX {
        return Err(Problem::argument(format!("the header {name} has over {TAGS_MAX} entity tags")));
    }
    Ok(members)
}

/// `Idempotency-Key`.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let key = text(headers, "idempotency-key")?;
    if key.is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        return Err(Problem::argument(format!("`Idempotency-Key` has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")));
    }
    Ok(key)
}

/// `traceparent` (W3C Trace Context). What is malformed is ignored, as the standard asks.
pub(super) fn trace(headers: &HeaderMap) -> Option<Trace> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let version = parts.next()?;
    let (trace, span, flags) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?, hex::<1>(parts.next()?)?);
    let is_extended = parts.next().is_some();
    let is_valid = version.len() == 2 && version != "ff" && !(version == "00" && is_extended);
    (is_valid && trace != [0; 16] && span != [0; 8]).then_some(Trace { trace, span, flags: flags[0] })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// A duration: `500ms`, `10s`, `2m`, or plain seconds. Cut at [`WAIT_MAX`].
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let millis = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let wrong = || Problem::argument(format!("`{}` is not a duration: write 500ms, 10s or 2m", clip(text)));
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis?)).ok_or_else(wrong)?;
    Ok(Duration::from_millis(millis).min(WAIT_MAX))
}

/// Text of a request, fit for an answer.
pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// A body that began and does not go on.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up_and_one_that_moves_is_not() {
        use std::future::{pending, ready};

        use futures_util::stream;
        let begun = tokio::time::Instant::now();
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let stands = Body::from_stream(first.chain(stream::pending()));
        let problem = read_body(&HeaderMap::new(), stands, 100, pending()).await.expect_err("nothing comes");
        assert_eq!((problem.kind, problem.to_json()["status"].as_u64()), (Kind::Timeout, Some(408)));
        assert_eq!(begun.elapsed().as_secs(), BODY_WAIT.as_secs());
        // One byte every twenty seconds, for longer than a body may stand still.
        let slow = stream::unfold(0, |sent| async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            (sent < 5).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"x")), sent + 1))
        });
        let body = read_body(&HeaderMap::new(), Body::from_stream(slow), 100, pending()).await;
        assert_eq!(body.expect("it comes to its end").len(), 5);
        // A node that stops waits for none of them.
        let stands = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let problem = read_body(&HeaderMap::new(), stands, 100, ready(())).await.expect_err("the node stops");
        assert_eq!(problem.kind, Kind::Stopping);
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn expectations() {
        let revision = Revision::from_bytes([0xab; 16]);
        let tag = "\"abababababababababababababababab\"";
        assert_eq!(expectation(&headers(&[])), Ok(Expect::Any));
        assert_eq!(expectation(&headers(&[("if-match", "*")])), Ok(Expect::Present));
        assert_eq!(expectation(&headers(&[("if-match", tag)])), Ok(Expect::Revision(revision)));
        assert_eq!(expectation(&headers(&[("if-none-match", "*")])), Ok(Expect::Absent));
        let list = format!("W/\"x\", {tag}").leak();
        assert_eq!(expectation(&headers(&[("if-match", list)])), Ok(Expect::Revision(revision)));
        assert_eq!(
            expectation(&headers(&[("if-match", tag), ("if-match", tag)])),
            Ok(Expect::OneOf(vec![revision; 2]))
        );
        assert_eq!(expectation(&headers(&[("if-match", "W/\"ab\"")])), Ok(Expect::OneOf(Vec::new())), "never matches");
        for wrong in
            [&[("if-match", "ab")][..], &[("if-none-match", tag)], &[("if-match", "*"), ("if-none-match", "*")]]
        {
            assert!(expectation(&headers(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_and_traces() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("7", 7_000), ("9999m", 300_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "1h", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace(&headers(&[("traceparent", good)])).map(|trace| trace.flags), Some(1));
        for wrong in ["", "00-00-00-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-x"] {
            let headers: HeaderMap =
                [("traceparent".parse().expect("a name"), HeaderValue::from_static(wrong))].into_iter().collect();
            assert_eq!(trace(&headers), None, "{wrong}");
        }
    }

    #[test]
    fn reserved_collections_are_refused() {
        assert_eq!(check_collection_name("orders"), Ok(()));
        for name in ["changes", "transactions", "export", "import", "invites", "members", "", "a/b", ".", ".."] {
            assert!(check_collection_name(name).is_err(), "{name}");
        }
        assert_eq!(check_entity_id("..."), Ok(()));
        assert!([".", "..", ""].iter().all(|id| check_entity_id(id).is_err()));
    }
}
