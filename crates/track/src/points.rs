//! Which bytes does a batch of metric points have in the durable log?
//!
//! Version 1: a byte 1; the earliest time as i64, little endian; the number of names, then each as
//! length and UTF-8; the number of points, then each as name index, step, time after the earliest,
//! and value as f64, little endian. Lengths, numbers, indices, steps and times are LEB128 varints.
//! A point costs about 13 bytes.

use sextant_core::Timestamp;

use crate::{
    TrackError,
    bytes::{Input, broken, push_varint},
};

const VERSION: u8 = 1;
const NAME_BYTES_MAX: usize = 200;

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPoint {
    /// Which metric.
    pub metric: String,
    /// After how many steps.
    pub step: u64,
    /// The value; infinities and NaN are kept as they are.
    pub value: f64,
    /// When.
    pub at: Timestamp,
}

/// The bytes of a batch.
///
/// # Errors
/// When a name is empty or too long.
pub fn encode_points(points: &[MetricPoint]) -> Result<Vec<u8>, TrackError> {
    let mut names: Vec<&str> = Vec::new();
    let earliest = points.iter().map(|point| point.at.micros()).min().unwrap_or(0);
    let mut body = Vec::with_capacity(points.len() * 16);
    for point in points {
        let name = point.metric.as_str();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(TrackError::MetricName(name.chars().take(80).collect()));
        }
        let index = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        push_varint(&mut body, index as u64);
        push_varint(&mut body, point.step);
        push_varint(&mut body, point.at.micros().abs_diff(earliest));
        body.extend(point.value.to_le_bytes());
    }
    let mut out = vec![VERSION];
    out.extend(earliest.to_le_bytes());
    push_varint(&mut out, names.len() as u64);
    for name in names {
        push_varint(&mut out, name.len() as u64);
        out.extend(name.as_bytes());
    }
    push_varint(&mut out, points.len() as u64);
    out.extend(body);
    Ok(out)
}

/// Reads a batch back.
///
/// # Errors
/// When the bytes are of another version, cut short, or have something after their end.
pub fn decode_points(bytes: &[u8]) -> Result<Vec<MetricPoint>, TrackError> {
    let mut input = Input { bytes, at: 0 };
    let version = input.take::<1>()?[0];
    if version != VERSION {
        return Err(broken(format!("version {version} instead of {VERSION}")));
    }
    let earliest = i64::from_le_bytes(input.take()?);
    let mut names = Vec::new();
    for _ in 0..input.count()? {
        let length = input.count()?;
        names.push(input.text(length)?);
    }
    let count = input.count()?;
    let mut points = Vec::with_capacity(count);
    for _ in 0..count {
        let index = input.count()?;
        let metric = names.get(index).ok_or_else(|| broken(format!("no name {index}")))?.clone();
        let step = input.varint()?;
        let after = i64::try_from(input.varint()?).map_err(|error| broken(error.to_string()))?;
        let value = f64::from_le_bytes(input.take()?);
        let at = Timestamp::from_micros(earliest.saturating_add(after));
        points.push(MetricPoint { metric, step, value, at });
    }
    if input.at == bytes.len() { Ok(points) } else { Err(broken("bytes after the end")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn points() -> Vec<MetricPoint> {
        let point = |metric: &str, step, value, at| MetricPoint {
            metric: metric.into(),
            step,
            value,
            at: Timestamp::from_micros(at),
        };
        vec![
            point("loss", 0, 2.5, 1_000_000),
            point("loss", u64::MAX, f64::INFINITY, 999_999),
            point("pairs/s", 300, -0.0, -5),
        ]
    }

    #[test]
    fn round_trip() {
        let bytes = encode_points(&points()).unwrap();
        assert_eq!(decode_points(&bytes).unwrap(), points());
        assert_eq!(decode_points(&encode_points(&[]).unwrap()).unwrap(), []);
        let many: Vec<_> =
            (0..1000).map(|i| MetricPoint { step: i, ..points().remove(0) }).collect();
        assert!(encode_points(&many).unwrap().len() < 13_000);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = encode_points(&points()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode_points(&bytes[..length]).is_err(), "{length}");
        }
        for position in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[position] = 0xff;
            // Any outcome but a panic or a huge allocation.
            let _ = decode_points(&bad);
        }
        assert!(
            encode_points(&[MetricPoint { metric: String::new(), ..points().remove(0) }]).is_err()
        );
    }
}
