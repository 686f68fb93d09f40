//! What is an agent? `agents/*.toml`: an index, a prompt, a reader and a way to find passages,
//! which build one serving configuration.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sextant_core::{ActivityKind, ArtifactKind, Digest, Failure};
use sextant_lineage::Act;
use sextant_project::{
    About, Asset, AssetFile, AssetId, AssetKind, BuildContext, Built, Refresh, recipe_digest,
};

use crate::{
    AgentError, Mode,
    config::{
        CONFIG_FORMAT, GeneratorConfig, PASSAGES_MAX, ReaderKind, Retrieval, ServingConfig,
        Thresholds,
    },
    policy::{Resolution, resolve_retrieval},
};

/// How the project asks for passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetrievalChoice {
    /// Hybrid when the evaluation shows that it is better than BM25, else BM25.
    #[default]
    Auto,
    /// Words only.
    Bm25,
    /// Vectors only.
    Vector,
    /// Words and vectors.
    Hybrid,
}

impl RetrievalChoice {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bm25 => "bm25",
            Self::Vector => "vector",
            Self::Hybrid => "hybrid",
        }
    }
}

/// An OpenAI-compatible endpoint that writes the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratorSpec {
    /// Address up to and with `/v1`, such as `http://127.0.0.1:8000/v1`.
    pub base_url: String,
    /// The model to ask for.
    pub model: String,
    /// The environment variable that holds the key. The key itself is never written down.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// How freely it writes, 0 to 2.
    #[serde(default)]
    pub temperature: f64,
    /// Most tokens of an answer.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: u32,
    /// How long one answer may take, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_s: u64,
}

fn default_max_tokens() -> u32 {
    512
}

fn default_timeout() -> u64 {
    60
}

fn default_passages() -> usize {
    4
}

/// What `agents/*.toml` may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// One line for lists and pages.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The index it searches: the name of a file in `indexes/`.
    pub index: String,
    /// Its prompt: the name of a file in `prompts/`.
    pub prompt: String,
    /// How passages are found.
    #[serde(default)]
    pub retrieval: RetrievalChoice,
    /// The evaluation that decides when retrieval is `auto`: the name of a file in `evals/`.
    #[serde(default)]
    pub eval: Option<String>,
    /// Passages looked at for one answer, 1 to 16.
    #[serde(default = "default_passages")]
    pub passages: usize,
    /// Share (0 to 1) of the question's meaning that a passage must hold; below it the answer is
    /// that nothing was found.
    #[serde(default)]
    pub abstain_below: Option<f32>,
    /// Most quotes of one answer of the extractive reader.
    #[serde(default)]
    pub quotes_max: Option<usize>,
    /// The model that writes; absent, the extractive reader quotes.
    #[serde(default)]
    pub generator: Option<GeneratorSpec>,
}

/// Reads `agents/*.toml`.
#[derive(Debug, Clone, Copy, Default)]
pub struct AgentKind;

impl AssetKind for AgentKind {
    fn noun(&self) -> &'static str {
        "agent"
    }

    fn folder(&self) -> &'static str {
        "agents"
    }

    fn accepts(&self, extension: &str) -> bool {
        extension == "toml"
    }

    fn schema(&self) -> Option<Value> {
        serde_json::to_value(schemars::schema_for!(AgentSpec)).ok()
    }

    fn load(&self, file: &AssetFile) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        let spec: AgentSpec = sextant_project::parse_asset_toml(file)?;
        check(file, &spec)?;
        let id = |folder: &str, key: &str, stem: &str| asset_id(file, folder, key, stem);
        let about = About {
            description: spec.description.clone(),
            owner: spec.owner.clone(),
            tags: spec.tags.clone(),
        };
        Ok(vec![Arc::new(AgentAsset {
            id: id("agents", "file name", &file.stem())?,
            about,
            file: file.path.clone(),
            index: id("indexes", "index", &spec.index)?,
            prompt: id("prompts", "prompt", &spec.prompt)?,
            eval: spec.eval.as_deref().map(|stem| id("evals", "eval", stem)).transpose()?,
            spec,
        })])
    }
}

