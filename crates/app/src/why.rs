//! `why` and `impact`: from an id to the tree.

use serde_json::{Value, json};
use sextant_core::{Digest, Failure};
use sextant_lineage::Reader;
use sextant_project::release::{ReleaseManifest, Role};

use crate::{
    App, AppError,
    answer::FoundAnswer,
    chain::{self, Branch, Node, Target, Walk, resolve},
};

/// Answers listed by `impact`; the count is of all.
const SAMPLE_MAX: usize = 20;

impl App {
    /// What an id means; `ASSET@TAG` is the version that the tag names.
    fn resolved(&self, reader: &Reader, id: &str) -> Result<Target, Failure> {
        match self.tagged(id)? {
            Some(version) => Ok(Target::Artifact(version)),
            None => resolve(reader, id),
        }
    }

    pub(crate) fn why(&self, id: &str) -> Result<Value, Failure> {
        let named = self.version_of_name(id)?;
        let id = &*named;
        let reader = self.store.read()?;
        let node = match self.resolved(&reader, id)? {
            Target::LastAnswer => self.why_answer(&reader, &self.find_answer("last")?)?,
            Target::Answer(_) => match self.find_answer(id) {
                Ok(answer) => self.why_answer(&reader, &answer)?,
                Err(missing) => self.why_activity(&reader, id)?.ok_or(missing)?,
            },
            Target::Artifact(digest) => self.why_version(&reader, &digest)?,
            Target::Documents(versions) => match versions.first() {
                Some(newest) => self.why_version(&reader, newest)?,
                None => return Err(AppError::not_found("document", id, "").into()),
            },
        };
        Ok(json!(node))
    }

    fn why_version(&self, reader: &Reader, digest: &Digest) -> Result<Node, Failure> {
        chain::why_artifact(reader, digest, &self.version_names()?)?
            .ok_or_else(|| AppError::not_found("version", &digest.to_string(), "").into())
    }

    /// An activity by its id: what it used, as a tree.
    fn why_activity(&self, reader: &Reader, id: &str) -> Result<Option<Node>, Failure> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let Some(activity) = reader.activity(&id)? else { return Ok(None) };
        let names = self.version_names()?;
        let mut walk = Walk::new(reader, &names);
        let mut node = Node {
            id: id.to_string(),
            kind: activity.kind.to_string(),
            label: activity.label,
            detail: activity.meta,
            at: Some(activity.started_at.to_string()),
            ..Node::default()
        };
        for input in reader.used_by(&id)? {
            if let Some(below) = walk.open(&input)? {
                node.holes += below.holes;
                node.inputs.push(Branch { edge: "used".to_owned(), node: below });
            }
        }
        Ok(Some(node))
    }

    /// The tree of an answer: the passages it cites, then the release with all that it pins.
    fn why_answer(&self, reader: &Reader, answer: &FoundAnswer) -> Result<Node, Failure> {
        let names = self.version_names()?;
        let mut walk = Walk::new(reader, &names);
        let words = answer.words.clone().unwrap_or(Value::Null);
        let question = words["question"].as_str().unwrap_or("(the words were erased)");
        let record = &answer.record;
        let mut node = Node {
            id: answer.id.to_string(),
            kind: "answer".to_owned(),
            label: question.to_owned(),
            detail: json!({
                "answer": words["answer"],
                "question_digest": record.question,
                "answer_digest": record.text,
                "mode": record.mode,
                "model": record.model,
                "abstained": record.flags.abstained,
                "search_us": record.search_micros,
                "read_us": record.read_micros,
            }),
            at: Some(record.at.to_string()),
            ..Node::default()
        };
        let (manifest, _) = ReleaseManifest::read(reader, &record.release)?;
        for citation in words["citations"].as_array().into_iter().flatten() {
            if let Some(branch) = cited(&mut walk, citation)? {
                node.holes += branch.node.holes;
                node.inputs.push(branch);
            }
        }
        if words.is_null() {
            recorded_passages(reader, answer, &manifest, &mut walk, &mut node)?;
        }
        if let Some(release) = walk.open(&record.release)? {
            node.holes += release.holes;
            node.inputs.push(Branch { edge: "served_by".to_owned(), node: release });
        }
        Ok(node)
    }

    pub(crate) fn impact(&self, id: &str) -> Result<Value, Failure> {
        let named = self.version_of_name(id)?;
        let id = &*named;
        let reader = self.store.read()?;
        let names = self.version_names()?;
        let starts = match self.resolved(&reader, id)? {
            Target::Artifact(digest) => vec![digest],
            Target::Documents(versions) => versions,
            Target::LastAnswer | Target::Answer(_) => {
                let message =
                    "an answer has nothing after it yet: `sextant why` walks back from it";
                return Err(AppError::BadInput(message.to_owned()).into());
            }
        };
        let mut trees = Vec::new();
        let (mut releases, mut chunks) = Default::default();
        let mut is_passage = true;
        for start in &starts {
            let artifact = reader.artifact(start)?;
            is_passage &= artifact.is_some_and(|artifact| {
                use sextant_core::ArtifactKind::{Chunk, DocVersion};
                matches!(artifact.kind, Chunk | DocVersion)
            });
            if let Some(found) = chain::impact(&reader, start, &names)? {
                merge(&mut releases, found.releases);
                merge(&mut chunks, found.chunks);
                trees.push(found.node);
            }
        }
        let mut result = match trees.len() {
            0 => return Err(AppError::not_found("version", id, "").into()),
            1 => json!(trees.swap_remove(0)),
            count => {
                let label = format!("{id}: {count} versions");
                let outputs: Vec<Branch> = trees
                    .into_iter()
                    .map(|node| Branch { edge: "version".to_owned(), node })
                    .collect();
                json!(Node {
                    id: id.to_owned(),
                    kind: "document".into(),
                    label,
                    outputs,
                    ..Node::default()
                })
            }
        };
        let wanted = is_passage.then_some(&chunks);
        result["answers"] = self.answers_from(&releases, wanted)?;
        Ok(result)
    }

    /// The answers served by these releases; only those that cite one of the chunks, when given.
    fn answers_from(
        &self,
        releases: &std::collections::BTreeSet<Digest>,
        chunks: Option<&std::collections::BTreeSet<Digest>>,
    ) -> Result<Value, Failure> {
        let prefixes: Option<std::collections::HashSet<[u8; 8]>> = chunks.map(|chunks| {
            let prefix = |chunk: &Digest| {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&chunk.as_raw()[..8]);
                prefix
            };
            chunks.iter().map(prefix).collect()
        });
        let mut count = 0_u64;
        let mut sample = std::collections::VecDeque::new();
        let mut fault = None;
        self.answers.scan(0, &mut |sequence, key, payload| {
            let record = match sextant_agent::AnswerRecord::decode(payload) {
                Ok(record) => record,
                Err(error) => {
                    fault = Some(error);
                    return false;
                }
            };
            let used = match &prefixes {
                Some(prefixes) => record
                    .passages
                    .iter()
                    .any(|passage| passage.cited && prefixes.contains(&passage.chunk_prefix)),
                None => releases.contains(&record.release),
            };
            if used {
                count += 1;
                sample.push_back(sextant_lineage::LogRecord {
                    sequence,
                    key,
                    payload: payload.to_vec(),
                });
                if sample.len() > SAMPLE_MAX {
                    sample.pop_front();
                }
            }
            true
        })?;
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        let mut rows = Vec::new();
        for record in sample.into_iter().rev() {
            let answer = self.read_answer(&record)?;
            let question = answer.words.map_or(Value::Null, |words| words["question"].clone());
            rows.push(json!({ "id": answer.id, "at": answer.record.at.to_string(), "question": question }));
        }
        Ok(json!({ "count": count, "sample": rows }))
    }

    pub(crate) fn holes(&self) -> Result<Value, Failure> {
        let holes: Vec<Value> = self
            .store
            .read()?
            .holes()?
            .into_iter()
            .map(
                |hole| json!({ "digest": hole.digest, "what": hole.what, "used_by": hole.used_by }),
            )
            .collect();
        Ok(json!({ "holes": holes, "count": holes.len() }))
    }
}

