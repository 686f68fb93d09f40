//! Which events are in a stream of server-sent events that arrives in pieces of any size?

/// Longest event.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Gathers bytes and gives out the data of whole events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: String,
    has_data: bool,
}

impl Events {
    /// Adds bytes and returns the data of each event that they complete.
    ///
    /// # Errors
    /// When an event is too long or is not UTF-8.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(format!("an event has more than {EVENT_BYTES_MAX} bytes"));
            }
            if piece.ends_with(b"\n") {
                found.extend(self.end_line()?);
            }
        }
        Ok(found)
    }

    /// The event that the end of the stream completes.
    pub(crate) fn finish(&mut self) -> Result<Option<String>, String> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.dispatch())
    }

    fn end_line(&mut self) -> Result<Option<String>, String> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| "an event is not UTF-8".to_owned())?;
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        if let Some(data) = line.strip_prefix("data:") {
            if self.has_data {
                self.data.push('\n');
            }
            self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            self.has_data = true;
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<String> {
        std::mem::take(&mut self.has_data).then(|| std::mem::take(&mut self.data))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STREAM: &str =
        ": hello\r\ndata: {\"a\":\"é\"}\r\n\r\nevent: x\ndata:one\ndata: two\n\ndata: [DONE]";

    #[test]
    fn the_cut_does_not_matter() {
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                found.extend(events.push(piece).unwrap());
            }
            found.extend(events.finish().unwrap());
            assert_eq!(found, ["{\"a\":\"é\"}", "one\ntwo", "[DONE]"], "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut events = Events::default();
        let mut refused = false;
        for _ in 0..40 {
            refused |= events.push(&[b'x'; 1 << 16]).is_err();
        }
        assert!(refused);
    }
}
