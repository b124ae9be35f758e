//! `/openapi.json`: paths, parameters and problems. Entities themselves are whatever JSON objects their users store.

use std::sync::OnceLock;

use axum::body::Bytes;
use axum::response::Response;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder,
};

use super::problem;
use super::write::json_response;

/// An operation: method, path, what it does, query parameters, request headers, body types, answers.
struct Operation(
    HttpMethod,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const ENTITY: &str = "/v1/spaces/{space}/{collection}/{id}";
const JSON: &[&str] = &["application/json"];
const WRITE_HEADERS: &[&str] = &["If-Match", "If-None-Match", "Tombolo-Base", "Idempotency-Key", "traceparent"];
const PATCH_HEADERS: &[&str] = &["If-Match", "Idempotency-Key", "traceparent"];
const OK: &[(&str, &str)] = &[("200", "Done")];

const OPERATIONS: &[Operation] = &[
    Operation(
        HttpMethod::Get,
        ENTITY,
        "The entity's canonical JSON, now or as it was",
        &["at"],
        &["If-None-Match"],
        &[],
        &[("200", "The entity"), ("304", "Not changed")],
    ),
    Operation(
        HttpMethod::Put,
        ENTITY,
        "Replaces or creates it",
        &[],
        WRITE_HEADERS,
        JSON,
        &[("200", "Replaced"), ("201", "Created")],
    ),
    Operation(
        HttpMethod::Patch,
        ENTITY,
        "Changes it",
        &[],
        PATCH_HEADERS,
        &["application/merge-patch+json", "application/json-patch+json", "application/tombolo-ops+json"],
        OK,
    ),
    Operation(
        HttpMethod::Get,
        "/v1/spaces/{space}/{collection}/{id}/history",
        "A page of its changes, the newest first",
        &["limit", "before", "path"],
        &[],
        &[],
        OK,
    ),
    Operation(
        HttpMethod::Get,
        "/v1/spaces/{space}/{collection}/{id}/blame",
        "Which entry made each of its fields what it is",
        &["path", "limit"],
        &[],
        &[],
        OK,
    ),
    Operation(HttpMethod::Delete, ENTITY, "Deletes it", &[], PATCH_HEADERS, &[], OK),
    Operation(
        HttpMethod::Get,
        "/v1/spaces/{space}/{collection}",
        "A page of a collection, by id",
        &["prefix", "limit", "cursor"],
        &[],
        &[],
        OK,
    ),
    Operation(
        HttpMethod::Post,
        "/v1/spaces/{space}/{collection}",
        "Creates an entity with a generated id",
        &[],
        &["Idempotency-Key", "traceparent"],
        JSON,
        &[("201", "Created")],
    ),
    Operation(
        HttpMethod::Post,
        "/v1/spaces/{space}/{collection}/import",
        "NDJSON in, outcomes out, as a stream",
        &["id", "id_template", "skip_bad"],
        &["traceparent"],
        &["application/x-ndjson"],
        OK,
    ),
    Operation(
        HttpMethod::Post,
        "/v1/spaces/{space}/transactions",
        "Several writes as one entry",
        &[],
        &["Idempotency-Key", "traceparent"],
        JSON,
        OK,
    ),
    Operation(
        HttpMethod::Get,
        "/v1/spaces/{space}/changes",
        "Changes from a cursor on, as CloudEvents",
        &["since", "live", "limit", "collection", "timeout"],
        &["Last-Event-ID"],
        &[],
        OK,
    ),
    Operation(
        HttpMethod::Get,
        "/v1/spaces/{space}/export",
        "Everything present, as NDJSON",
        &["collection"],
        &[],
        &[],
        OK,
    ),
    Operation(HttpMethod::Get, "/v1/spaces", "The spaces of this node", &[], &[], &[], OK),
    Operation(HttpMethod::Post, "/v1/spaces", "Founds a space", &[], &[], JSON, &[("201", "Founded")]),
    Operation(HttpMethod::Get, "/v1/spaces/{space}", "A space and its collections", &[], &[], &[], OK),
    Operation(
        HttpMethod::Post,
        "/v1/spaces/{space}/invites",
        "Opens a place and gives its ticket",
        &[],
        &[],
        JSON,
        &[("201", "Opened")],
    ),
    Operation(HttpMethod::Get, "/v1/spaces/{space}/members", "The members of a space", &[], &[], &[], OK),
    Operation(
        HttpMethod::Post,
        "/v1/join",
        "Takes the place that a ticket opens",
        &["timeout"],
        &[],
        JSON,
        &[("200", "Joined"), ("202", "Waiting for a member")],
    ),
    Operation(HttpMethod::Get, "/v1/peers", "Connections, and addresses added by hand", &[], &[], &[], OK),
    Operation(HttpMethod::Post, "/v1/peers", "Dials an address from now on", &[], &[], JSON, &[("201", "Added")]),
    Operation(HttpMethod::Delete, "/v1/peers/{peer}", "Dials it no longer", &[], &[], &[], &[("204", "Removed")]),
    Operation(
        HttpMethod::Get,
        "/v1/receipts/{receipt}",
        "Who has an entry",
        &["wait", "timeout"],
        &[],
        &[],
        &[("200", "As it is, or as waited for"), ("202", "Not yet")],
    ),
    Operation(HttpMethod::Get, "/v1/status", "Everything about this node", &[], &[], &[], OK),
    Operation(HttpMethod::Get, "/metrics", "Figures for Prometheus", &[], &[], &[], OK),
    Operation(HttpMethod::Get, "/healthz", "Whether the process runs", &[], &[], &[], OK),
    Operation(HttpMethod::Get, "/readyz", "Whether the store is open and takes writes", &[], &[], &[], OK),
    Operation(HttpMethod::Get, "/openapi.json", "This description", &[], &[], &[], OK),
];

/// `GET /openapi.json`
pub(super) async fn openapi() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| serde_json::to_vec(&describe()).unwrap_or_default().into());
    json_response(text.clone())
}

