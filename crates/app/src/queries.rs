//! Questions about the project that change nothing: states, versions, runs, rows, searches.

use serde_json::{Value, json};
use sextant_agent::{Mode, PassageSearch as _};
use sextant_core::{Digest, Failure};
use sextant_data::{read_dataset, read_manifest};
use sextant_project::{AssetId, Project, state};
use sextant_track::{Direction, SortRuns, TrackError};

use crate::{App, AppError, releases::index_of};

/// Versions of an asset that are listed.
const VERSIONS_MAX: u32 = 200;
/// Letters of a hit's text that are shown.
const SNIPPET_CHARS: usize = 240;

impl App {
    pub(crate) fn status(&self) -> Result<Value, Failure> {
        let project = self.project()?;
        let state = self.state()?;
        let assets: Vec<Value> = state::status(&project.graph, &state)
            .iter()
            .map(|asset| shown_times(json!(asset)))
            .collect();
        let mut counts = serde_json::Map::new();
        for asset in &assets {
            let word = asset["state"].as_str().unwrap_or_default().to_owned();
            let count = counts.get(&word).and_then(Value::as_u64).unwrap_or(0) + 1;
            counts.insert(word, json!(count));
        }
        Ok(json!({
            "project": project.config.name,
            "assets": assets,
            "releases": self.release_rows()?,
            "counts": counts,
            "holes": self.store.read()?.holes()?.len(),
        }))
    }

    /// The asset that a person means by this text.
    fn asset(&self, project: &Project, text: &str) -> Result<AssetId, Failure> {
        Ok(project.graph.find(text)?.clone())
    }

