//! How do times, durations and JSON look as text? As protobuf and Python write them, since clients and
//! filters compare these texts.

use serde::Serialize as _;
use serde_json::{Serializer, Value, ser::Formatter};

/// A time as protobuf has it in JSON, in milliseconds since 1970.
pub(super) fn time_of(text: &str) -> Option<i64> {
    text.parse().ok().map(jiff::Timestamp::as_millisecond)
}

/// The same the other way round.
pub(super) fn shown_time(milliseconds: i64) -> String {
    let second = jiff::Timestamp::from_second(milliseconds.div_euclid(1000)).unwrap_or_default();
    let text = second.to_string();
    let whole = text.trim_end_matches('Z');
    match milliseconds.rem_euclid(1000) {
        0 => format!("{whole}Z"),
        rest => format!("{whole}.{rest:03}Z"),
    }
}

/// A duration such as `1.250s`, in milliseconds.
pub(super) fn duration_of(text: &str) -> Option<i64> {
    let number = text.strip_suffix('s')?;
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let rest: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(sign * seconds.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(rest)?)
}

/// The same the other way round.
pub(super) fn shown_duration(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let whole = milliseconds.unsigned_abs();
    match whole % 1000 {
        0 => format!("{sign}{}s", whole / 1000),
        rest => format!("{sign}{}.{rest:03}s", whole / 1000),
    }
}

/// JSON with blanks behind commas and colons.
pub(super) fn json_text(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Blanks);
    // Writing to memory, and the keys are texts: there is nothing to fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}

struct Blanks;

impl Formatter for Blanks {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_read_and_written_as_protobuf_does() {
        for (text, milliseconds) in [
            ("2026-01-01T00:00:00.500Z", 1_767_225_600_500),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(time_of(text), Some(milliseconds), "{text}");
            assert_eq!(shown_time(milliseconds), text);
        }
        for (text, milliseconds) in
            [("1.250s", 1250), ("0.010s", 10), ("3s", 3000), ("-0.500s", -500)]
        {
            assert_eq!(duration_of(text), Some(milliseconds), "{text}");
            assert_eq!(shown_duration(milliseconds), text);
        }
        for wrong in ["yesterday", "", "1", "s", "1.s2s", "1e3s", "99999999999999999999s"] {
            assert_eq!((time_of(wrong), duration_of(wrong)), (None, None), "{wrong}");
        }
        let value = serde_json::json!({ "a": [1, { "b": null }], "ü": "\u{1}\"" });
        assert_eq!(json_text(&value), r#"{"a": [1, {"b": null}], "ü": "\u0001\""}"#);
    }
}
