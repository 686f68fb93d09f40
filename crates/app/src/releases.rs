//! How does a build become a release? The agent's assets fill the parts, the report is the gate's
//! evidence, and one pointer moves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sextant_core::{Digest, Events, ExitKind, Failure};
use sextant_project::{
    AssetId, BuildReport, Project, ReleaseSpec,
    release::{self, Evidence, NewRelease, Part, PartDetails, Promote, ReleaseManifest, Role},
};

use crate::{App, AppError, queries::shown_times};

impl App {
    /// After a build: creates, gates and promotes the releases that ask for it. What stands in the
    /// way is part of the result, never an error of the build.
    pub(crate) fn auto_release(
        &self,
        project: &Project,
        report: &BuildReport,
        events: &dyn Events,
    ) -> Vec<Value> {
        let mut results = Vec::new();
        for spec in project.releases.iter().filter(|spec| spec.auto) {
            if !report.is_good() {
                continue;
            }
            match self.release_one(project, spec) {
                Ok(Some(result)) => results.push(result),
                Ok(None) => {}
                Err(failure) => {
                    events.warn(format!("release {} was not made: {failure}", spec.name));
                    results.push(json!({
                        "name": spec.name, "digest": null, "promoted": false, "gate": "none",
                        "reason": failure.to_string(), "code": failure.code().to_string(),
                        "hint": failure.hint(), "exit": failure.code().kind.exit_code(),
                    }));
                }
            }
        }
        results
    }

    /// `None` when the present versions are live already.
    fn release_one(&self, project: &Project, spec: &ReleaseSpec) -> Result<Option<Value>, Failure> {
        let new = self.assemble(project, spec)?;
        let digest = release::create(&self.store, &project.graph, &new)?;
        let live = release::live(&self.store, &spec.name)?;
        if live == Some(digest) {
            return Ok(None);
        }
        let reason = new.serving["reason"].clone();
        // A release that was live before and rolled back is not brought back by a build.
        let reader = self.store.read()?;
        if was_rolled_back(&release::switches(&reader, &spec.name)?, &digest) {
            return Ok(Some(json!({
                "name": spec.name, "digest": digest, "promoted": false, "gate": "passed",
                "reason": "it was rolled back: promote it by hand when it is wanted again",
            })));
        }
        match release::gate(&self.store, &digest, spec, &self.evidence(&digest)?) {
            Ok(_) => {}
            Err(failure) if failure.code().kind == ExitKind::GateRefused => {
                return Ok(Some(json!({
                    "name": spec.name, "digest": digest, "promoted": false, "gate": "refused",
                    "reason": failure.to_string(),
                })));
            }
            Err(failure) => return Err(failure),
        }
        self.serving(&digest)?;
        release::promote(&self.store, &digest, Promote::default())?;
        Ok(Some(json!({
            "name": spec.name, "digest": digest, "promoted": true, "gate": "passed",
            "reason": reason,
        })))
    }

