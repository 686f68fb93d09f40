//! What must be kept so that a training can go on as if it had never stopped? Weights, both moments
//! of the optimizer, the step, the tokenizer, and what it was all made from.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use sextant_core::{Digest, DigestHasher};
use sextant_weights::{
    CONFIG_BYTES_MAX, EncoderConfig, TENSORS_FILE, TOKENIZER_FILE, TensorF32, TensorMap,
    WeightsError, read_config, read_file, read_tensors, read_tokenizer, tensors_to_bytes,
    write_config, write_file,
};

use crate::{ModelsError, Pair, TrainSpec, embedder::check_layout, optimizer::Moments};

/// The step and what the state belongs to. Written last: without it there is no state.
pub const STATE_FILE: &str = "state.json";
/// The optimizer's moments.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// Version of the state's layout.
const FORMAT: u32 = 1;

/// A training between two steps. A saved one is an ordinary model folder with two more files.
pub struct TrainState {
    pub(crate) step: u64,
    pub(crate) spec: TrainSpec,
    pub(crate) pairs: Digest,
    pub(crate) config: EncoderConfig,
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) weights: TensorMap,
    pub(crate) moments: BTreeMap<String, Moments>,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    format: u32,
    step: u64,
    spec: TrainSpec,
    pairs: Digest,
    /// Digests of the other files: a mix of two states is noticed.
    files: BTreeMap<String, Digest>,
}

impl TrainState {
    /// Steps taken so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The settings it was made with.
    pub fn spec(&self) -> &TrainSpec {
        &self.spec
    }

    /// Writes `config.json`, `model.safetensors` and `tokenizer.json` into `dir`, which is made if
    /// absent.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_model(&self, dir: &Path) -> Result<(), ModelsError> {
        self.write_parts(dir).map(drop)
    }

    fn write_parts(&self, dir: &Path) -> Result<BTreeMap<String, Digest>, ModelsError> {
        fs::create_dir_all(dir).map_err(|source| WeightsError::Io {
            action: "make",
            path: dir.to_path_buf(),
            source,
        })?;
        let mut files = BTreeMap::new();
        let mut put = |name: &str, bytes: &[u8]| {
            files.insert(name.to_owned(), Digest::of(bytes));
            write_file(&dir.join(name), bytes)
        };
        put(TOKENIZER_FILE, &self.tokenizer)?;
        put(TENSORS_FILE, &tensors_to_bytes(&dir.join(TENSORS_FILE), &self.weights)?)?;
        write_config(dir, &self.config)?;
        Ok(files)
    }

    /// Writes the whole state into `dir`, which is made if absent: the model, the optimizer, and
    /// last of all `state.json`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, dir: &Path) -> Result<(), ModelsError> {
        let mut files = self.write_parts(dir)?;
        let path = dir.join(OPTIMIZER_FILE);
        let bytes = tensors_to_bytes(&path, &self.moment_tensors())?;
        files.insert(OPTIMIZER_FILE.to_owned(), Digest::of(&bytes));
        write_file(&path, &bytes)?;
        let state = StateFile {
            format: FORMAT,
            step: self.step,
            spec: self.spec.clone(),
            pairs: self.pairs,
            files,
        };
        let text = serde_json::to_string_pretty(&state).map_err(damaged)?;
        write_file(&dir.join(STATE_FILE), text.as_bytes())?;
        Ok(())
    }

    /// Reads a state back, after checking each file against the digest in `state.json`.
    ///
    /// # Errors
    /// When a file is absent, damaged, or of another state.
    pub fn load(dir: &Path) -> Result<Self, ModelsError> {
        let bytes = read_file(&dir.join(STATE_FILE), CONFIG_BYTES_MAX)?;
        let state: StateFile = serde_json::from_slice(&bytes).map_err(damaged)?;
        if state.format != FORMAT {
            return Err(damaged(format!(
                "its format is {}, this version reads {FORMAT}",
                state.format
            )));
        }
        state.spec.validate()?;
        for name in [TOKENIZER_FILE, TENSORS_FILE, OPTIMIZER_FILE] {
            let expected =
                state.files.get(name).ok_or_else(|| damaged(format!("it does not name {name}")))?;
            let found = file_digest(&dir.join(name))?;
            if found != *expected {
                return Err(damaged(format!("{name} is {found}, state.json names {expected}")));
            }
        }
        let config = read_config(dir)?;
        let path = dir.join(TENSORS_FILE);
        let weights = read_tensors(&path)?;
        check_layout(&path, &config, &weights)?;
        let moments = read_moments(&dir.join(OPTIMIZER_FILE), &weights)?;
        let tokenizer = read_tokenizer(dir)?;
        let StateFile { step, spec, pairs, .. } = state;
        Ok(Self { step, spec, pairs, config, tokenizer, weights, moments })
    }

    fn moment_tensors(&self) -> TensorMap {
        let mut map = TensorMap::new();
        for (name, moments) in &self.moments {
            let shape = self.weights.get(name).map(|t| t.shape.clone()).unwrap_or_default();
            map.insert(
                format!("first.{name}"),
                TensorF32 { shape: shape.clone(), data: moments.first.clone() },
            );
            map.insert(format!("second.{name}"), TensorF32 { shape, data: moments.second.clone() });
        }
        map
    }
}

fn damaged(reason: impl std::fmt::Display) -> ModelsError {
    ModelsError::State { reason: reason.to_string() }
}

fn file_digest(path: &Path) -> Result<Digest, ModelsError> {
    let mut hasher = DigestHasher::new();
    fs::File::open(path)
        .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
        .map_err(|source| WeightsError::Io { action: "hash", path: path.to_path_buf(), source })?;
    Ok(hasher.finish())
}

fn read_moments(
    path: &Path,
    weights: &TensorMap,
) -> Result<BTreeMap<String, Moments>, ModelsError> {
    let mut tensors = read_tensors(path)?;
    let mut moments = BTreeMap::new();
    for (name, weight) in weights {
        let mut take = |moment: &str| match tensors.remove(&format!("{moment}.{name}")) {
            Some(t) if t.shape == weight.shape => Ok(t.data),
            _ => Err(damaged(format!(
                "the {moment} moment of {name} is absent or has another shape"
            ))),
        };
        moments.insert(name.clone(), Moments { first: take("first")?, second: take("second")? });
    }
    Ok(moments)
}

/// What a training is made from: the pairs in order.
pub(crate) fn pairs_digest(pairs: &[Pair]) -> Digest {
    let mut hasher = DigestHasher::new();
    for text in pairs.iter().flat_map(|pair| [&pair.query, &pair.passage]) {
        hasher.update((text.len() as u64).to_le_bytes()).update(text);
    }
    hasher.finish()
}
