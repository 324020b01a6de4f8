//! Which path is whose: a row for each route, with who may use it.

use std::collections::BTreeMap;

use matchit::{InsertError, Router};
use service::auth::Scopes;
use service::http::{Access, Found, Method, Route};
use store::Status;

/// What a route does.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    Page,
    Docs,
    OpenApi,
    Create,
    List,
    Get,
    Put,
    Patch,
    Delete,
    Become(Status),
    Restore,
    Rebuild,
    EraseUser,
    Purge,
    LastPurge,
    History,
    Ingestion,
    LiveStats,
    Stream,
    Decision,
    Timeseries,
    Assign,
    User,
    Export,
    ExportWorkspace,
    ValidateWorkspace,
    ImportWorkspace,
    Power,
    Srm,
    MultipleTesting,
    Batch,
    Accounting,
    DeadLetters,
    DeadLetter,
    Redrive,
    Drop,
    CreateKey,
    ListKeys,
    RevokeKey,
    Audit,
    Diagnostics,
    Webhooks,
    CreateWebhook,
    DeleteWebhook,
    Deliveries,
    TestWebhook,
}

/// A route found.
#[derive(Debug)]
pub struct Handler {
    pub action: Action,
    /// The id in the path, if there is one: of a batch, a dead letter or a key, or an experiment's key or number.
    pub id: String,
    /// The user's id in the path, if there is one, as it stands there.
    pub user: String,
}

pub struct Row {
    pub method: Method,
    pub path: &'static str,
    /// Value of the metrics label `route`.
    pub class: &'static str,
    pub access: Access,
    action: Action,
}

const fn row(method: Method, path: &'static str, class: &'static str, any_of: Scopes, action: Action) -> Row {
    Row { method, path, class, access: Access::Key { any_of, beacon: false }, action }
}

const fn public(path: &'static str, class: &'static str, action: Action) -> Row {
    Row { method: Method::GET, path, class, access: Access::Public, action }
}

const ADMIN: Scopes = Scopes::ADMIN;
/// Who may read; whoever may change experiments may see them.
const READ: Scopes = Scopes::READ.union(ADMIN);
/// Each sees other letters.
const LETTERS: Scopes = ADMIN.union(Scopes::OPERATOR);
/// Who sends may ask what became of it.
const ANY: Scopes = READ.union(Scopes::EVENTS).union(Scopes::INGEST);

