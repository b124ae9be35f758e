//! Spaces: by which name, and what is known of them.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use serde_json::{Value, json};
use tombolo_crdt::SpaceId;

use super::describe::{HttpMethod, JSON, Operation};
use super::problem::{Kind, Problem};
use super::request::{PathParts, clip, read_small};
use super::turns::Lane;
use super::write::Json;
use super::{App, SharedApp, status};
use crate::engine::{Command, Reply};
use crate::handle::Journals;
use crate::store::{Reading, SpaceRow, StoreError};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { path: "/v1/spaces", summary: "The spaces of this node", ..Operation::PLAIN },
    Operation {
        method: HttpMethod::Post,
        path: "/v1/spaces",
        summary: "Founds a space",
        bodies: JSON,
        answers: &[("201", "Founded")],
        problems: &[Kind::SpaceExists, Kind::InvalidName],
        ..Operation::PLAIN
    },
    Operation { path: "/v1/spaces/{space}", summary: "A space and its collections", ..Operation::PLAIN },
];

/// A space of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpaceAt {
    pub(super) id: SpaceId,
    /// Its number in the keys of the store.
    pub(super) space_no: u32,
}

/// The spaces of this node by id and name, so that a request need not read the rows of all. Spaces are only ever added,
/// and the engine tells of a new one, as a journal that moves, before it answers whoever asked for it.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<Index>);

#[derive(Debug, Default)]
struct Index {
    /// Journals that had moved when the index was brought up to date; `None`: not yet read.
    journals: Option<usize>,
    numbers: BTreeMap<SpaceId, u32>,
    named: BTreeMap<String, Vec<SpaceId>>,
}

impl Index {
    fn add(&mut self, row: SpaceRow) {
        if self.numbers.insert(row.space, row.space_no).is_none() {
            self.named.entry(row.name).or_default().push(row.space);
        }
        debug_assert!(self.named.len() <= self.numbers.len(), "a name without a space");
    }

    /// Reads what is new: everything at first, then the spaces whose journals moved for the first time.
    fn update(&mut self, journals: &Journals, reading: &Reading) -> Result<(), StoreError> {
        if self.journals.is_none() {
            reading.spaces()?.into_iter().for_each(|row| self.add(row));
        }
        for id in journals.keys() {
            if !self.numbers.contains_key(id)
                && let Some(row) = reading.space(*id)?
            {
                self.add(row);
            }
        }
        self.journals = Some(journals.len());
        Ok(())
    }

    fn find(&self, name: &str) -> Result<SpaceAt, Problem> {
        let at = |id: SpaceId| self.numbers.get(&id).map(|space_no| SpaceAt { id, space_no: *space_no });
        if name.len() == 2 * SpaceId::LEN
            && let Some(found) = name.parse().ok().and_then(at)
        {
            return Ok(found);
        }
        match self.named.get(name).map(Vec::as_slice) {
            Some([id]) => at(*id),
            Some(ids) => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                let detail = format!("{} spaces are called `{}`", ids.len(), clip(name));
                return Err(Problem::new(Kind::AmbiguousSpace, detail).with("spaces", ids));
            }
            None => None,
        }
        .ok_or_else(|| Problem::new(Kind::UnknownSpace, format!("this node holds no space `{}`", clip(name))))
    }
}

impl App {
    /// The space of an id, or of a name that only one has. Reads the store only when a space is new.
    pub(super) fn space(&self, name: &str) -> Result<SpaceAt, Problem> {
        let journals = self.engine.journal();
        let moved = journals.borrow().len();
        {
            let index = self.names.0.read().unwrap_or_else(PoisonError::into_inner);
            if index.journals == Some(moved) {
                return index.find(name);
            }
        }
        // A copy: the engine must not wait for the store to be read.
        let journals = journals.borrow().clone();
        let mut index = self.names.0.write().unwrap_or_else(PoisonError::into_inner);
        index.update(&journals, &self.reading()?)?;
        index.find(name)
    }

    /// The row of a space.
    pub(super) fn space_row(&self, name: &str) -> Result<SpaceRow, Problem> {
        let id = self.space(name)?.id;
        let row = self.reading()?.space(id)?;
        row.ok_or_else(|| Problem::new(Kind::UnknownSpace, format!("this node holds no space {id}")))
    }
}

/// `GET /v1/spaces`
pub(super) async fn list(State(app): State<SharedApp>) -> Result<Json, Problem> {
    let status = status::ask(&app).await?;
    let spaces: Vec<Value> = status.spaces.iter().map(status::space).collect();
    Ok(Json(json!({ "spaces": spaces })))
}

/// `GET /v1/spaces/{space}`
pub(super) async fn show(State(app): State<SharedApp>, path: PathParts) -> Result<Json, Problem> {
    let at = app.space(path.space())?;
    let reader = app.reader.clone();
    let collections = app.turns.run(Lane::Values, move || reader.reading()?.collections(at.space_no)).await??;
    let status = status::ask(&app).await?;
    let found = status.spaces.iter().find(|space| space.space == at.id);
    let mut value = found.map(status::space).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.insert("collections".to_owned(), collections.into());
    }
    Ok(Json(value))
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
) -> Result<(StatusCode, Json), Problem> {
    let NewSpace { name } = read_small(&app, &headers, body).await?;
    let founder = random_key()?;
    let command = Command::CreateSpace { name: name.clone(), founder: Box::new(founder.clone()) };
    match app.engine.call(command).await? {
        Reply::Created(Ok(space)) => {
            let founder_key = data_encoding::HEXLOWER.encode(founder.as_bytes());
            let created = json!({ "space": space.to_string(), "name": name, "founder_key": founder_key });
            Ok((StatusCode::CREATED, Json(created)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(byte: u8, space_no: u32, name: &str) -> SpaceRow {
        SpaceRow {
            space: SpaceId::from_bytes([byte; 32]),
            space_no,
            name: name.to_owned(),
            founding: Vec::new(),
            journal: 0,
            running: [0; 16],
            sums: Default::default(),
            entities: 0,
            frozen: 0,
            applied: 0,
            refused: 0,
        }
    }

    #[test]
    fn spaces_are_found_by_id_and_by_a_name_that_only_one_has() {
        let mut index = Index::default();
        for (byte, name) in [(1, "shop"), (2, "bar"), (3, "shop"), (3, "shop")] {
            index.add(row(byte, u32::from(byte), name));
        }
        let id = SpaceId::from_bytes([2; 32]);
        assert_eq!(index.find("bar"), Ok(SpaceAt { id, space_no: 2 }));
        assert_eq!(index.find(&id.to_string()), Ok(SpaceAt { id, space_no: 2 }));
        assert_eq!(index.find("shop").expect_err("two of them").kind, Kind::AmbiguousSpace);
        assert_eq!(index.find(&"0".repeat(64)).expect_err("nobody's").kind, Kind::UnknownSpace);
        assert_eq!(index.find("none").expect_err("nobody's").kind, Kind::UnknownSpace);
    }
}
