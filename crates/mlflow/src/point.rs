//! Which bytes does a batch of points have in the log?
//!
//! Version 2: a byte 2; the number of curves, then each as four texts: its key, and the logged model, the
//! name and the digest of the dataset that its points are about, which may be empty; the number of
//! points, then each as curve index, zigzag step, zigzag milliseconds, and value as f64, little endian. A
//! text is its length and UTF-8. Numbers are LEB128 varints.
//!
//! Version 1, which is read but no longer written: a byte 1, and a curve is its key alone.

use std::sync::Arc;

use sextant_track::{
    TrackError,
    bytes::{Input, broken, push_varint},
};

const VERSION: u8 = 2;
const WITHOUT_ABOUT: u8 = 1;

/// What a point may say something about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct About {
    /// The id of a logged model; empty when there is none.
    pub(super) model: String,
    /// The name of a dataset; empty when there is none.
    pub(super) dataset: String,
    /// Its digest; empty when there is none.
    pub(super) digest: String,
}

impl About {
    /// The texts that may be empty, as the bytes have them.
    const fn texts(&self) -> [&String; 3] {
        [&self.model, &self.dataset, &self.digest]
    }
}

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) key: String,
    /// NaN is kept as it is; infinities are the greatest number, as MLflow has it.
    pub(super) value: f64,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) step: i64,
    pub(super) about: Arc<About>,
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
    let mut curves: Vec<(&str, &About)> = Vec::new();
    let mut body = Vec::with_capacity(points.len() * 20);
    for point in points {
        let curve = (point.key.as_str(), &*point.about);
        let known = curves.iter().rposition(|known| *known == curve);
        let index = known.unwrap_or_else(|| {
            curves.push(curve);
            curves.len() - 1
        });
        push_varint(&mut body, index as u64);
        push_varint(&mut body, zigzag(point.step));
        push_varint(&mut body, zigzag(point.timestamp));
        body.extend(point.value.to_le_bytes());
    }
    let mut out = vec![VERSION];
    push_varint(&mut out, curves.len() as u64);
    for (key, about) in curves {
        push_text(&mut out, key);
        about.texts().into_iter().for_each(|text| push_text(&mut out, text));
    }
    push_varint(&mut out, points.len() as u64);
    out.extend(body);
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn text(input: &mut Input<'_>) -> Result<String, TrackError> {
    let length = input.count()?;
    input.text(length)
}

/// Reads a batch back.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Point>, TrackError> {
    decode_of(bytes, None)
}

/// Reads the points of one key back, or of all.
pub(super) fn decode_of(bytes: &[u8], wanted: Option<&str>) -> Result<Vec<Point>, TrackError> {
    let mut input = Input { bytes, at: 0 };
    let version = input.take::<1>()?[0];
    if !matches!(version, WITHOUT_ABOUT | VERSION) {
        return Err(broken(format!("version {version} instead of {VERSION}")));
    }
    let mut curves = Vec::new();
    for _ in 0..input.count()? {
        let key = text(&mut input)?;
        let mut about = About::default();
        if version == VERSION {
            let [model, dataset, digest] = [(); 3].map(|()| text(&mut input));
            about = About { model: model?, dataset: dataset?, digest: digest? };
        }
        curves.push((key, Arc::new(about)));
    }
    let mut points = Vec::new();
    for _ in 0..input.count()? {
        let index = usize::try_from(input.varint()?).unwrap_or(usize::MAX);
        let (key, about) = curves.get(index).ok_or_else(|| broken(format!("no curve {index}")))?;
        let (step, timestamp) = (unzigzag(input.varint()?), unzigzag(input.varint()?));
        let value = f64::from_le_bytes(input.take()?);
        if wanted.is_none_or(|wanted| wanted == key) {
            let about = Arc::clone(about);
            points.push(Point { key: key.clone(), value, timestamp, step, about });
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
        let about = |model: &str, dataset: &str, digest: &str| About {
            model: model.into(),
            dataset: dataset.into(),
            digest: digest.into(),
        };
        let point = |key: &str, value, timestamp, step, about: About| Point {
            key: key.into(),
            value,
            timestamp,
            step,
            about: Arc::new(about),
        };
        let points = [
            point("loss", 0.5, 1, 0, about("", "", "")),
            point("val/loss", f64::MAX, i64::MAX, i64::MIN, about("m-1", "", "")),
            point("loss", -0.0, i64::MIN, i64::MAX, about("m-1", "rows", "abcd")),
            point("loss", 1.0, 2, 1, about("", "", "")),
        ];
        let bytes = encode(&points);
        assert_eq!(decode(&bytes).unwrap(), points);
        assert_eq!(decode_of(&bytes, Some("val/loss")).unwrap(), points[1..2]);
        let nan = point("n", f64::NAN, 0, 0, About::default());
        assert!(decode(&encode(&[nan])).unwrap()[0].value.is_nan());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        assert!(decode(&[&[3], &bytes[1..]].concat()).is_err(), "a later version");
    }

    #[test]
    fn what_the_first_version_wrote_is_read() {
        // Two keys, three points, as they were written before points were about something.
        let mut bytes = vec![1, 2, 4];
        bytes.extend(b"loss");
        bytes.extend([3]);
        bytes.extend(b"acc");
        bytes.extend([3]);
        for (key, step, time, value) in [(0, 0, 2, 0.5_f64), (1, 2, 4, f64::MAX), (0, 1, 200, -0.0)]
        {
            bytes.extend([key, step]);
            push_varint(&mut bytes, time);
            bytes.extend(value.to_le_bytes());
        }
        let read = decode(&bytes).unwrap();
        let seen: Vec<_> =
            read.iter().map(|p| (p.key.as_str(), p.step, p.timestamp, p.value)).collect();
        let wanted = [("loss", 0, 1, 0.5), ("acc", 1, 2, f64::MAX), ("loss", -1, 100, -0.0)];
        assert_eq!(seen, wanted);
        assert!(read.iter().all(|point| *point.about == About::default()));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
    }
}
