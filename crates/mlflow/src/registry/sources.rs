//! Where may the files of a version be? In a run or a logged model of this server that the call names, in
//! another version, or in a store that clients reach by themselves. Never at a path of this machine, and
//! never at a path that leads elsewhere.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sextant_core::Digest;
use sextant_lineage::{Act, Reader};

use super::{
    super::{
        Fault, Mlflow, Refusal,
        refusal::{invalid, missing},
    },
    versions::Version,
};

/// Addresses that name the host to which a server would connect.
const HOSTED: &[&str] = &["ftp", "sftp", "hdfs", "viewfs", "http", "https", "r2", "b2", "abfss"];
/// What stands for a source where a prompt has none.
const PLACEHOLDERS: &[&str] = &["dummy-source", "prompt-template"];

/// The tag of a logged model that lists its versions.
const VERSIONS_TAG: &str = "mlflow.modelVersions";

/// Where a version comes from.
pub(super) struct Origin {
    /// As clients see it.
    pub(super) source: String,
    /// Where the files are.
    pub(super) location: String,
    pub(super) run: Option<String>,
    /// The logged model.
    pub(super) model: Option<String>,
    /// The node in the chain of the version that it is a copy of.
    pub(super) node: Option<Digest>,
}

impl Origin {
    pub(super) fn of_prompt(source: &str, run: Option<&str>) -> Self {
        let (source, location) = (source.to_owned(), source.to_owned());
        let run = Some(run.unwrap_or_default().to_owned());
        Self { source, location, run, model: None, node: None }
    }
}

/// A model that was logged, as far as a version needs it.
pub(super) struct Logged {
    location: String,
    run: Option<String>,
}

/// Checks the source of a version of a prompt.
pub(super) fn check_placeholder(source: &str) -> Result<(), Refusal> {
    if PLACEHOLDERS.contains(&source) {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder."
    )))
}

/// What an address is made of.
struct Address<'a> {
    /// In small letters; empty for a path.
    scheme: String,
    host: &'a str,
    path: &'a str,
}

impl<'a> Address<'a> {
    fn of(text: &'a str) -> Self {
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ => (String::new(), text),
        };
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let rest = &rest[..end];
        match rest.strip_prefix("//") {
            None => Self { scheme, host: "", path: rest },
            Some(after) => {
                let (host, path) = after.split_at(after.find('/').unwrap_or(after.len()));
                Self { scheme, host, path }
            }
        }
    }

    /// Whether it lies at or below another.
    fn is_within(&self, root: &Self) -> bool {
        let parts = |path: &str| -> Vec<String> {
            path.split('/').filter(|part| !part.is_empty()).map(decoded).collect()
        };
        let (own, root_parts) = (parts(self.path), parts(root.path));
        self.scheme == root.scheme
            && self.host.eq_ignore_ascii_case(root.host)
            && !root_parts.is_empty()
            && own.starts_with(&root_parts)
    }
}

/// What a text means once nothing in it is encoded any more.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let next = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            return text;
        }
        text = next;
    }
}

/// What an address of a model means.
enum Named<'a> {
    /// A logged model, by its id.
    Logged(&'a str),
    /// A version of a registered model.
    Registered(&'a str, Which<'a>),
}

/// Which version.
enum Which<'a> {
    Number(i64),
    Alias(&'a str),
    /// The newest, perhaps of a stage.
    Newest(Option<&'a str>),
}

impl<'a> Named<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?.trim_start_matches('/');
        let (name, which) = match (path.split_once('/'), path.rsplit_once('@')) {
            (Some((name, suffix)), _) => {
                let which = match suffix {
                    _ if suffix.contains('/') => return None,
                    "latest" => Which::Newest(None),
                    _ if suffix.bytes().all(|byte| byte.is_ascii_digit()) => {
                        Which::Number(suffix.parse().ok()?)
                    }
                    stage => Which::Newest(Some(stage)),
                };
                (name, which)
            }
            (None, Some((name, alias))) if !alias.trim().is_empty() => (name, Which::Alias(alias)),
            (None, Some(_)) => return None,
            (None, None) => {
                return Some(path).filter(|id| !id.trim().is_empty()).map(Self::Logged);
            }
        };
        Some(name).filter(|name| !name.trim().is_empty()).map(|name| Self::Registered(name, which))
    }
}