    pub(crate) fn versions(&self, asset: &str) -> Result<Value, Failure> {
        let asset = self.asset(&self.project()?, asset)?;
        let rows = state::versions(&self.store, &asset, VERSIONS_MAX)?;
        let versions: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "version": row.version,
                    "at": row.at.to_string(),
                    "activity": row.activity,
                    "recipe": row.recipe,
                    "inputs": row.inputs,
                    "summary": row.summary,
                    "meta": row.meta,
                })
            })
            .collect();
        Ok(json!({ "asset": asset, "versions": versions }))
    }

    pub(crate) fn runs(&self) -> Result<Value, Failure> {
        let runs = self.tracker.list(&SortRuns::Newest)?;
        let runs: Vec<Value> = runs.iter().map(|run| shown_times(json!(run))).collect();
        Ok(json!({ "runs": runs }))
    }

    pub(crate) fn run_show(&self, id: &str) -> Result<Value, Failure> {
        let id = match id {
            "last" => self.tracker.list(&SortRuns::Newest)?.first().map(|run| run.id.to_string()),
            id => Some(id.to_owned()),
        };
        let hint = "train something: `sextant build`";
        let id = id.ok_or_else(|| AppError::not_found("run", "last", hint))?;
        Ok(shown_times(json!(self.tracker.get(&id)?)))
    }

    /// The best run of our own training and of clients of MLflow; an asset has runs of the former
    /// only, an experiment of the latter only.
    pub(crate) fn best(
        &self,
        metric: Option<&str>,
        asset: Option<&str>,
        experiment: Option<&str>,
        min: Option<bool>,
    ) -> Result<Value, Failure> {
        let asset = match asset {
            Some(text) => Some(self.asset(&self.project()?, text)?.to_string()),
            None => None,
        };
        let metric = metric.unwrap_or("validation_mrr");
        let direction = match min {
            Some(true) => Direction::Min,
            Some(false) => Direction::Max,
            None => Direction::of(metric),
        };
        let none = || TrackError::NoMetric(metric.to_owned());
        let own = match experiment {
            Some(_) => Err(none()),
            None => self.tracker.best(Some(metric), asset.as_deref(), Some(direction)),
        };
        let theirs = match asset {
            Some(_) => None,
            None => self.mlflow_best(metric, direction, experiment)?,
        };
        Ok(match (own, theirs) {
            (Ok(own), Some(theirs)) if direction.better(theirs.value, own.best.value) => {
                theirs.shown()
            }
            (Ok(own), _) => json!(own),
            (Err(TrackError::NoMetric(_)), Some(theirs)) => theirs.shown(),
            (Err(error), _) => return Err(error.into()),
        })
    }

    pub(crate) fn check_failures(&self, asset: &str) -> Result<Value, Failure> {
        let asset = self.asset(&self.project()?, asset)?;
        Ok(self.engine.check_failures(&asset)?)
    }

    pub(crate) fn dataset(
        &self,
        id: &str,
        split: Option<&str>,
        limit: u32,
    ) -> Result<Value, Failure> {
        let tagged = self.tagged(id)?;
        let version = match id.parse::<Digest>().ok().or(tagged) {
            Some(digest) => digest,
            None => {
                let asset = self.asset(&self.project()?, id)?;
                let missing = || {
                    AppError::not_found("version of", asset.as_str(), "`sextant build` makes it")
                };
                self.state()?.version(&asset).ok_or_else(missing)?
            }
        };
        let manifest = read_manifest(&self.store, &version)?;
        let split = split.map_or_else(
            || manifest.splits.keys().next().cloned().unwrap_or_default(),
            str::to_owned,
        );
        let rows = read_dataset(&self.store, &version, &split)?;
        let columns: Vec<String> =
            rows.first().map(|row| row.keys().cloned().collect()).unwrap_or_default();
        let total = rows.len();
        let rows: Vec<_> = rows.into_iter().take(limit as usize).collect();
        Ok(json!({
            "version": version, "split": split, "columns": columns, "rows": rows, "total": total,
            "manifest": manifest,
        }))
    }

    pub(crate) fn search(
        &self,
        query: &str,
        index: Option<&str>,
        k: u32,
        mode: &str,
    ) -> Result<Value, Failure> {
        let mode: Mode = mode.parse().map_err(AppError::BadInput)?;
        if !(1..=1000).contains(&k) {
            return Err(AppError::BadInput(format!("k is {k}; it must be 1 to 1000")).into());
        }
        let index = index_of(&self.project()?, index)?;
        let state = self.state()?;
        let built = state.version(&index).ok_or_else(|| {
            AppError::not_found("version of", index.as_str(), "`sextant build` makes it")
        })?;
        let search = self.searchers.open_version(&built)?;
        let hits: Vec<Value> = search
            .search(query, k as usize, mode)?
            .into_iter()
            .enumerate()
            .map(|(number, hit)| {
                let snippet: String = hit.body.chars().take(SNIPPET_CHARS).collect();
                json!({
                    "rank": number + 1,
                    "score": hit.score,
                    "bm25": hit.bm25,
                    "cosine": hit.cosine,
                    "chunk": hit.chunk,
                    "path": hit.path,
                    "heading": hit.heading,
                    "breadcrumb": hit.breadcrumb,
                    "snippet": snippet,
                    "byte_start": hit.byte_start,
                    "byte_end": hit.byte_end,
                })
            })
            .collect();
        Ok(json!({ "index": index, "version": built, "mode": mode, "hits": hits }))
    }

    /// The version that `ASSET@TAG` means, when that is what it is.
    pub(crate) fn tagged(&self, id: &str) -> Result<Option<Digest>, Failure> {
        let Some((asset, tag)) = id.split_once('@') else { return Ok(None) };
        Ok(self.engine.tagged(asset, tag)?)
    }

    /// A passage by its chunk: the bytes come from the document version's own blob.
    pub(crate) fn passage(&self, chunk: &str) -> Result<Value, Failure> {
        let missing = || AppError::not_found("passage", chunk, "`sextant why` shows chunk ids");
        let digest: Digest = chunk.parse().map_err(|_| missing())?;
        let reader = self.store.read()?;
        let artifact = reader
            .artifact(&digest)?
            .filter(|artifact| artifact.kind == sextant_core::ArtifactKind::Chunk)
            .ok_or_else(missing)?;
        let meta = &artifact.meta;
        let version: Digest =
            meta["doc_version"].as_str().and_then(|text| text.parse().ok()).ok_or_else(missing)?;
        let document = reader.artifact(&version)?.ok_or_else(missing)?;
        let raw: Digest = document.meta["raw_digest"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(missing)?;
        let bytes = self.store.blob(&raw)?;
        let place = |field: &str| {
            meta[field].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX)
        };
        let (start, end) = (place("byte_start"), place("byte_end"));
        let text = bytes.get(start..end).ok_or_else(missing)?;
        Ok(json!({
            "chunk": digest, "path": meta["path"], "heading": meta["heading"],
            "body": String::from_utf8_lossy(text), "byte_start": start, "byte_end": end,
            "doc_version": version, "raw_digest": raw,
        }))
    }

    pub(crate) fn evaluation(&self, name: Option<&str>) -> Result<Value, Failure> {
        let project = self.project()?;
        let asset = match name {
            Some(text) => self.asset(&project, text)?,
            None => {
                let ids = project.graph.order().iter().filter(|id| id.folder() == "evals");
                match ids.collect::<Vec<_>>().as_slice() {
                    [only] => (*only).clone(),
                    [] => {
                        let hint = "add evals/NAME.toml";
                        return Err(AppError::not_found("evaluation", "(none)", hint).into());
                    }
                    several => {
                        let found = several.iter().map(ToString::to_string).collect();
                        return Err(
                            AppError::Ambiguous { id: "the evaluation".into(), found }.into()
                        );
                    }
                }
            }
        };
        let state = self.state()?;
        let row = state.latest.get(&asset).ok_or_else(|| {
            AppError::not_found("report of", asset.as_str(), "`sextant build` makes it")
        })?;
        let meta = &row.meta;
        let mut modes = serde_json::Map::new();
        for (name, value) in meta["metrics"].as_object().into_iter().flatten() {
            let mut parts = name.splitn(3, '.');
            if let (Some("retrieval"), Some(mode), Some(metric)) =
                (parts.next(), parts.next(), parts.next())
                && mode != "hybrid_vs_bm25"
            {
                let entry = modes.entry(mode.to_owned()).or_insert_with(|| json!({}));
                entry[metric] = value.clone();
                // The rank cut-off is part of the name; lists show the plain word too.
                if let Some((plain, _)) = metric.split_once('@') {
                    entry[plain] = value.clone();
                }
            }
        }
        let rows: Value = meta["rows"]
            .as_str()
            .and_then(|digest| digest.parse::<Digest>().ok())
            .and_then(|digest| self.store.blob(&digest).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or(Value::Null);
        Ok(json!({
            "name": asset, "version": row.version, "at": row.at.to_string(), "modes": modes,
            "metrics": meta["metrics"], "p_value": meta["p_value"], "questions": meta["count"],
            "index": meta["index"], "embedder": meta["embedder"], "eval_set": meta["eval_set"],
            "report": rows,
        }))
    }
}

/// Times as text instead of the numbers they are stored as.
pub(crate) fn shown_times(mut run: Value) -> Value {
    for field in ["started_at", "ended_at", "created_at", "built_at", "at"] {
        if let Some(micros) = run[field].as_i64() {
            run[field] = json!(sextant_core::Timestamp::from_micros(micros).to_string());
        }
    }
    run
}
