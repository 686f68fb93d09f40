//! How is an evaluation built? `evals/*.toml` names questions and an index; each mode answers each
//! question, and the report is bound to the digests that it judged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sextant_core::{ActivityKind, ArtifactKind, Digest, EdgeKind, Failure, limits};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, recipe_digest,
};

use super::{
    Question, QuestionRow, Ranked, mean_scores, paired_permutation_p, parse_questions,
    score_question,
};
use crate::{
    AgentError, Mode, PassageSearch, Searchers,
    agents::{asset_id, setting},
};

/// Version of the report's form and of the definitions of its figures.
const REPORT_FORMAT: u32 = 1;
/// Passages asked for, for each section that is judged: long sections have several passages.
const PASSAGES_PER_SECTION: usize = 3;

fn default_modes() -> Vec<Mode> {
    vec![Mode::Bm25, Mode::Hybrid]
}

fn default_k() -> usize {
    10
}

/// What `evals/*.toml` may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalSpec {
    /// One line for lists and pages.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The file of questions, beside this file: one JSON object a line with id, question, path and
    /// heading.
    pub questions: String,
    /// The index that is judged: the name of a file in `indexes/`.
    pub index: String,
    /// The ways of retrieval that are judged.
    #[serde(default = "default_modes")]
    pub modes: Vec<Mode>,
    /// How many sections of each list are judged, 1 to 100.
    #[serde(default = "default_k")]
    pub k: usize,
}

/// Reads `evals/*.toml`; searches through a port.
#[derive(Clone)]
pub struct EvalKind {
    searchers: Arc<dyn Searchers>,
}

impl EvalKind {
    /// With the port that opens an index.
    pub fn new(searchers: Arc<dyn Searchers>) -> Self {
        Self { searchers }
    }
}

impl AssetKind for EvalKind {
    fn noun(&self) -> &'static str {
        "eval"
    }

    fn folder(&self) -> &'static str {
        "evals"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(EvalSpec)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let mut spec: EvalSpec = sextant_project::parse_asset_toml(file)?;
        if !(1..=100).contains(&spec.k) {
            return Err(setting(file, "k", "must be between 1 and 100").into());
        }
        spec.modes.sort_unstable();
        spec.modes.dedup();
        if spec.modes.is_empty() {
            return Err(setting(file, "modes", "must name at least one mode").into());
        }
        let plain = Path::new(&spec.questions).components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
        });
        if !plain || spec.questions.is_empty() {
            return Err(
                setting(file, "questions", "must stay below the folder of evaluations").into()
            );
        }
        let folder = file.path.parent().unwrap_or(Path::new("evals"));
        let about = About {
            description: spec.description.clone(),
            owner: spec.owner.clone(),
            tags: spec.tags.clone(),
        };
        Ok(vec![Arc::new(EvalAsset {
            id: asset_id(file, "evals", "file name", &file.stem())?,
            about,
            file: file.path.clone(),
            root: file.root.clone(),
            questions: folder.join(&spec.questions),
            index: asset_id(file, "indexes", "index", &spec.index)?,
            spec,
            searchers: Arc::clone(&self.searchers),
        })])
    }
}

struct EvalAsset {
    id: AssetId,
    about: About,
    file: PathBuf,
    root: PathBuf,
    questions: PathBuf,
    index: AssetId,
    spec: EvalSpec,
    searchers: Arc<dyn Searchers>,
}

impl EvalAsset {
    fn question_file(&self) -> Result<AssetFile, AgentError> {
        let path = self.root.join(&self.questions);
        let fail = |source| AgentError::Read { path: self.questions.display().to_string(), source };
        let size = std::fs::metadata(&path).map_err(fail)?.len();
        if size > limits::DOCUMENT_BYTES_MAX {
            let kind = std::io::ErrorKind::FileTooLarge;
            return Err(fail(std::io::Error::new(kind, format!("{size} bytes are too many"))));
        }
        let text = std::fs::read_to_string(&path).map_err(fail)?;
        Ok(AssetFile { root: self.root.clone(), path: self.questions.clone(), text })
    }

    fn judge(
        &self,
        context: &BuildContext<'_>,
        search: &dyn PassageSearch,
        questions: &[Question],
    ) -> Result<Vec<QuestionRow>, Failure> {
        let total = (questions.len() * self.spec.modes.len()) as u64;
        let mut rows = Vec::with_capacity(questions.len() * self.spec.modes.len());
        for mode in &self.spec.modes {
            for question in questions {
                if context.cancel.is_cancelled() {
                    return Err(sextant_project::ProjectError::Cancelled.into());
                }
                rows.push(self.judge_one(search, question, *mode)?);
                if rows.len() % 16 == 0 {
                    context.progress(rows.len() as u64, Some(total), mode.as_str());
                }
            }
        }
        Ok(rows)
    }

