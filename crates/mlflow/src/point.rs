//! Which bytes does a batch of points have in the log?
//!
//! Version 1: a byte 1; the number of keys, then each as length and UTF-8; the number of points, then
//! each as key index, zigzag step, zigzag milliseconds, and value as f64, little endian. Numbers are
//! LEB128 varints.

use sextant_track::{
    TrackError,
    bytes::{Input, broken, push_varint},
};

const VERSION: u8 = 1;

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) key: String,
    /// NaN is kept as it is; infinities are the greatest number, as MLflow has it.
    pub(super) value: f64,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) step: i64,
}

impl Point {
    /// What decides which of two points of a metric is later.
    pub(super) fn rank(&self) -> (i64, i64, f64) {
        (self.step, self.timestamp, self.shown())
    }

    /// The value as it is kept beside a mark: NaN is zero there.
    pub(super) fn shown(&self) -> f64 {
        if self.value.is_nan() { 0.0 } else { self.value }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// The bytes of a batch.
pub(super) fn encode(points: &[Point]) -> Vec<u8> {
    let mut keys: Vec<&str> = Vec::new();
    let mut body = Vec::with_capacity(points.len() * 20);
    for point in points {
        let known = keys.iter().rposition(|key| *key == point.key);
        let index = known.unwrap_or_else(|| {
            keys.push(&point.key);
            keys.len() - 1
        });
        push_varint(&mut body, index as u64);
        push_varint(&mut body, zigzag(point.step));
        push_varint(&mut body, zigzag(point.timestamp));
        body.extend(point.value.to_le_bytes());
    }
    let mut out = vec![VERSION];
    push_varint(&mut out, keys.len() as u64);
    for key in keys {
        push_varint(&mut out, key.len() as u64);
        out.extend(key.as_bytes());
    }
    push_varint(&mut out, points.len() as u64);
    out.extend(body);
    out
}

/// Reads a batch back.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Point>, TrackError> {
    decode_of(bytes, None)
}

/// Reads the points of one key back, or of all.
pub(super) fn decode_of(bytes: &[u8], wanted: Option<&str>) -> Result<Vec<Point>, TrackError> {
    let mut input = Input { bytes, at: 0 };
    let version = input.take::<1>()?[0];
    if version != VERSION {
        return Err(broken(format!("version {version} instead of {VERSION}")));
    }
    let mut keys = Vec::new();
    for _ in 0..input.count()? {
        let length = input.count()?;
        keys.push(input.text(length)?);
    }
    let mut points = Vec::new();
    for _ in 0..input.count()? {
        let index = usize::try_from(input.varint()?).unwrap_or(usize::MAX);
        let key = keys.get(index).ok_or_else(|| broken(format!("no key {index}")))?;
        let (step, timestamp) = (unzigzag(input.varint()?), unzigzag(input.varint()?));
        let value = f64::from_le_bytes(input.take()?);
        if wanted.is_none_or(|wanted| wanted == key) {
            points.push(Point { key: key.clone(), value, timestamp, step });
        }
    }
    if input.at == bytes.len() { Ok(points) } else { Err(broken("bytes after the end")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_point_comes_back_and_damage_is_an_error() {
        let point =
            |key: &str, value, timestamp, step| Point { key: key.into(), value, timestamp, step };
        let points = [
            point("loss", 0.5, 1, 0),
            point("val/loss", f64::MAX, i64::MAX, i64::MIN),
            point("loss", -0.0, i64::MIN, i64::MAX),
        ];
        let bytes = encode(&points);
        assert_eq!(decode(&bytes).unwrap(), points);
        assert!(decode(&encode(&[point("n", f64::NAN, 0, 0)])).unwrap()[0].value.is_nan());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }
}
