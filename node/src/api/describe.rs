//! `/openapi.json`: what each handler's file says of its operations, put together. Entities themselves are whatever
//! JSON objects their users store.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::response::Response;
use serde_json::Value;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder,
};

pub(super) use utoipa::openapi::path::HttpMethod;

use super::problem::Kind;
use super::write::json_response;

/// What an operation is, as its handler's file tells it.
pub(super) struct Operation {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) headers: &'static [Parameter],
    /// Content types of the body; none: the operation takes no body.
    pub(super) bodies: &'static [&'static str],
    /// Statuses and what they mean.
    pub(super) answers: &'static [(&'static str, &'static str)],
    /// What may go wrong beside what may go wrong with every operation on such a path.
    pub(super) problems: &'static [Kind],
    /// No token is needed.
    pub(super) is_open: bool,
}

impl Operation {
    /// What an operation is where its file says nothing else.
    pub(super) const PLAIN: Self = Self {
        method: HttpMethod::Get,
        path: "",
        summary: "",
        query: &[],
        headers: &[],
        bodies: &[],
        answers: &[("200", "Done")],
        problems: &[],
        is_open: false,
    };
}

/// A parameter: its name, what it means, what it may be.
pub(super) struct Parameter(pub(super) &'static str, pub(super) &'static str, pub(super) Shape);

/// What a parameter may be.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Text of so many characters.
    Text(usize, usize),
    /// Text that fits a pattern.
    Fits(&'static str),
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A whole number, from and up to, and what it is by default.
    Whole(u64, u64, Option<u64>),
    /// `true` or `false`.
    Flag,
}

/// A content type.
pub(super) const JSON: &[&str] = &["application/json"];
/// A revision: 16 bytes.
pub(super) const REVISION: Shape = Shape::Fits("^[0-9a-f]{32}$");
/// A receipt: a feed and a position in it.
pub(super) const RECEIPT: Shape = Shape::Fits("^[0-9a-f]{32}-[0-9]+$");
/// A duration.
pub(super) const DURATION: Shape = Shape::Fits("^[0-9]+(ms|s|m)?$");
/// A collection's name.
pub(super) const COLLECTION: Shape = Shape::Fits("^[A-Za-z0-9._-]{1,64}$");
/// Anything.
pub(super) const TEXT: Shape = Shape::Text(0, 4_096);

/// Operations of all files.
pub(super) fn operations() -> impl Iterator<Item = &'static Operation> {
    let files: [&'static [Operation]; 14] = [
        super::entities::OPERATIONS,
        super::history::OPERATIONS,
        super::blame::OPERATIONS,
        super::listing::OPERATIONS,
        super::import::OPERATIONS,
        super::transactions::OPERATIONS,
        super::changes::OPERATIONS,
        super::export::OPERATIONS,
        super::spaces::OPERATIONS,
        super::members::OPERATIONS,
        super::receipts::OPERATIONS,
        super::status::OPERATIONS,
        super::health::OPERATIONS,
        OPERATIONS,
    ];
    files.into_iter().flatten()
}

const OPERATIONS: &[Operation] =
    &[Operation { path: "/openapi.json", summary: "This description", is_open: true, ..Operation::PLAIN }];

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    json_response(TEXT.get_or_init(|| serde_json::to_vec(&describe()).unwrap_or_default()).clone())
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

impl Shape {
    fn schema(self) -> RefOr<Schema> {
        match self {
            Self::Text(least, most) => string().min_length(Some(least)).max_length(Some(most)).into(),
            Self::Fits(pattern) => string().pattern(Some(pattern)).into(),
            Self::OneOf(words) => string().enum_values(Some(words.iter().copied())).into(),
            Self::Whole(least, most, default) => {
                let number = ObjectBuilder::new().schema_type(Type::Integer);
                let number = number.minimum(Some(least as f64)).maximum(Some(most as f64));
                number.default(default.map(Value::from)).into()
            }
            Self::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        }
    }
}

