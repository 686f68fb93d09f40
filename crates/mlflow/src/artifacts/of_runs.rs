//! Which files does a run have? Asked by its id, as MLflow's pages ask, and clients that do not go to the
//! files themselves. What else has files, has an address of them: see [`Mlflow::file_at`].

use std::io::Read;

use serde_json::{Value, json};
use sextant_core::Digest;

use super::{ArtifactPath, Opened};
use crate::{
    Answer, Call, Fields, Mlflow, Refusal,
    call::{look, open, take},
    refusal::invalid,
    runs::run_field,
};

/// What a page may store.
const PAGE_BYTES_MAX: u64 = 10 << 20;

/// The calls of this file.
pub(crate) const CALLS: &[Call] = &[
    look("GET", "2.0/mlflow/artifacts/list", Mlflow::list_artifacts),
    open("get-artifact", Mlflow::get_run_artifact),
    take("POST", "2.0/mlflow/upload-artifact", Mlflow::upload_artifact),
    look("POST", "2.0/mlflow/artifacts/presigned-download-url", Mlflow::presign_download),
    look("POST", "2.0/mlflow/artifacts/presigned-upload-url", Mlflow::presign_upload),
];

impl Mlflow {
    /// The file at a path below an address of artifacts, such as that of a run, a model or a trace.
    pub(crate) fn file_at(&self, address: &str, path: &str) -> Result<Opened, Refusal> {
        let inner = ArtifactPath::read(path)?;
        self.open_artifact(&ArtifactPath::of_address(address)?.join(&inner)?)
    }

    /// What is in a folder below an address of artifacts; paths are those below the address.
    pub(crate) fn files_at(&self, address: &str, path: &str) -> Result<Vec<Value>, Refusal> {
        let inner = ArtifactPath::read(path)?;
        let entries = self.entries(&ArtifactPath::of_address(address)?.join(&inner)?)?;
        let mut shown = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = match inner.as_str() {
                "" => entry.name.clone(),
                folder => format!("{folder}/{}", entry.name),
            };
            shown.push(entry.shown(&path));
        }
        Ok(shown)
    }

    fn list_artifacts(&self, fields: Fields<'_>) -> Answer {
        let (run, path) = (run_field(&fields)?, fields.text("path")?.unwrap_or_default());
        ArtifactPath::read(path)?;
        let root = self.run(&self.store().read()?, run)?.artifact_uri;
        let mut answer = json!({ "root_uri": root });
        let files = self.files_at(&root, path)?;
        if !files.is_empty() {
            answer["files"] = files.into();
        }
        Ok(answer)
    }

    fn get_run_artifact(&self, fields: Fields<'_>) -> Result<Opened, Refusal> {
        let (run, path) = (run_field(&fields)?, fields.need("path")?);
        ArtifactPath::read(path)?;
        let root = self.run(&self.store().read()?, run)?.artifact_uri;
        self.file_at(&root, path)
    }

    fn upload_artifact(&self, fields: Fields<'_>, body: &mut dyn Read) -> Result<Digest, Refusal> {
        let given = |name: &str| -> Result<&str, Refusal> {
            let text = fields.text(name)?.filter(|text| !text.is_empty());
            text.ok_or_else(|| invalid(format!("Request must specify {name}.")))
        };
        let (run, inner) = (given("run_uuid")?, ArtifactPath::read(given("path")?)?);
        let root = self.run(&self.store().read()?, run)?.artifact_uri;
        let path = ArtifactPath::of_address(&root)?.join(&inner)?;
        self.check_free(&self.store().read()?, &path)?;
        let incoming = self.receive(&mut body.take(PAGE_BYTES_MAX + 1), PAGE_BYTES_MAX);
        let incoming =
            incoming.map_err(|_| invalid("Artifact size is too large. Max size is 10MB."))?;
        if incoming.bytes() == 0 {
            return Err(invalid("Request must specify data."));
        }
        self.keep_artifact(&path, incoming)
    }

    fn presign_download(&self, fields: Fields<'_>) -> Answer {
        let (run, path) = (fields.need("run_id")?, fields.need("path")?);
        ArtifactPath::read(path)?;
        self.run(&self.store().read()?, run)?;
        Err(not_presigned("download", "runs with ", "a run with "))
    }

    fn presign_upload(&self, fields: Fields<'_>) -> Answer {
        let path = fields.need("path")?;
        let given = |name| Ok::<_, Refusal>(fields.text(name)?.filter(|id| !id.is_empty()));
        let (run, model) = (given("run_id")?, given("model_id")?);
        if run.is_some() == model.is_some() {
            return Err(invalid("Exactly one of run_id and model_id must be provided."));
        }
        ArtifactPath::read(path)?;
        if let Some(run) = run {
            self.run(&self.store().read()?, run)?;
        }
        Err(not_presigned("upload", "", ""))
    }
}

/// There is no store of files that a client could reach without this server.
fn not_presigned(what: &str, of: &str, needs: &str) -> Refusal {
    invalid(format!(
        "Presigned {what} is not supported for {of}proxied artifact storage (artifact URI scheme: \
         mlflow-artifacts). This endpoint requires {needs}a direct cloud storage artifact URI."
    ))
}
