//! What is written on both sides of the cut, and what must become of it.

use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{COLLECTION, SPACE};
use crate::error::CliError;
use crate::local_nodes::LocalNode;
use crate::target::CollectionRef;

/// One entity, written on both sides.
pub(super) struct Case {
    title: &'static str,
    id: &'static str,
    /// Whether hamburg writes the near side, else berlin.
    hamburg: bool,
    /// Written before the cut.
    before: Option<Action>,
    near: Action,
    far: Action,
    /// What must be shown in the end: a place and the values that may stand there.
    must: Vec<(&'static str, Vec<Value>)>,
    rule: &'static str,
}

enum Action {
    Put(Value),
    Merge(Value),
    Increment(&'static str, i64),
    Delete,
}

/// What became of a case.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) title: &'static str,
    pub(super) id: &'static str,
    pub(super) near_node: String,
    pub(super) near: String,
    pub(super) far: String,
    pub(super) shown: Value,
    pub(super) rule: &'static str,
    pub(super) holds: bool,
}

/// The five ways in which two sites meet.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            title: "different fields of one entity",
            id: "KJFK",
            hamburg: false,
            before: None,
            near: Action::Merge(json!({ "name": "Kennedy" })),
            far: Action::Merge(json!({ "municipality": "Queens" })),
            must: vec![("/name", vec![json!("Kennedy")]), ("/municipality", vec![json!("Queens")])],
            rule: "both are kept",
        },
        Case {
            title: "the same field",
            id: "EGLL",
            hamburg: true,
            before: None,
            near: Action::Merge(json!({ "status": "open" })),
            far: Action::Merge(json!({ "status": "closed: fog" })),
            must: vec![("/status", vec![json!("open"), json!("closed: fog")])],
            rule: "one wins, the same on every node",
        },
        Case {
            title: "a counter",
            id: "LFPG",
            hamburg: false,
            before: Some(Action::Increment("/landings", 100)),
            near: Action::Increment("/landings", 5),
            far: Action::Increment("/landings", 7),
            must: vec![("/landings", vec![json!(112)])],
            rule: "100 + 5 + 7",
        },
        Case {
            title: "deleted here, updated there",
            id: "EDDF",
            hamburg: true,
            before: None,
            near: Action::Delete,
            far: Action::Merge(json!({ "elevation_ft": 365 })),
            must: vec![("/elevation_ft", vec![json!(365)]), ("/ident", vec![json!("EDDF")])],
            rule: "the update the delete had not seen wins",
        },
        Case {
            title: "created on both sides",
            id: "XTMB",
            hamburg: false,
            before: None,
            near: Action::Put(json!({ "name": "Tombolo Field", "runways": { "09": { "length_m": 1200 } } })),
            far: Action::Put(json!({ "name": "Tombolo Airport", "runways": { "18": { "length_m": 2400 } } })),
            must: vec![
                ("/name", vec![json!("Tombolo Field"), json!("Tombolo Airport")]),
                ("/runways/09/length_m", vec![json!(1200)]),
                ("/runways/18/length_m", vec![json!(2400)]),
            ],
            rule: "one entity with the runways of both; one name wins",
        },
    ]
}

/// What must be there before the cut.
pub(super) async fn prepare(cases: &[Case], cluster: &Cluster) -> Result<(), CliError> {
    for case in cases {
        if let Some(action) = &case.before {
            action.carry_out(&cluster.berlin, case.id).await?;
        }
    }
    Ok(())
}

/// Writes on both sides; answers how many writes these were.
pub(super) async fn write(cases: &[Case], cluster: &Cluster) -> Result<usize, CliError> {
    for case in cases {
        case.near.carry_out(case.near_node(cluster), case.id).await?;
        case.far.carry_out(&cluster.oslo, case.id).await?;
    }
    Ok(cases.len() * 2)
}

/// Reads every entity from every node.
pub(super) async fn outcomes(cases: &[Case], cluster: &Cluster) -> Result<Vec<Outcome>, CliError> {
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        let mut views = Vec::new();
        for node in cluster.all() {
            let path = CollectionRef::new(SPACE, COLLECTION).entity(case.id).path();
            views.push(node.api.answer(node.api.request(Method::GET, &path)).await?.body);
        }
        let view: Value =
            serde_json::from_slice(&views[0]).map_err(|error| CliError::unexpected("a view is no JSON", error))?;
        outcomes.push(case.outcome(&view, views.iter().all(|other| *other == views[0]), cluster));
    }
    Ok(outcomes)
}

impl Case {
    fn near_node<'a>(&self, cluster: &'a Cluster) -> &'a LocalNode {
        if self.hamburg { &cluster.hamburg } else { &cluster.berlin }
    }

    fn outcome(&self, view: &Value, equal: bool, cluster: &Cluster) -> Outcome {
        let kept = self.must.iter().all(|(place, may)| view.pointer(place).is_some_and(|shown| may.contains(shown)));
        let tops = self.must.iter().filter_map(|(place, _)| place.split('/').nth(1));
        let shown: Value =
            tops.map(|top| (top.to_owned(), view[top].clone())).collect::<serde_json::Map<_, _>>().into();
        Outcome {
            title: self.title,
            id: self.id,
            near_node: self.near_node(cluster).name.clone(),
            near: self.near.to_string(),
            far: self.far.to_string(),
            shown,
            rule: self.rule,
            holds: kept && equal,
        }
    }
}

impl Action {
    async fn carry_out(&self, node: &LocalNode, id: &str) -> Result<(), CliError> {
        let path = CollectionRef::new(SPACE, COLLECTION).entity(id).path();
        let (method, media_type, body) = match self {
            Self::Put(value) => (Method::PUT, "application/json", value.clone()),
            Self::Merge(patch) => (Method::PATCH, "application/merge-patch+json", patch.clone()),
            Self::Increment(path, by) => {
                let ops = json!([{ "op": "increment", "path": path, "by": by }]);
                (Method::PATCH, "application/tombolo-ops+json", ops)
            }
            Self::Delete => (Method::DELETE, "application/json", Value::Null),
        };
        let mut request = node.api.request(method, &path);
        if !matches!(self, Self::Delete) {
            request = request.header("Content-Type", media_type).body(body.to_string());
        }
        node.api.answer(request).await.map(|_| ())
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put(value) => write!(f, "creates {value}"),
            Self::Merge(patch) => write!(f, "writes {patch}"),
            Self::Increment(path, by) => write!(f, "adds {by} to {}", path.trim_start_matches('/')),
            Self::Delete => write!(f, "deletes it"),
        }
    }
}
