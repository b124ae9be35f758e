//! Spaces: by which name, and what is known of them.

use axum::Json as AxumJson;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use serde_json::{Value, json};
use tombolo_crdt::SpaceId;

use super::problem::{Kind, Problem};
use super::request::{PathParts, clip, read_small};
use super::{SharedApp, status};
use crate::engine::{Command, Reply};
use crate::store::{Snapshot, SpaceRow};

/// The space of an id or of a name that only one has.
pub(super) fn resolve(snapshot: &Snapshot, name: &str) -> Result<SpaceRow, Problem> {
    let unknown = || Problem::new(Kind::UnknownSpace, format!("this node holds no space `{}`", clip(name)));
    if name.len() == 2 * SpaceId::LEN
        && let Ok(id) = name.parse()
        && let Some(row) = snapshot.space(id)?
    {
        return Ok(row);
    }
    let mut named: Vec<SpaceRow> = snapshot.spaces()?.into_iter().filter(|row| row.name == name).collect();
    match (named.pop(), named.is_empty()) {
        (None, _) => Err(unknown()),
        (Some(row), true) => Ok(row),
        (Some(row), false) => {
            named.push(row);
            let ids: Vec<String> = named.iter().map(|row| row.space.to_string()).collect();
            let detail = format!("{} spaces are called `{}`", ids.len(), clip(name));
            Err(Problem::new(Kind::AmbiguousSpace, detail).with("spaces", ids))
        }
    }
}

/// `GET /v1/spaces`
pub(super) async fn list(State(app): State<SharedApp>) -> Result<AxumJson<Value>, Problem> {
    let status = status::ask(&app).await?;
    let spaces: Vec<Value> = status.spaces.iter().map(status::space).collect();
    Ok(AxumJson(json!({ "spaces": spaces })))
}

/// `GET /v1/spaces/{space}`
pub(super) async fn show(State(app): State<SharedApp>, path: PathParts) -> Result<AxumJson<Value>, Problem> {
    let (row, collections) = {
        let snapshot = app.snapshot()?;
        let row = resolve(&snapshot, path.space())?;
        let collections = snapshot.collections(row.no)?;
        (row, collections)
    };
    let status = status::ask(&app).await?;
    let found = status.spaces.iter().find(|space| space.space == row.space);
    let mut value = found.map(status::space).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.insert("collections".to_owned(), collections.into());
    }
    Ok(AxumJson(value))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSpace {
    name: String,
}

/// `POST /v1/spaces`
pub(super) async fn create(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, AxumJson<Value>), Problem> {
    let NewSpace { name } = read_small(&headers, body).await?;
    let founder = random_key()?;
    let command = Command::CreateSpace { name: name.clone(), founder: Box::new(founder.clone()) };
    match app.engine.call(command).await? {
        Reply::Created(Ok(space)) => {
            let founder_key = data_encoding::HEXLOWER.encode(founder.as_bytes());
            let created = json!({ "space": space.to_string(), "name": name, "founder_key": founder_key });
            Ok((StatusCode::CREATED, AxumJson(created)))
        }
        Reply::Created(Err(refusal)) | Reply::Failed(refusal) => Err(refusal.into()),
        other => Err(unexpected(&other)),
    }
}

/// A fresh key.
pub(super) fn random_key() -> Result<SigningKey, Problem> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Problem::new(Kind::Store, format!("the system has no randomness: {error}")))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The engine answered another question: a defect.
pub(super) fn unexpected(reply: &Reply) -> Problem {
    tracing::error!(?reply, "the engine answered another question");
    Problem::new(Kind::Store, "the node answered another question than was asked: a defect, please report it")
}
