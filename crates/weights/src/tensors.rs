//! What are the weights? Safetensors files of `f32` tensors, read only after validation and written
//! the same way every time.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    TENSORS_BYTES_MAX, TENSORS_HEADER_BYTES_MAX, TENSORS_MAX, WeightsError,
    folder::{read_file, write_file},
};

/// A tensor of 32-bit floats, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorF32 {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The values; as many as the product of the dimensions.
    pub data: Vec<f32>,
}

/// Tensors by name.
pub type TensorMap = BTreeMap<String, TensorF32>;

/// Reads a safetensors file wholly, after checking that header and bytes agree, that every tensor
/// is `f32`, and that every value is finite.
///
/// # Errors
/// When the file is absent, too large, damaged, or holds other than finite `f32` values.
pub fn read_tensors(path: &Path) -> Result<TensorMap, WeightsError> {
    let bytes = read_file(path, TENSORS_BYTES_MAX)?;
    check_header(path, &bytes)?;
    let parsed =
        SafeTensors::deserialize(&bytes).map_err(|e| WeightsError::corrupt(path, e.to_string()))?;
    if parsed.len() > TENSORS_MAX {
        return Err(WeightsError::TooLarge {
            path: path.to_path_buf(),
            found: parsed.len() as u64,
            unit: "tensors",
            limit: TENSORS_MAX as u64,
        });
    }
    let mut map = TensorMap::new();
    for (name, view) in parsed.iter() {
        let tensor = read_view(path, name, &view)?;
        map.insert(name.to_owned(), tensor);
    }
    Ok(map)
}

/// The length of the header is attacker-controlled: it is judged before anything is parsed.
fn check_header(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    let Some(length) = bytes.first_chunk::<8>().map(|raw| u64::from_le_bytes(*raw)) else {
        return Err(WeightsError::corrupt(path, format!("only {} bytes long", bytes.len())));
    };
    if length > TENSORS_HEADER_BYTES_MAX {
        return Err(WeightsError::TooLarge {
            path: path.to_path_buf(),
            found: length,
            unit: "header bytes",
            limit: TENSORS_HEADER_BYTES_MAX,
        });
    }
    if length > bytes.len() as u64 - 8 {
        return Err(WeightsError::corrupt(
            path,
            format!(
                "the header should be {length} bytes, the file has {} after its length",
                bytes.len() - 8
            ),
        ));
    }
    Ok(())
}

fn read_view(path: &Path, name: &str, view: &TensorView<'_>) -> Result<TensorF32, WeightsError> {
    if view.dtype() != Dtype::F32 {
        return Err(WeightsError::tensor(
            path,
            name,
            format!("has type {:?}, expected F32", view.dtype()),
        ));
    }
    let (chunks, rest) = view.data().as_chunks::<4>();
    let data: Vec<f32> = chunks.iter().map(|raw| f32::from_le_bytes(*raw)).collect();
    if !rest.is_empty() || data.len() != view.shape().iter().product::<usize>() {
        return Err(WeightsError::tensor(path, name, "has not as many bytes as its shape says"));
    }
    if let Some(at) = data.iter().position(|value| !value.is_finite()) {
        return Err(WeightsError::tensor(
            path,
            name,
            format!("holds a value that is not finite at {at}"),
        ));
    }
    Ok(TensorF32 { shape: view.shape().to_vec(), data })
}

/// The bytes of a safetensors file. The same tensors give the same bytes.
///
/// # Errors
/// When a tensor's data does not fit its shape.
pub fn tensors_to_bytes(path: &Path, tensors: &TensorMap) -> Result<Vec<u8>, WeightsError> {
    let raw: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| {
            (
                name.as_str(),
                t.shape.as_slice(),
                t.data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    let mut views = Vec::with_capacity(raw.len());
    for (name, shape, bytes) in &raw {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
            .map_err(|e| WeightsError::tensor(path, name, e.to_string()))?;
        views.push((*name, view));
    }
    // One entry only: a map of two would be written in an order that changes between runs.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata))
        .map_err(|e| WeightsError::corrupt(path, e.to_string()))
}

/// Writes tensors to a safetensors file, whole or not at all.
///
/// # Errors
/// When a tensor's data does not fit its shape or the disk refuses.
pub fn write_tensors(path: &Path, tensors: &TensorMap) -> Result<(), WeightsError> {
    write_file(path, &tensors_to_bytes(path, tensors)?)
}

#[cfg(test)]
mod tests;