/// What a part of a path may be.
fn path_shape(name: &str) -> Shape {
    match name {
        "space" => Shape::Text(1, 128),
        "collection" => COLLECTION,
        "receipt" => RECEIPT,
        _ => Shape::Text(1, 256),
    }
}

fn describe() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for operation in operations() {
        paths = paths.path(operation.path, PathItem::new(operation.method.clone(), operation.describe()));
    }
    let slugs = Kind::ALL.iter().map(|kind| kind.facts().0).collect::<Vec<_>>().join(", ");
    let described = format!("RFC 9457 problem details. `type` ends in one of: {slugs}.");
    let mut schema = ObjectBuilder::new().schema_type(Type::Object).description(Some(described));
    for name in ["type", "title", "detail"] {
        schema = schema.property(name, string()).required(name);
    }
    schema = schema.property("status", ObjectBuilder::new().schema_type(Type::Integer)).required("status");
    schema = schema.property("hint", string());
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = ComponentsBuilder::new().schema("Problem", schema).security_scheme("token", bearer);
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Tombolo").version(env!("CARGO_PKG_VERSION")).build())
        .paths(paths.build())
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new("token", std::iter::empty::<String>())]))
        .build()
}

impl Operation {
    fn describe(&self) -> OperationBuilder {
        let parameter = |name: &str, about: &str, place, shape: Shape| {
            let required = if place == ParameterIn::Path { Required::True } else { Required::False };
            let about = (!about.is_empty()).then(|| about.to_owned());
            let made = ParameterBuilder::new().name(name).parameter_in(place).required(required);
            made.description(about).schema(Some(shape.schema()))
        };
        let mut operation = OperationBuilder::new().summary(Some(self.summary));
        for name in parts(self.path) {
            operation = operation.parameter(parameter(name, "", ParameterIn::Path, path_shape(name)));
        }
        for Parameter(name, about, shape) in self.query {
            operation = operation.parameter(parameter(name, about, ParameterIn::Query, *shape));
        }
        for Parameter(name, about, shape) in self.headers {
            operation = operation.parameter(parameter(name, about, ParameterIn::Header, *shape));
        }
        if !self.bodies.is_empty() {
            let mut body = RequestBodyBuilder::new().required(Some(Required::True));
            for kind in self.bodies {
                let object: RefOr<Schema> = ObjectBuilder::new().build().into();
                body = body.content(*kind, ContentBuilder::new().schema(Some(object)).build());
            }
            operation = operation.request_body(Some(body.build()));
        }
        if self.is_open {
            // An empty requirement lifts the one of the whole API.
            operation = operation.security(SecurityRequirement::default());
        }
        for (status, description) in self.answers {
            operation = operation.response(*status, ResponseBuilder::new().description(*description).build());
        }
        let mut problems: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for kind in self.common().iter().chain(self.problems) {
            let (slug, status, _) = kind.facts();
            let slugs = problems.entry(status.as_u16()).or_default();
            if !slugs.contains(&slug) {
                slugs.push(slug);
            }
        }
        let told = problems.into_iter().map(|(status, slugs)| (status.to_string(), slugs.join(", ")));
        for (status, slugs) in told.chain([("default".to_owned(), "A problem".to_owned())]) {
            let problem = RefOr::<Schema>::Ref(Ref::from_schema_name("Problem"));
            let content = ContentBuilder::new().schema(Some(problem)).build();
            let response = ResponseBuilder::new().description(slugs).content("application/problem+json", content);
            operation = operation.response(status, response.build());
        }
        operation
    }

