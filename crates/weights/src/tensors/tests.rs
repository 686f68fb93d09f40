#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::PathBuf};

use sextant_core::{Digest, Explain};
use tempfile::TempDir;

use crate::{
    EncoderConfig, HiddenAct, MODEL_TYPE, Pooling, TensorF32, TensorMap, WeightsError,
    folder_digest, read_config, read_tensors, read_tokenizer, tensors_to_bytes, write_config,
    write_tensors,
};

fn sample() -> TensorMap {
    let a = TensorF32 { shape: vec![2, 3], data: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] };
    let b = TensorF32 { shape: vec![2], data: vec![-1.5, f32::MIN_POSITIVE] };
    TensorMap::from([("a".to_owned(), a), ("b".to_owned(), b)])
}

fn file(dir: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    path
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Writes the bytes, expects the reader to refuse them with this code.
fn refuses(bytes: &[u8], code: u16, because: &str) {
    let dir = TempDir::new().unwrap();
    let error = read_tensors(&file(&dir, bytes)).unwrap_err();
    assert_eq!(error.code().number, code, "{error}");
    assert!(error.to_string().contains(because), "{error} should contain `{because}`");
    assert!(error.place().is_some());
}

#[test]
fn what_is_written_is_read_and_always_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("model.safetensors");
    write_tensors(&path, &sample()).unwrap();
    assert_eq!(read_tensors(&path).unwrap(), sample());
    assert_eq!(fs::read(&path).unwrap(), tensors_to_bytes(&path, &sample()).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn every_truncation_is_refused() {
    let dir = TempDir::new().unwrap();
    let whole = tensors_to_bytes(dir.path(), &sample()).unwrap();
    for length in 0..whole.len() {
        let error = read_tensors(&file(&dir, &whole[..length])).unwrap_err();
        assert_eq!(error.code().number, 4005, "{length}: {error}");
    }
    let mut longer = whole;
    longer.push(0);
    refuses(&longer, 4005, "not fully covered");
}

#[test]
fn a_header_that_lies_is_refused() {
    refuses(&u64::MAX.to_le_bytes(), 4003, "header bytes");
    refuses(&with_header("{", b""), 4005, "JSON");
    refuses(
        &with_header(r#"{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}"#, &[0; 4]),
        4005,
        "JSON",
    );
    refuses(
        &with_header(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, &[0; 4]),
        4005,
        "JSON",
    );
    refuses(
        &with_header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4]),
        4005,
        "shape",
    );
    let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
    refuses(&with_header(overlap, &[0; 6]), 4005, "offset");
    let huge =
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}"#;
    refuses(&with_header(huge, &[0; 4]), 4005, "overflow");
}

#[test]
fn values_that_are_not_finite_floats_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    refuses(&with_header(header, &f32::NAN.to_le_bytes()), 4006, "finite");
    refuses(&with_header(&header.replace("F32", "I32"), &[0; 4]), 4006, "expected F32");
}

#[test]
fn a_config_survives_and_a_bad_one_is_explained() {
    let dir = TempDir::new().unwrap();
    let good = EncoderConfig {
        model_type: MODEL_TYPE.to_owned(),
        vocab_size: 100,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 16,
        layer_norm_eps: 1e-5,
        hidden_act: HiddenAct::GeluTanh,
        pooling: Pooling::Mean,
    };
    write_config(dir.path(), &good).unwrap();
    assert_eq!(read_config(dir.path()).unwrap(), good);
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    for (from, to, because) in [
        ("\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "does not divide"),
        ("sextant-encoder", "bert", "model_type is `bert`"),
        ("\"hidden_size\": 32", "\"hidden_size\": 0", "hidden_size is 0"),
        ("\"hidden_size\": 32", "\"hidden_size\": -1", "line 4"),
        ("\"layer_norm_eps\": 0.00001", "\"layer_norm_eps\": 0.0", "layer_norm_eps"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        fs::write(dir.path().join("config.json"), changed).unwrap();
        let error = read_config(dir.path()).unwrap_err();
        assert_eq!(error.code().number, 4004);
        assert!(error.to_string().contains(because), "{error} should contain `{because}`");
    }
}

#[test]
fn a_folder_is_named_by_its_bytes() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(read_tokenizer(dir.path()), Err(WeightsError::Missing { .. })));
    fs::write(dir.path().join("tokenizer.json"), "abc").unwrap();
    fs::write(dir.path().join(".hidden"), "").unwrap();
    assert_eq!(read_tokenizer(dir.path()).unwrap_err().code().number, 4005);
    let manifest = folder_digest(dir.path()).unwrap();
    assert_eq!(manifest.len(), 1);
    assert_eq!(manifest["tokenizer.json"].digest, Digest::of("abc"));
    assert_eq!(manifest["tokenizer.json"].size, 3);
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();
    assert_eq!(folder_digest(dir.path()).unwrap_err().code().number, 4007);
}