/// A passage that the answer quotes, with the bytes of the quote.
fn cited(walk: &mut Walk<'_>, citation: &Value) -> Result<Option<Branch>, Failure> {
    let chunk: Option<Digest> = citation["chunk"].as_str().and_then(|digest| digest.parse().ok());
    let Some(chunk) = chunk else { return Ok(None) };
    let Some(mut below) = walk.open(&chunk)? else { return Ok(None) };
    below.label = format!(
        "[{}] {} › {}, bytes {}–{}",
        citation["n"],
        citation["path"].as_str().unwrap_or_default(),
        citation["heading"].as_str().unwrap_or_default(),
        citation["byte_start"],
        citation["byte_end"],
    );
    below.detail["quote"] = citation["quote"].clone();
    below.detail["score"] = citation["score"].clone();
    Ok(Some(Branch { edge: "retrieved".to_owned(), node: below }))
}

/// The cited passages from the compact record alone, when the words were erased.
fn recorded_passages(
    reader: &Reader,
    answer: &FoundAnswer,
    manifest: &ReleaseManifest,
    walk: &mut Walk<'_>,
    node: &mut Node,
) -> Result<(), Failure> {
    let Some(index) = manifest.parts.get(&Role::Index) else { return Ok(()) };
    let edges = reader.edges_from(&index.version.to_string())?;
    for passage in answer.record.passages.iter().filter(|passage| passage.cited) {
        let prefix = format!("sha256:{}", hex_of(&passage.chunk_prefix));
        let chunk = edges.iter().find(|edge| edge.to.starts_with(&prefix));
        if let Some(chunk) = chunk.and_then(|edge| edge.to.parse().ok())
            && let Some(below) = walk.open(&chunk)?
        {
            node.holes += below.holes;
            node.inputs.push(Branch { edge: "retrieved".to_owned(), node: below });
        }
    }
    Ok(())
}

fn merge(into: &mut std::collections::BTreeSet<Digest>, from: std::collections::BTreeSet<Digest>) {
    into.extend(from);
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