fn string() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn object() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Object).into()
}

fn describe() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for operation in OPERATIONS {
        paths = paths.path(operation.1, PathItem::new(operation.0.clone(), operation.describe()));
    }
    let kinds = problem::Kind::ALL.iter().map(|kind| kind.facts().0).collect::<Vec<_>>().join(", ");
    let described = format!("RFC 9457 problem details. `type` ends in one of: {kinds}.");
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
        let Self(_, path, summary, query, headers, bodies, answers) = self;
        let parameter = |name: &str, place, required| {
            ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(string()))
        };
        let mut operation = OperationBuilder::new().summary(Some(*summary));
        for name in path.split(['{', '}']).skip(1).step_by(2) {
            operation = operation.parameter(parameter(name, ParameterIn::Path, Required::True));
        }
        for name in *query {
            operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False));
        }
        for name in *headers {
            operation = operation.parameter(parameter(name, ParameterIn::Header, Required::False));
        }
        if !bodies.is_empty() {
            let mut body = RequestBodyBuilder::new().required(Some(Required::True));
            for kind in *bodies {
                body = body.content(*kind, ContentBuilder::new().schema(Some(object())).build());
            }
            operation = operation.request_body(Some(body.build()));
        }
        for (status, description) in *answers {
            operation = operation.response(*status, ResponseBuilder::new().description(*description).build());
        }
        let problem = RefOr::<Schema>::Ref(Ref::from_schema_name("Problem"));
        let content = ContentBuilder::new().schema(Some(problem)).build();
        let otherwise = ResponseBuilder::new().description("A problem").content("application/problem+json", content);
        operation.response("default", otherwise.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_paths_and_parameters() {
        let value = serde_json::to_value(describe()).expect("JSON");
        let entity = &value["paths"][ENTITY];
        for method in ["get", "put", "patch", "delete"] {
            assert!(entity[method]["responses"]["default"].is_object(), "{method}");
        }
        let names: Vec<_> =
            entity["get"]["parameters"].as_array().expect("parameters").iter().map(|p| &p["name"]).collect();
        assert_eq!(names, ["space", "collection", "id", "at", "If-None-Match"]);
        assert!(value["components"]["schemas"]["Problem"].is_object());
    }
}
