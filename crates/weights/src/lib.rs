//! What is in a model folder, and can it be trusted? Reading and writing the Hugging Face layout
//! (`config.json`, `model.safetensors`, `tokenizer.json`) that training and serving share.
//!
//! Every reader validates before it hands anything on: sizes are bounded, the safetensors header is
//! checked against the bytes, and values are finite. This crate must not know lineage, async, HTTP
//! or any tensor library.

#![deny(missing_docs)]

mod config;
mod error;
mod folder;
mod tensors;

pub use config::{EncoderConfig, HiddenAct, MODEL_TYPE, Pooling, read_config, write_config};
pub use error::{CODES, WeightsError};
pub use folder::{
    CONFIG_FILE, FileEntry, FolderManifest, TENSORS_FILE, TOKENIZER_FILE, folder_digest, read_file,
    read_tokenizer, write_file,
};
pub use tensors::{TensorF32, TensorMap, read_tensors, tensors_to_bytes, write_tensors};

/// Largest `config.json` (and `state.json`) that is read.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Largest `tokenizer.json` that is read.
pub const TOKENIZER_BYTES_MAX: u64 = 64 << 20;
/// Largest `.safetensors` file that is read into memory.
pub const TENSORS_BYTES_MAX: u64 = 4 << 30;
/// Longest header of a `.safetensors` file.
pub const TENSORS_HEADER_BYTES_MAX: u64 = 16 << 20;
/// Most tensors in one file.
pub const TENSORS_MAX: usize = 65_536;
/// Most files in a model folder.
pub const FOLDER_FILES_MAX: usize = 1_024;