impl Mlflow {
    /// Where a version comes from, when it may come from there.
    pub(super) fn origin(
        &self,
        reader: &Reader,
        source: &str,
        run: Option<&str>,
        model: Option<&str>,
    ) -> Result<Origin, Refusal> {
        let address = Address::of(source);
        check_host(&address)?;
        if address.scheme == "models" && !address.host.is_empty() {
            return Err(invalid(format!(
                "Invalid model version source: '{source}'. Registered model sources must use the active \
                 model registry."
            )));
        }
        let id = match address.scheme.as_str() {
            "models" => match Named::of(address.path).ok_or_else(|| unlike(source, "model_id"))? {
                Named::Registered(name, which) => {
                    let found = self.registered_source(reader, source, name, &which)?;
                    return copy_of(source, &found, run, model);
                }
                Named::Logged(id) => Some(id),
            },
            _ => None,
        };
        let model = model.filter(|model| !model.is_empty());
        check_local(source, &address, model.is_some())?;
        check_plain(source, &address)?;
        let run = run.unwrap_or_default();
        let logged = match model {
            Some(model) => Some(self.model_around(reader, source, &address, id, model)?),
            None => {
                self.check_within_run(reader, source, &address, run)?;
                None
            }
        };
        let location = logged.as_ref().filter(|_| id.is_some()).map(|logged| &logged.location);
        let its_run = logged.as_ref().and_then(|logged| logged.run.as_deref());
        // A version of no run has an empty one, as in MLflow.
        let run = if run.is_empty() { its_run.unwrap_or_default() } else { run };
        Ok(Origin {
            source: source.to_owned(),
            location: location.map_or(source, String::as_str).to_owned(),
            run: Some(run.to_owned()),
            model: model.map(str::to_owned),
            node: None,
        })
    }

    /// The version of a registered model that an address names.
    fn registered_source(
        &self,
        reader: &Reader,
        source: &str,
        name: &str,
        which: &Which<'_>,
    ) -> Result<Version, Refusal> {
        self.registered(reader, name)?;
        if self.is_prompt(reader, name)? {
            return Err(invalid(format!(
                "Invalid model version source: '{source}'. Prompt versions cannot be used as model \
                 version sources."
            )));
        }
        match which {
            Which::Number(version) => self.version(reader, name, *version),
            Which::Alias(alias) => self.aliased(reader, name, alias),
            Which::Newest(stage) => {
                let of_stage = stage.map_or(String::new(), |stage| format!(" and stage '{stage}'"));
                let none =
                    || missing(format!("No versions of model with name '{name}'{of_stage} found"));
                self.newest(reader, name, *stage)?.ok_or_else(none)
            }
        }
    }

    /// Refuses what is not within the run that the call names.
    fn check_within_run(
        &self,
        reader: &Reader,
        source: &str,
        address: &Address<'_>,
        run: &str,
    ) -> Result<(), Refusal> {
        let fits = match address.scheme.as_str() {
            "models" => return Err(unlike(source, "model_id")),
            "runs" => {
                let first = address.path.trim_start_matches('/').split('/').next();
                address.host.is_empty() && !run.is_empty() && first == Some(run)
            }
            "mlflow-artifacts" if run.is_empty() => false,
            "mlflow-artifacts" => match self.run(reader, run) {
                Ok(found) => address.is_within(&Address::of(&found.artifact_uri)),
                Err(refusal) if refusal.fault == Fault::NotFound => false,
                Err(refusal) => return Err(refusal),
            },
            _ => true,
        };
        if fits { Ok(()) } else { Err(unlike(source, "run_id")) }
    }

    /// The logged model that the call names, when the source is within it. `id` is the one that the
    /// source names.
    fn model_around(
        &self,
        reader: &Reader,
        source: &str,
        address: &Address<'_>,
        id: Option<&str>,
        model: &str,
    ) -> Result<Logged, Refusal> {
        let logged = self.logged(reader, model)?.filter(|logged| match address.scheme.as_str() {
            "models" => id == Some(model),
            "runs" => false,
            "mlflow-artifacts" => address.is_within(&Address::of(&logged.location)),
            _ => true,
        });
        logged.ok_or_else(|| unlike(source, "model_id"))
    }

