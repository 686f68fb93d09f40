//! Which routes are there, and what does each need? One table. A route without a declared
//! [`Policy`] cannot be written down here, and nothing is routed that is not in the table.

use std::sync::Arc;

use axum::{
    Extension, Router,
    handler::Handler,
    http::Method,
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, on},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    api::{answers, artifacts, health, ingest, keys, mlflow, openai, openapi, ops, otlp},
    guard::{self, Gate},
    keys::Role,
    limits,
    mlflow_pages::{self, MlflowPages},
    pages::{
        ask, assets, docs, home, login, releases, runs, sources, statics, tables, tracking, version,
    },
    state::Shared,
};

/// What a caller must be allowed to do before a route is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing: anybody who reaches the port.
    Public,
    /// To look and ask.
    Read,
    /// To change things.
    Write,
    /// To manage the server itself.
    Admin,
}

impl Policy {
    /// The role it takes; none for [`Policy::Public`].
    pub const fn needs(self) -> Option<Role> {
        match self {
            Self::Public => None,
            Self::Read => Some(Role::Read),
            Self::Write => Some(Role::Write),
            Self::Admin => Some(Role::Admin),
        }
    }

    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Who reads the replies of a route: decides how a refusal looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A person with a browser.
    Page,
    /// A program.
    Api,
}

/// A route, as documents and tests see it.
#[derive(Debug, Clone)]
pub struct RouteInfo {
    /// The HTTP method.
    pub method: Method,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    /// What it needs.
    pub policy: Policy,
    /// What it is for.
    pub summary: &'static str,
}

pub(crate) struct Route {
    pub info: RouteInfo,
    surface: Surface,
    seconds_max: u64,
    handler: MethodRouter<Arc<Shared>>,
}

/// Every route of the server.
pub fn route_table() -> Vec<RouteInfo> {
    table().into_iter().map(|route| route.info).collect()
}

const GET: (Method, MethodFilter) = (Method::GET, MethodFilter::GET);
const POST: (Method, MethodFilter) = (Method::POST, MethodFilter::POST);
const PUT: (Method, MethodFilter) = (Method::PUT, MethodFilter::PUT);
const PATCH: (Method, MethodFilter) = (Method::PATCH, MethodFilter::PATCH);
const DELETE: (Method, MethodFilter) = (Method::DELETE, MethodFilter::DELETE);