/// The id of an asset that a key of the file names; the folder may be written or left out.
pub(crate) fn asset_id(
    file: &AssetFile,
    folder: &str,
    key: &str,
    stem: &str,
) -> Result<AssetId, AgentError> {
    let stem = stem.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or(stem);
    AssetId::of(folder, stem).map_err(|reason| setting(file, key, reason))
}

/// An error about a key, with the line where the key stands.
pub(crate) fn setting(file: &AssetFile, key: &str, reason: impl Into<String>) -> AgentError {
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let line = file
        .text
        .lines()
        .position(|line| {
            line.trim_start()
                .strip_prefix(leaf)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        })
        .map(|index| index + 1);
    AgentError::Setting {
        place: file.place(line, None),
        key: key.to_owned(),
        reason: reason.into(),
    }
}

fn check(file: &AssetFile, spec: &AgentSpec) -> Result<(), AgentError> {
    let refuse = |key: &str, reason: String| Err(setting(file, key, reason));
    if !(1..=PASSAGES_MAX).contains(&spec.passages) {
        return refuse("passages", format!("must be between 1 and {PASSAGES_MAX}"));
    }
    if spec.abstain_below.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return refuse("abstain_below", "must be between 0 and 1".into());
    }
    if spec.quotes_max.is_some_and(|most| !(1..=PASSAGES_MAX).contains(&most)) {
        return refuse("quotes_max", format!("must be between 1 and {PASSAGES_MAX}"));
    }
    if spec.retrieval == RetrievalChoice::Auto && spec.eval.is_none() {
        return refuse("retrieval", "is \"auto\", which needs an `eval` to decide".into());
    }
    if let Some(generator) = &spec.generator {
        let url = &generator.base_url;
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let Some(host) = host else {
            return refuse("generator.base_url", "must begin with http:// or https://".into());
        };
        if host.split('/').next().unwrap_or_default().contains('@') || url.contains('?') {
            let reason = "must not hold credentials; name their variable in api_key_env";
            return refuse("generator.base_url", reason.into());
        }
        if !(0.0..=2.0).contains(&generator.temperature) {
            return refuse("generator.temperature", "must be between 0 and 2".into());
        }
        if generator.timeout_s == 0 || generator.max_tokens == 0 {
            return refuse("generator", "must allow at least one second and one token".into());
        }
        if generator.api_key_env.as_deref().is_some_and(|name| !is_variable(name)) {
            let reason = "must be the name of an environment variable, not a key";
            return refuse("generator.api_key_env", reason.into());
        }
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

struct AgentAsset {
    id: AssetId,
    about: About,
    file: PathBuf,
    index: AssetId,
    prompt: AssetId,
    eval: Option<AssetId>,
    spec: AgentSpec,
}

impl AgentAsset {
    fn resolve(&self, context: &BuildContext<'_>) -> Result<Resolution, Failure> {
        let mode = match self.spec.retrieval {
            RetrievalChoice::Bm25 => Mode::Bm25,
            RetrievalChoice::Vector => Mode::Vector,
            RetrievalChoice::Hybrid => Mode::Hybrid,
            RetrievalChoice::Auto => {
                let Some(eval) = &self.eval else {
                    let metric = "retrieval.hybrid.ndcg@10".to_owned();
                    return Err(AgentError::MissingMetric { metric }.into());
                };
                let report = context.input(eval)?;
                let index = context.input(&self.index)?;
                let judged = report.meta.get("index").and_then(Value::as_str);
                if judged != Some(index.version.to_string().as_str()) {
                    let metric = format!("of {}, only of another index", self.index);
                    return Err(AgentError::MissingMetric { metric }.into());
                }
                return Ok(resolve_retrieval(report.meta.get("metrics").unwrap_or(&Value::Null))?);
            }
        };
        let reason = format!("the project asks for {mode}");
        Ok(Resolution { mode, reason })
    }

    fn config(&self, prompt: Digest, resolution: Resolution) -> ServingConfig {
        let defaults = Thresholds::default();
        let generator = self.spec.generator.as_ref().map(|spec| GeneratorConfig {
            base_url: spec.base_url.trim_end_matches('/').to_owned(),
            model: spec.model.clone(),
            api_key_env: spec.api_key_env.clone(),
            temperature: spec.temperature,
            max_tokens: spec.max_tokens,
            timeout_s: spec.timeout_s,
        });
        ServingConfig {
            format: CONFIG_FORMAT,
            reader: if generator.is_some() {
                ReaderKind::Generator
            } else {
                ReaderKind::Extractive
            },
            generator,
            retrieval: Retrieval {
                requested: self.spec.retrieval.as_str().to_owned(),
                mode: resolution.mode,
                reason: resolution.reason,
            },
            passages: self.spec.passages,
            thresholds: Thresholds {
                abstain_below: self.spec.abstain_below.unwrap_or(defaults.abstain_below),
                quotes_max: self.spec.quotes_max.unwrap_or(defaults.quotes_max),
                ..defaults
            },
            prompt,
        }
    }
}

impl Asset for AgentAsset {
    fn id(&self) -> &AssetId {
        &self.id
    }

    fn noun(&self) -> &'static str {
        "agent"
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn inputs(&self) -> Vec<AssetId> {
        let mut inputs = vec![self.index.clone(), self.prompt.clone()];
        inputs.extend(self.eval.clone());
        inputs
    }

    fn guards(&self) -> Option<AssetId> {
        None
    }

    fn refresh(&self) -> Refresh {
        Refresh::Auto
    }

    fn recipe(&self) -> Result<Digest, Failure> {
        Ok(recipe_digest(&json!({"kind": "agent", "format": CONFIG_FORMAT, "spec": self.spec})))
    }

    fn outside(&self) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    fn build(&self, context: &BuildContext<'_>, act: &mut Act) -> Result<Built, Failure> {
        let prompt = context.input(&self.prompt)?.version;
        let index = context.input(&self.index)?;
        let resolution = self.resolve(context)?;
        context
            .events
            .info(format!("{}: retrieval is {}: {}", self.id, resolution.mode, resolution.reason));
        let config = self.config(prompt, resolution);
        act.kind(ActivityKind::Author);
        let version = act.manifest(ArtifactKind::ServingConfig, &config, &[prompt])?;
        let eval = self.eval.as_ref().map(|eval| context.input(eval)).transpose()?;
        let reader = match &config.generator {
            Some(generator) => generator.model.as_str(),
            None => "extractive reader",
        };
        let summary = format!("{} retrieval, {reader}", config.retrieval.mode);
        let meta = json!({
            "serving_config": version,
            "mode": config.retrieval.mode,
            "reason": config.retrieval.reason,
            "reader": config.reader,
            "prompt": prompt,
            "index": index.version,
            "index_asset": self.index,
            "index_meta": index.meta,
            "eval": eval.map(|eval| eval.version),
        });
        Ok(Built { version, meta, summary })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn load(text: &str) -> Result<Vec<Arc<dyn Asset>>, Failure> {
        AgentKind.load(&AssetFile {
            root: "/project".into(),
            path: "agents/assistant.toml".into(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn an_agent_reads_its_index_prompt_and_evaluation() {
        let assets = load("index='manual'\nprompt='prompts/answer'\neval='retrieval'\n").unwrap();
        let inputs: Vec<_> = assets[0].inputs().iter().map(ToString::to_string).collect();
        assert_eq!(inputs, ["indexes/manual", "prompts/answer", "evals/retrieval"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        let head = "index='manual'\nprompt='answer'\nretrieval='bm25'\n";
        for (text, line) in [
            ("index='manual'\nprompt='answer'\nretrieval='auto'\n".to_owned(), 3),
            (format!("{head}passages=0\n"), 4),
            (format!("{head}passages=17\n"), 4),
            (format!("{head}abstain_below=1.5\n"), 4),
            (format!("{head}[generator]\nbase_url='ftp://x'\nmodel='m'\n"), 5),
            (format!("{head}[generator]\nbase_url='http://u:p@x/v1'\nmodel='m'\n"), 5),
            (
                format!(
                    "{head}[generator]\nbase_url='http://x/v1'\nmodel='m'\napi_key_env='sk-123'\n"
                ),
                7,
            ),
        ] {
            let Err(failure) = load(&text) else { panic!("accepted: {text}") };
            assert_eq!(failure.place().and_then(|place| place.line), Some(line), "{failure}");
        }
        assert!(load(&format!("{head}surprise=1\n")).is_err());
    }
}