#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    public("/", "page", Action::Page),
    public("/docs", "page", Action::Docs),
    public("/openapi.json", "page", Action::OpenApi),
    row(Method::GET, "/api/v1/experiments", "experiments", READ, Action::List),
    row(Method::POST, "/api/v1/experiments", "experiments", ADMIN, Action::Create),
    row(Method::GET, "/api/v1/experiments/{id}", "experiments", READ, Action::Get),
    row(Method::PUT, "/api/v1/experiments/{id}", "experiments", ADMIN, Action::Put),
    row(Method::PATCH, "/api/v1/experiments/{id}", "experiments", ADMIN, Action::Patch),
    row(Method::DELETE, "/api/v1/experiments/{id}", "experiments", ADMIN, Action::Delete),
    row(Method::POST, "/api/v1/experiments/{id}/start", "experiments", ADMIN, Action::Become(Status::Running)),
    row(Method::POST, "/api/v1/experiments/{id}/stop", "experiments", ADMIN, Action::Become(Status::Stopped)),
    row(Method::POST, "/api/v1/experiments/{id}/archive", "experiments", ADMIN, Action::Become(Status::Archived)),
    row(Method::POST, "/api/v1/experiments/{id}/restore", "experiments", ADMIN, Action::Restore),
    row(Method::POST, "/api/v1/admin/users/erase", "erase", ADMIN, Action::EraseUser),
    row(Method::POST, "/api/v1/admin/retention/purge", "purge", Scopes::OPERATOR, Action::Purge),
    row(Method::GET, "/api/v1/admin/retention/purge", "purge", Scopes::OPERATOR, Action::LastPurge),
    row(Method::POST, "/api/v1/experiments/{id}/rebuild", "experiments", ADMIN, Action::Rebuild),
    row(Method::GET, "/api/v1/experiments/{id}/history", "experiments", READ, Action::History),
    row(Method::GET, "/api/v1/experiments/{id}/ingestion", "ingestion", READ, Action::Ingestion),
    row(Method::GET, "/api/v1/experiments/{id}/live-stats", "live-stats", READ, Action::LiveStats),
    row(Method::GET, "/api/v1/experiments/{id}/live-stats/stream", "stream", READ, Action::Stream),
    row(Method::GET, "/api/v1/experiments/{id}/decision", "decision", READ, Action::Decision),
    row(Method::GET, "/api/v1/experiments/{id}/timeseries", "timeseries", READ, Action::Timeseries),
    row(Method::POST, "/api/v1/experiments/{id}/assign", "assign", READ.union(Scopes::EVENTS), Action::Assign),
    row(Method::GET, "/api/v1/experiments/{id}/users/{user}", "users", ADMIN, Action::User),
    row(Method::GET, "/api/v1/experiments/{id}/export", "export", READ, Action::Export),
    row(Method::GET, "/api/v1/workspace/export", "workspace", READ, Action::ExportWorkspace),
    row(Method::POST, "/api/v1/workspace/validate", "workspace", ADMIN, Action::ValidateWorkspace),
    row(Method::POST, "/api/v1/workspace/import", "workspace", ADMIN, Action::ImportWorkspace),
    row(Method::POST, "/api/v1/stats/power", "stats", READ, Action::Power),
    row(Method::POST, "/api/v1/stats/srm", "stats", READ, Action::Srm),
    row(Method::POST, "/api/v1/stats/multiple-testing", "stats", READ, Action::MultipleTesting),
    row(Method::GET, "/api/v1/batches/{batch}", "batches", ANY, Action::Batch),
    row(Method::GET, "/api/v1/accounting", "accounting", READ, Action::Accounting),
    row(Method::GET, "/api/v1/dead-letters", "dead-letters", LETTERS, Action::DeadLetters),
    row(Method::GET, "/api/v1/dead-letters/{letter}", "dead-letters", LETTERS, Action::DeadLetter),
    row(Method::POST, "/api/v1/dead-letters/redrive", "dead-letters", LETTERS, Action::Redrive),
    row(Method::POST, "/api/v1/dead-letters/drop", "dead-letters", LETTERS, Action::Drop),
    row(Method::GET, "/api/v1/keys", "keys", ADMIN, Action::ListKeys),
    row(Method::POST, "/api/v1/keys", "keys", ADMIN, Action::CreateKey),
    row(Method::DELETE, "/api/v1/keys/{key}", "keys", ADMIN, Action::RevokeKey),
    row(Method::GET, "/api/v1/diagnostics", "diagnostics", READ.union(Scopes::OPERATOR), Action::Diagnostics),
    row(Method::GET, "/api/v1/audit", "audit", ADMIN, Action::Audit),
    row(Method::GET, "/api/v1/webhooks", "webhooks", ADMIN, Action::Webhooks),
    row(Method::POST, "/api/v1/webhooks", "webhooks", ADMIN, Action::CreateWebhook),
    row(Method::DELETE, "/api/v1/webhooks/{webhook}", "webhooks", ADMIN, Action::DeleteWebhook),
    row(Method::GET, "/api/v1/webhooks/{webhook}/deliveries", "webhooks", ADMIN, Action::Deliveries),
    row(Method::POST, "/api/v1/webhooks/{webhook}/test", "webhooks", ADMIN, Action::TestWebhook),
];

/// Every route, for the API document to be held against.
pub fn routes() -> impl Iterator<Item = (&'static Method, &'static str)> {
    ROWS.iter().map(|row| (&row.method, row.path))
}

/// The rows by path.
pub struct Routes(Router<Vec<&'static Row>>);

impl Routes {
    pub fn new() -> Result<Routes, InsertError> {
        let mut paths: BTreeMap<&str, Vec<&'static Row>> = BTreeMap::new();
        for row in ROWS {
            paths.entry(row.path).or_default().push(row);
        }
        let mut router = Router::new();
        for (path, rows) in paths {
            router.insert(path, rows)?;
        }
        Ok(Routes(router))
    }

    pub fn find(&self, method: &Method, path: &str) -> Found<Handler> {
        let Ok(found) = self.0.at(path) else { return Found::NotFound };
        let Some(row) = found.value.iter().find(|row| row.method == method) else {
            let methods: Vec<&str> = found.value.iter().map(|row| row.method.as_str()).collect();
            return Found::MethodNotAllowed(methods.join(", ").into());
        };
        let parameter = |names: &[&str]| {
            names.iter().find_map(|name| found.params.get(name)).unwrap_or_default().to_owned()
        };
        let (id, user) = (parameter(&["id", "batch", "letter", "key", "webhook"]), parameter(&["user"]));
        let handler = Handler { action: row.action, id, user };
        Found::Route(Route { handler, class: row.class, access: row.access })
    }
}