    /// Which versions a release of this spec would pin now, and how it would answer.
    fn assemble<'a>(
        &self,
        project: &Project,
        spec: &'a ReleaseSpec,
    ) -> Result<NewRelease<'a>, Failure> {
        let agent = spec.agent_asset()?;
        let mut assets = BTreeMap::from([(Role::Serving, agent.clone())]);
        let mut seen = BTreeSet::new();
        let mut queue = vec![agent.clone()];
        while let Some(id) = queue.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let role = match id.folder() {
                "sources" => Some(Role::Documents),
                "train" => Some(Role::Model),
                "prompts" => Some(Role::Prompt),
                "indexes" => Some(Role::Index),
                "evals" => Some(Role::Evaluation),
                _ => None,
            };
            if let Some(role) = role {
                assets.entry(role).or_insert_with(|| id.clone());
            }
            if let Some(node) = project.graph.get(&id) {
                queue.extend(node.asset.inputs());
            }
        }
        let state = self.state()?;
        let built = state.latest.get(&agent).ok_or_else(|| {
            AppError::not_found("version of", agent.as_str(), "`sextant build` makes it")
        })?;
        let config: Value = serde_json::from_slice(&self.store.blob(&built.version)?)
            .map_err(|error| AppError::BadInput(format!("{agent}: {error}")))?;
        let serving = json!({
            "mode": config["retrieval"]["mode"],
            "reason": config["retrieval"]["reason"],
            "config": config,
        });
        Ok(NewRelease { spec, assets, serving })
    }

    /// What the report in a release found, and which index it judged.
    fn evidence(&self, digest: &Digest) -> Result<Evidence, Failure> {
        let (manifest, _) = ReleaseManifest::read(&self.store.read()?, digest)?;
        let Some(part) = manifest.parts.get(&Role::Evaluation) else {
            return Ok(Evidence { metrics: BTreeMap::new(), index: None });
        };
        let report: Value = serde_json::from_slice(&self.store.blob(&part.version)?)
            .map_err(|error| AppError::BadInput(format!("{}: {error}", part.asset)))?;
        let metrics = report["metrics"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
            .collect();
        let index = report["index"].as_str().and_then(|text| text.parse().ok());
        Ok(Evidence { metrics, index })
    }

    /// The release file with this name, or the only one.
    fn release_spec<'p>(
        &self,
        project: &'p Project,
        name: Option<&str>,
    ) -> Result<&'p ReleaseSpec, Failure> {
        match (name, project.releases.as_slice()) {
            (Some(name), _) => project.release(name).ok_or_else(|| {
                AppError::not_found("release file", name, "releases/NAME.toml describes one").into()
            }),
            (None, [only]) => Ok(only),
            (None, []) => {
                let hint = "add releases/NAME.toml";
                Err(AppError::not_found("release file", "(none)", hint).into())
            }
            (None, several) => {
                let found = several.iter().map(|spec| spec.name.clone()).collect();
                Err(AppError::Ambiguous { id: "the release".into(), found }.into())
            }
        }
    }

    pub(crate) fn release_create(&self, name: Option<&str>) -> Result<Value, Failure> {
        let project = self.project()?;
        let spec = self.release_spec(&project, name)?;
        let new = self.assemble(&project, spec)?;
        let digest = release::create(&self.store, &project.graph, &new)?;
        Ok(shown_times(json!(release::show(&self.store, &digest)?)))
    }

    pub(crate) fn release_gate(&self, id: &str) -> Result<Value, Failure> {
        let digest = self.release_digest(id)?;
        let (manifest, _) = ReleaseManifest::read(&self.store.read()?, &digest)?;
        let project = self.project()?;
        let spec = self.release_spec(&project, Some(&manifest.name))?;
        let verdict = release::gate(&self.store, &digest, spec, &self.evidence(&digest)?)?;
        Ok(json!(verdict))
    }

    pub(crate) fn release_promote(&self, id: &str, force: Option<&str>) -> Result<Value, Failure> {
        let digest = self.release_digest(id)?;
        self.serving(&digest)?;
        release::promote(&self.store, &digest, Promote { force, ..Promote::default() })?;
        Ok(shown_times(json!(release::show(&self.store, &digest)?)))
    }

    pub(crate) fn release_list(&self) -> Result<Value, Failure> {
        Ok(json!({ "releases": self.release_rows()? }))
    }

    /// All releases for lists, newest first.
    pub(crate) fn release_rows(&self) -> Result<Vec<Value>, Failure> {
        Ok(release::list(&self.store)?.iter().map(|row| shown_times(json!(row))).collect())
    }

    pub(crate) fn release_show(&self, id: &str) -> Result<Value, Failure> {
        Ok(shown_times(json!(release::show(&self.store, &self.release_digest(id)?)?)))
    }

    pub(crate) fn rollback(&self, name: Option<&str>) -> Result<Value, Failure> {
        let (name, _) = self.pin(name)?;
        let switch =
            release::rollback(&self.store, &name, |target| self.serving(target).map(drop))?;
        Ok(
            json!({ "name": switch.name, "from": switch.from, "to": switch.to, "at": switch.at.to_string() }),
        )
    }

    pub(crate) fn diff(&self, a: &str, b: &str) -> Result<Value, Failure> {
        let (a, b) = (self.release_digest(a)?, self.release_digest(b)?);
        Ok(json!(release::diff(&self.store, &a, &b, &DocumentDetails(self))?))
    }

    /// The release that a word means: as `release::resolve`, and `NAME~N` for the Nth live release
    /// of that name before the present one; a bare name means the live one where there is one.
    fn release_digest(&self, word: &str) -> Result<Digest, Failure> {
        if let Some((name, back)) = word.rsplit_once('~') {
            let back: usize = back
                .parse()
                .map_err(|_| AppError::BadInput(format!("`{word}`: after ~ comes a number")))?;
            let reader = self.store.read()?;
            let mut past: Vec<Digest> = Vec::new();
            for switch in release::switches(&reader, name)? {
                past.retain(|digest| *digest != switch.to);
                past.push(switch.to);
            }
            return past.iter().rev().nth(back).copied().ok_or_else(|| {
                AppError::not_found("release", word, "`sextant release list` shows them").into()
            });
        }
        if let Ok(Some(live)) = release::live(&self.store, word) {
            return Ok(live);
        }
        release::resolve(&self.store, word)
    }
}

