//! How are small numbers and texts written one behind the other, and read back when the bytes may be
//! damaged?

use crate::TrackError;

/// That bytes are not what they should be.
pub fn broken(reason: impl Into<String>) -> TrackError {
    TrackError::Stored { what: "metric points", reason: reason.into() }
}

/// Writes a number as LEB128 varint.
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits fit a byte.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes, and how far they were read.
#[derive(Debug)]
pub struct Input<'a> {
    /// All of them.
    pub bytes: &'a [u8],
    /// Where the next read begins.
    pub at: usize,
}

impl Input<'_> {
    /// So many bytes as they are.
    ///
    /// # Errors
    /// When the bytes end before it does, or are not one.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], TrackError> {
        let found = self.bytes.get(self.at..self.at + N).and_then(|slice| slice.try_into().ok());
        self.at += N;
        found.ok_or_else(|| broken("they end too early"))
    }

    /// A number.
    ///
    /// # Errors
    /// When the bytes end before it does, or are not one.
    pub fn varint(&mut self) -> Result<u64, TrackError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(broken("a number is too long"))
    }

    /// A number that cannot be larger than what is left, so that a damaged one cannot reserve
    /// memory.
    ///
    /// # Errors
    /// When the bytes end before it does, or are not one.
    pub fn count(&mut self) -> Result<usize, TrackError> {
        let value = self.varint()?;
        let left = self.bytes.len().saturating_sub(self.at);
        usize::try_from(value)
            .ok()
            .filter(|count| *count <= left)
            .ok_or_else(|| broken(format!("{value} is more than there is")))
    }

    /// A text of so many bytes.
    ///
    /// # Errors
    /// When the bytes end before it does, or are not one.
    pub fn text(&mut self, length: usize) -> Result<String, TrackError> {
        let slice = self.bytes.get(self.at..self.at + length);
        self.at += length;
        let slice = slice.ok_or_else(|| broken("they end too early"))?;
        String::from_utf8(slice.to_vec()).map_err(|error| broken(error.to_string()))
    }
}