    /// What may go wrong with every operation on such a path.
    fn common(&self) -> Vec<Kind> {
        if self.is_open {
            return vec![Kind::InvalidArgument, Kind::ForbiddenHost, Kind::ForbiddenOrigin];
        }
        let mut kinds = vec![Kind::InvalidArgument, Kind::Unauthorized, Kind::ForbiddenHost, Kind::ForbiddenOrigin];
        kinds.extend([Kind::Store, Kind::Stopping]);
        if self.path.contains("{space}") {
            kinds.extend([Kind::UnknownSpace, Kind::AmbiguousSpace]);
        }
        if self.path.contains("{collection}") {
            kinds.extend([Kind::InvalidName, Kind::Damaged]);
        }
        if !self.bodies.is_empty() {
            kinds.extend([Kind::TooLarge, Kind::UnsupportedMediaType, Kind::InvalidJson, Kind::InvalidValue]);
            kinds.extend([Kind::Timeout, Kind::Full]);
        }
        kinds
    }
}

/// Names of the parts of a path that stand for something.
fn parts(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split(['{', '}']).skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn name(method: &HttpMethod) -> &'static str {
        match method {
            HttpMethod::Get => "GET",
            HttpMethod::Put => "PUT",
            HttpMethod::Post => "POST",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
            _ => "?",
        }
    }

    fn described() -> BTreeSet<String> {
        operations().map(|operation| format!("{} {}", name(&operation.method), operation.path)).collect()
    }

    #[test]
    fn the_router_has_the_paths_that_are_described_and_no_other() {
        let routed: BTreeSet<&str> = super::super::routes().into_iter().map(|(path, _)| path).collect();
        let described: BTreeSet<&str> = operations().map(|operation| operation.path).collect();
        assert_eq!(routed, described);
    }

    #[test]
    fn the_manual_has_the_operations_that_are_described_and_no_other() {
        let manual = include_str!("../../../docs/http.md");
        let methods = ["GET", "PUT", "POST", "PATCH", "DELETE"];
        let mut told = BTreeSet::new();
        for quoted in manual.split('`').skip(1).step_by(2) {
            let mut words = quoted.split([' ', '?']);
            let (Some(method), Some(path)) = (words.next(), words.next()) else { continue };
            let path = path.replace("…/{id}", "/v1/spaces/{space}/{collection}/{id}");
            if methods.contains(&method) && path.starts_with('/') {
                told.insert(format!("{method} {path}"));
            }
        }
        assert_eq!(told, described());
    }

    #[test]
    fn parameters_have_shapes_problems_are_named_and_probes_need_no_token() {
        let value = serde_json::to_value(describe()).expect("JSON");
        let entity = &value["paths"]["/v1/spaces/{space}/{collection}/{id}"];
        for method in ["get", "put", "patch", "delete"] {
            assert!(entity[method]["responses"]["default"].is_object(), "{method}");
        }
        let parameters = entity["get"]["parameters"].as_array().expect("parameters");
        let names: Vec<_> = parameters.iter().map(|parameter| &parameter["name"]).collect();
        assert_eq!(names, ["space", "collection", "id", "at", "meta", "If-None-Match"]);
        let list = &value["paths"]["/v1/spaces/{space}/{collection}"]["get"]["parameters"];
        let limit = list.as_array().and_then(|all| all.iter().find(|one| one["name"] == "limit")).expect("a limit");
        assert_eq!((&limit["schema"]["minimum"], &limit["schema"]["maximum"]), (&1.into(), &1_000.into()), "{limit}");
        assert_eq!(value["paths"]["/healthz"]["get"]["security"], serde_json::json!([{}]));
        let refused = &entity["put"]["responses"]["412"]["description"];
        assert!(refused.as_str().is_some_and(|slugs| slugs.contains("base-unknown")), "{refused}");
        for parameter in value["paths"].as_object().expect("paths").values().flat_map(|path| {
            path.as_object()
                .into_iter()
                .flatten()
                .filter_map(|(_, of)| of["parameters"].as_array())
                .flatten()
                .collect::<Vec<_>>()
        }) {
            let schema = &parameter["schema"];
            let bounds = ["pattern", "enum", "maxLength", "maximum"];
            assert!(schema["type"] == "boolean" || bounds.iter().any(|bound| !schema[bound].is_null()), "{parameter}");
        }
    }
}