    /// The logged model with this id.
    fn logged(&self, reader: &Reader, id: &str) -> Result<Option<Logged>, Refusal> {
        let sql = "SELECT artifact_uri, source_run FROM mlflow_logged_models
                   WHERE id = ?1 AND stage = 'active'";
        let rows = reader.query(sql, &[id.into()])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let run = Some(row.text(1)?.to_owned()).filter(|run| !run.is_empty());
        Ok(Some(Logged { location: row.text(0)?.to_owned(), run }))
    }
}

/// Notes on a logged model that a version was made of it: in a tag, where MLflow's pages look for it.
pub(super) fn note_version(
    act: &mut Act,
    reader: &Reader,
    model: &str,
    name: &str,
    version: i64,
) -> Result<(), Refusal> {
    let sql = "SELECT value FROM mlflow_model_tags WHERE model = ?1 AND key = ?2";
    let rows = reader.query(sql, &[model.into(), VERSIONS_TAG.into()])?;
    let before = rows.first().map(|row| row.text(0)).transpose()?.unwrap_or("[]");
    // What somebody wrote there by hand and is no list is written anew.
    let mut list: Vec<Value> = serde_json::from_str(before).unwrap_or_default();
    list.push(json!({ "name": name, "version": version }));
    let shown =
        |one: &Value| format!("{{\"name\": {}, \"version\": {}}}", one["name"], one["version"]);
    let list: Vec<String> = list.iter().map(shown).collect();
    act.execute(
        "INSERT INTO mlflow_model_tags (model, key, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
        vec![model.into(), VERSIONS_TAG.into(), format!("[{}]", list.join(", ")).into()],
    );
    Ok(())
}

/// A version that is a copy of another.
fn copy_of(
    source: &str,
    found: &Version,
    run: Option<&str>,
    model: Option<&str>,
) -> Result<Origin, Refusal> {
    let other_run = run.is_some_and(|run| run != found.run.as_deref().unwrap_or_default());
    if other_run || model.is_some_and(|model| !model.is_empty()) {
        return Err(invalid(format!(
            "Invalid model version source: '{source}'. The run_id and model_id request parameters must \
             match the referenced model version."
        )));
    }
    Ok(Origin {
        source: format!("models:/{}/{}", found.name, found.version),
        location: found.location.clone(),
        run: run.map_or_else(|| found.run.clone(), |run| Some(run.to_owned())),
        model: None,
        node: found.node.parse().ok(),
    })
}

/// Refuses an address that names another host.
fn check_host(address: &Address<'_>) -> Result<(), Refusal> {
    let scheme = address.scheme.as_str();
    let hosted =
        HOSTED.contains(&scheme) || scheme == "mlflow-artifacts" && !address.host.is_empty();
    if !hosted {
        return Ok(());
    }
    Err(invalid(format!(
        "'source' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than the \
         tracking server's configured artifact storage, so the server would connect to the host named in \
         the URI."
    )))
}

/// Refuses a path of this machine.
fn check_local(source: &str, address: &Address<'_>, of_model: bool) -> Result<(), Refusal> {
    if !matches!(address.scheme.as_str(), "" | "file") {
        return Ok(());
    }
    let of = if of_model { "model_id" } else { "run_id" };
    Err(invalid(format!(
        "Invalid model version source: '{source}'. To use a local path as a model version source, the \
         {of} request parameter has to be specified and the local path has to be contained within the \
         artifact directory of the run specified by the {of}."
    )))
}

/// Refuses a path that leads elsewhere, however it is encoded.
fn check_plain(source: &str, address: &Address<'_>) -> Result<(), Refusal> {
    let whole = decoded(source);
    let path = decoded(address.path);
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let is_plain = path.starts_with('/')
        && parts.peek().is_some()
        && parts.all(|part| part != ".")
        && !whole.split('/').any(|part| part == "..")
        && !whole.contains(char::is_control);
    if is_plain {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid model version source: '{source}'. If supplying a source as an http, https, local file \
         path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without \
         relative path references present. Please provide an absolute path."
    )))
}

/// That the source is not in what the call names.
fn unlike(source: &str, named: &str) -> Refusal {
    invalid(format!(
        "Invalid model version source: '{source}'. The {named} request parameter must identify the \
         resource that contains the source."
    ))
}