#[rustfmt::skip] // a table reads best as a table
fn table() -> Vec<Route> {
    use Policy::{Public, Read, Write};
    let mut routes = vec![
        // Health and description
        api(GET, "/livez", Public, "whether the process runs", health::livez),
        api(GET, "/readyz", Public, "whether requests can be served", health::readyz),
        api(GET, "/metrics", Read, "figures in Prometheus' text format", health::metrics),
        api(GET, "/openapi.json", Read, "this table, as OpenAPI", openapi::document),
        // The OpenAI wire
        api(POST, "/v1/chat/completions", Read, "ask a release", openai::chat).within(limits::ANSWER_SECONDS),
        api(GET, "/v1/models", Read, "the releases that can be asked", openai::models),
        api(GET, "/v1/models/{*id}", Read, "one release", openai::model),
        // Records for the sources of type `push`
        api(POST, "/ingest/{source}", Write, "send records to a source", ingest::ingest),
        // The MLflow wire
        api(GET, "/health", Public, "that the server runs, as MLflow says it", mlflow::health),
        api(GET, "/version", Public, "the version of MLflow that is spoken", mlflow::version),
        api(GET, "/api/2.0/mlflow/{*call}", Read, "what MLflow's clients ask; what changes something needs the role write", mlflow::call),
        api(POST, "/api/2.0/mlflow/{*call}", Read, "what MLflow's clients ask; what changes something needs the role write", mlflow::call),
        api(PATCH, "/api/2.0/mlflow/{*call}", Read, "what MLflow's clients ask; what changes something needs the role write", mlflow::call),
        api(DELETE, "/api/2.0/mlflow/{*call}", Read, "what MLflow's clients ask; what changes something needs the role write", mlflow::call),
        api(GET, "/api/3.0/mlflow/{*call}", Read, "the same, as later clients ask", mlflow::call),
        api(POST, "/api/3.0/mlflow/{*call}", Read, "the same, as later clients ask", mlflow::call),
        api(PATCH, "/api/3.0/mlflow/{*call}", Read, "the same, as later clients ask", mlflow::call),
        api(DELETE, "/api/3.0/mlflow/{*call}", Read, "the same, as later clients ask", mlflow::call),
        api(GET, "/ajax-api/2.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(POST, "/ajax-api/2.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(PATCH, "/ajax-api/2.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(DELETE, "/ajax-api/2.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(GET, "/ajax-api/3.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(POST, "/ajax-api/3.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(PATCH, "/ajax-api/3.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(DELETE, "/ajax-api/3.0/mlflow/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(POST, "/graphql", Read, "what MLflow's pages ask in GraphQL; it changes nothing", mlflow::call),
        // Spans
        api(POST, "/v1/traces", Write, "send spans by OTLP, in protobuf or JSON", otlp::traces),
        api(POST, "/api/2.0mlflow/{*call}", Read, "a path that MLflow's client makes without a slash", mlflow::call),
        // Pages
        page(GET, "/", Read, "home: what is released, stale, failed", home::home),
        page(GET, "/assets", Read, "the graph of assets", assets::graph),
        page(GET, "/assets/{*id}", Read, "one asset and its versions", assets::asset),
        page(GET, "/v/{*id}", Read, "one version or answer: its chain both ways", version::version),
        page(GET, "/sources", Read, "the sources: lag, rate, errors, quarantine", sources::list),
        page(GET, "/sources/{name}", Read, "one source: partitions, commits, quarantine", sources::source),
        page(POST, "/sources/{name}/replay", Write, "put a quarantine through again", sources::replay),
        page(GET, "/tables", Read, "the tables", tables::list),
        page(GET, "/tables/{*name}", Read, "one table: columns, rows, versions", tables::table),
        page(GET, "/runs", Read, "training runs", runs::list),
        page(GET, "/runs/{id}", Read, "one run and its curves", runs::run),
        page(GET, "/releases", Read, "releases and what is in each", releases::list),
        page(GET, "/releases/diff", Read, "what moved between two releases", releases::diff),
        page(GET, "/releases/{id}", Read, "one release", releases::release),
        page(POST, "/releases/promote", Write, "serve a release", releases::promote),
        page(POST, "/releases/rollback", Write, "serve the release before", releases::rollback),
        page(GET, "/ask", Read, "ask the released feature", ask::ask),
        page(GET, "/fragments/why/{id}", Read, "the chain of an answer, as HTML", version::fragment),
        page(GET, "/docs", Read, "the manual", docs::index),
        page(GET, "/docs/{*path}", Read, "a page of the manual", docs::page),
        page(GET, "/login", Public, "the form that takes a key", login::form),
        page(POST, "/login", Public, "log in with a key", login::enter),
        page(POST, "/logout", Public, "log out", login::leave),
        page(GET, "/static/{file}", Public, "styles and scripts of the pages", statics::file),
    ];
    routes.extend(operations());
    routes.extend(files());
    routes.extend(logged());
    routes
}

/// Operations and keys.
#[rustfmt::skip]
fn operations() -> Vec<Route> {
    use Policy::{Admin, Read};
    vec![
        // Operations; each operation needs a role of its own as well, see api/ops.rs
        api(POST, "/api/v1/ops", Read, "run one operation, streamed as JSON lines", ops::run),
        api(GET, "/api/v1/answers/{id}/why", Read, "the chain of an answer", answers::why),
        api(GET, "/api/v1/passages/{chunk}", Read, "the text of a passage", answers::passage),
        // Keys
        api(GET, "/api/v1/keys", Admin, "all keys, without secrets", keys::list),
        api(POST, "/api/v1/keys", Admin, "make a key; it is shown once", keys::issue),
        api(DELETE, "/api/v1/keys/{id}", Admin, "end a key", keys::revoke),
    ]
}

/// The pages of what MLflow's clients logged, and what they ask besides.
#[rustfmt::skip]
fn logged() -> Vec<Route> {
    use Policy::Read;
    vec![
        api(POST, "/ajax-api/2.0/sextant/{*call}", Read, "what our own pages ask of runs, besides", mlflow::call),
        page(GET, "/experiments", Read, "the experiments of MLflow's clients", tracking::experiments::list),
        page(GET, "/experiments/{id}", Read, "the runs of an experiment", tracking::experiments::one),
        page(GET, "/experiments/{id}/compare", Read, "some of its runs beside each other", tracking::compare::compare),
        page(GET, "/experiments/{id}/runs/{run}", Read, "one of its runs", tracking::run::run),
        page(GET, "/models", Read, "registered models", tracking::models::list),
        page(GET, "/models/{*name}", Read, "one of them and its versions", tracking::models::one),
        page(GET, "/traces", Read, "traces of applications", tracking::traces::list),
        page(GET, "/traces/{id}", Read, "one trace and its spans", tracking::traces::one),
    ]
}

/// The files of MLflow's clients.
#[rustfmt::skip]
fn files() -> Vec<Route> {
    use Policy::{Public, Read, Write};
    vec![
        api(GET, "/api/2.0/mlflow-artifacts/{*call}", Read, "files of MLflow's clients", mlflow::call),
        api(PUT, "/api/2.0/mlflow-artifacts/{*call}", Write, "store a file", artifacts::take).within(limits::FILE_SECONDS),
        api(DELETE, "/api/2.0/mlflow-artifacts/{*call}", Write, "delete a file or a folder", mlflow::call),
        api(POST, "/api/2.0/mlflow-artifacts/{*call}", Write, "end an upload in parts", mlflow::call).within(limits::FILE_SECONDS),
        api(POST, "/api/2.0/mlflow-artifacts/mpu/create/{*path}", Write, "begin an upload in parts", artifacts::begin_parts),
        api(PUT, "/api/2.0/mlflow-artifacts/parts/{upload}/{number}", Public, "send a part to the address that was given for it", artifacts::take_part).within(limits::FILE_SECONDS),
        api(GET, "/ajax-api/2.0/mlflow-artifacts/{*call}", Read, "the same, as MLflow's pages ask", mlflow::call),
        api(PUT, "/ajax-api/2.0/mlflow-artifacts/{*call}", Write, "the same, as MLflow's pages ask", artifacts::take).within(limits::FILE_SECONDS),
        api(DELETE, "/ajax-api/2.0/mlflow-artifacts/{*call}", Write, "the same, as MLflow's pages ask", mlflow::call),
        api(POST, "/ajax-api/2.0/mlflow-artifacts/{*call}", Write, "the same, as MLflow's pages ask", mlflow::call).within(limits::FILE_SECONDS),
        api(POST, "/ajax-api/2.0/mlflow-artifacts/mpu/create/{*path}", Write, "the same, as MLflow's pages ask", artifacts::begin_parts),
        api(POST, "/ajax-api/2.0/mlflow/upload-artifact", Write, "store a file of a run, as MLflow's pages do", artifacts::take),
        api(GET, "/get-artifact", Read, "a file of a run, as MLflow's pages ask", mlflow::call),
        api(GET, "/model-versions/get-artifact", Read, "a file of a version of a model, as MLflow's pages ask", mlflow::call),
    ]
}

fn api<H, T>(
    method: (Method, MethodFilter),
    path: &'static str,
    policy: Policy,
    summary: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    let (method, filter) = method;
    Route {
        info: RouteInfo { method, path, policy, summary },
        surface: Surface::Api,
        seconds_max: limits::REQUEST_SECONDS,
        handler: on(filter, handler),
    }
}

fn page<H, T>(
    method: (Method, MethodFilter),
    path: &'static str,
    policy: Policy,
    summary: &'static str,
    handler: H,
) -> Route
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    Route { surface: Surface::Page, ..api(method, path, policy, summary, handler) }
}

impl Route {
    fn within(self, seconds_max: u64) -> Self {
        Self { seconds_max, ..self }
    }
}

/// What MLflow's own pages reach on the port that they have, besides themselves: clients' calls, and
/// what it takes to log in.
const BESIDE: [&str; 12] = [
    "/ajax-api/",
    "/api/2.0",
    "/api/3.0",
    "/v1/traces",
    "/graphql",
    "/get-artifact",
    "/model-versions/get-artifact",
    "/health",
    "/version",
    "/login",
    "/logout",
    "/static/",
];

/// The routes of the port for MLflow's own pages.
fn beside_table() -> Vec<Route> {
    use Policy::Read;
    let mut routes = table();
    routes.retain(|route| BESIDE.iter().any(|begin| route.info.path.starts_with(begin)));
    routes.extend([
        page(GET, "/", Read, "MLflow's own pages", mlflow_pages::first),
        api(GET, "/static-files/{*path}", Read, "what they load", mlflow_pages::file),
    ]);
    routes
}

/// The router of the port for MLflow's own pages.
pub(crate) fn beside(shared: &Arc<Shared>, pages: Arc<MlflowPages>) -> Router {
    guarded(shared, beside_table()).layer(Extension(pages))
}

/// The router of the server.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    guarded(shared, table())
}

/// Routes as a router, each behind its guard, everything behind the outer one.
fn guarded(shared: &Arc<Shared>, routes: Vec<Route>) -> Router {
    let mut router = Router::new();
    for route in routes {
        let gate = Gate {
            shared: Arc::clone(shared),
            policy: route.info.policy,
            surface: route.surface,
            seconds_max: route.seconds_max,
        };
        let guarded = route.handler.route_layer(from_fn_with_state(gate, guard::inner));
        router = router.route(route.info.path, guarded);
    }
    let panics = Arc::clone(shared);
    router
        .fallback(guard::nowhere)
        .with_state(Arc::clone(shared))
        .layer(CatchPanicLayer::custom(move |_| guard::panicked(&panics)))
        .layer(from_fn(method_not_allowed))
        .layer(from_fn_with_state(Arc::clone(shared), guard::outer))
}

/// A path that exists with another method is answered like any other error.
async fn method_not_allowed(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let method = request.method().clone();
    let is_mlflow = mlflow::is_theirs(request.uri().path());
    let response = next.run(request).await;
    if response.status() != axum::http::StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    if is_mlflow {
        let said = response.headers().contains_key(axum::http::header::CONTENT_TYPE);
        return if said { response } else { mlflow::wrong_method() };
    }
    let reason = format!("{method} is not a method of this path");
    let error = crate::ServerError::BadRequest { field: None, reason };
    let mut refusal = crate::reply::Refusal::from(error);
    refusal.status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    let allowed = response.headers().get(axum::http::header::ALLOW).cloned();
    let mut response = refusal.into_response();
    if let Some(allowed) = allowed {
        response.headers_mut().insert(axum::http::header::ALLOW, allowed);
    }
    response
}