/// Whether somebody took this release out of service and it has not been live since. Later switches
/// between other releases do not bring it back.
fn was_rolled_back(switches: &[release::Switch], digest: &Digest) -> bool {
    switches.iter().fold(false, |out, switch| {
        let left = switch.action == "rollback" && switch.from == Some(*digest);
        switch.to != *digest && (out || left)
    })
}

/// Which documents differ between two versions of a table of documents.
struct DocumentDetails<'a>(&'a App);

impl PartDetails for DocumentDetails<'_> {
    fn details(&self, role: Role, before: &Part, after: &Part) -> Result<Vec<String>, Failure> {
        if role != Role::Documents {
            return Ok(Vec::new());
        }
        let (before, after) = (self.documents(&before.version)?, self.documents(&after.version)?);
        let mut lines = Vec::new();
        for (path, digest) in &after {
            match before.get(path) {
                None => lines.push(format!("{path} added")),
                Some(old) if old != digest => lines.push(format!("{path} changed")),
                Some(_) => {}
            }
        }
        for path in before.keys().filter(|path| !after.contains_key(*path)) {
            lines.push(format!("{path} removed"));
        }
        Ok(lines)
    }
}

impl DocumentDetails<'_> {
    fn documents(&self, version: &Digest) -> Result<BTreeMap<String, String>, Failure> {
        let meta = self.0.engine.table_version(version)?;
        let rows = self.0.engine.rows(&meta, &["path", "raw_digest"])?;
        let text = |row: &serde_json::Map<String, Value>, field: &str| {
            row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Ok(rows.iter().map(|row| (text(row, "path"), text(row, "raw_digest"))).collect())
    }
}

/// The assets of a release, for those who need to know which asset fills which role.
pub(crate) fn index_of(project: &Project, named: Option<&str>) -> Result<AssetId, Failure> {
    let ids: Vec<AssetId> = project
        .graph
        .nodes()
        .map(|(id, _)| id.clone())
        .filter(|id| id.folder() == "indexes")
        .collect();
    match (named, ids.as_slice()) {
        (Some(named), _) => Ok(project.graph.find(named)?.clone()),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(AppError::not_found("index", "(none)", "add indexes/NAME.toml").into()),
        (None, several) => {
            let found = several.iter().map(ToString::to_string).collect();
            Err(AppError::Ambiguous { id: "the index".into(), found }.into())
        }
    }
}