    fn judge_one(
        &self,
        search: &dyn PassageSearch,
        question: &Question,
        mode: Mode,
    ) -> Result<QuestionRow, Failure> {
        let k = self.spec.k;
        let mut found: Vec<Ranked> = Vec::with_capacity(k);
        for passage in search.search(&question.question, k * PASSAGES_PER_SECTION, mode)? {
            let heading = passage.heading.trim().to_owned();
            let section = Ranked { path: passage.path, heading };
            if found.len() < k && !found.contains(&section) {
                found.push(section);
            }
        }
        let (scores, rank) = score_question(&found, &question.relevant, k);
        Ok(QuestionRow { id: question.id.clone(), mode, scores, rank, found })
    }

    /// The figures by flattened name, and a line of them for the reader.
    fn figures(&self, rows: &[QuestionRow]) -> (Map<String, Value>, Option<f64>, String) {
        let k = self.spec.k;
        let mut metrics = Map::new();
        let mut words = Vec::new();
        for mode in &self.spec.modes {
            let of: Vec<_> = rows.iter().filter(|r| r.mode == *mode).map(|r| r.scores).collect();
            let mean = mean_scores(&of);
            for (name, value) in [("ndcg", mean.ndcg), ("recall", mean.recall), ("mrr", mean.mrr)] {
                metrics.insert(format!("retrieval.{mode}.{name}@{k}"), json!(value));
            }
            words.push(format!("{mode} ndcg@{k} {:.3} recall@{k} {:.3}", mean.ndcg, mean.recall));
        }
        let ndcg = |mode: Mode| -> Vec<f64> {
            rows.iter().filter(|r| r.mode == mode).map(|r| r.scores.ndcg).collect()
        };
        let both = [Mode::Bm25, Mode::Hybrid].iter().all(|mode| self.spec.modes.contains(mode));
        let chance = both.then(|| paired_permutation_p(&ndcg(Mode::Hybrid), &ndcg(Mode::Bm25)));
        if let Some(p) = chance {
            metrics.insert("retrieval.hybrid_vs_bm25.p_value".into(), json!(p));
            words.push(format!("p {p:.3}"));
        }
        (metrics, chance, words.join(", "))
    }
}

impl Asset for EvalAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "eval"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        vec![self.index.clone()]
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        let questions = Digest::of(&self.question_file()?.text);
        Ok(recipe_digest(&json!({
            "kind": "eval", "format": REPORT_FORMAT, "spec": self.spec, "questions": questions,
        })))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let file = self.question_file()?;
        let questions = parse_questions(&file)?;
        let index = context.input(&self.index)?;
        act.kind(ActivityKind::Evaluate);
        let search = self.searchers.open(&index.meta)?;
        let rows = self.judge(context, &*search, &questions)?;
        let (metrics, chance, summary) = self.figures(&rows);
        let question_bytes = act.blob(file.text.as_bytes())?;
        let set_body = json!({
            "format": REPORT_FORMAT, "questions": question_bytes, "count": questions.len(),
        });
        let eval_set = act.manifest(ArtifactKind::EvalSet, &set_body, &[])?;
        let embedder = embedder_of(&index.meta);
        let report_body = json!({
            "format": REPORT_FORMAT, "eval_set": eval_set, "index": index.version,
            "embedder": embedder, "k": self.spec.k, "modes": self.spec.modes,
            "metrics": metrics, "questions": questions, "rows": rows,
        });
        let report = act.blob(&sextant_core::canonical_json(&report_body).map_err(unreadable)?)?;
        let body = json!({
            "format": REPORT_FORMAT, "eval_set": eval_set, "index": index.version,
            "embedder": embedder, "k": self.spec.k, "modes": self.spec.modes,
            "metrics": metrics, "p_value": chance, "count": questions.len(), "rows": report,
        });
        let version = act.manifest(ArtifactKind::EvalReport, &body, &[eval_set])?;
        act.edge(version, EdgeKind::EvaluatedOn, index.version);
        if let Some(embedder) = embedder {
            act.edge(version, EdgeKind::EvaluatedOn, embedder);
        }
        let mut meta = body;
        meta["eval_report"] = json!(version);
        Ok(Built { version, meta, summary: format!("{} questions: {summary}", questions.len()) })
    }
}

fn unreadable(error: serde_json::Error) -> AgentError {
    AgentError::Stored { what: "evaluation report", reason: error.to_string() }
}

/// The digest of the model that made the index's vectors, as the index recorded it.
fn embedder_of(meta: &Value) -> Option<Digest> {
    ["/model", "/embedder/model", "/embedder/digest", "/embedder"]
        .iter()
        .filter_map(|pointer| meta.pointer(pointer).and_then(Value::as_str))
        .find_map(|text| text.parse().ok())
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
