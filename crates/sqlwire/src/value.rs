//! How are values written for a client, and its parameters read? In text and in binary, as
//! PostgreSQL itself does.

use crate::{
    error::WireError,
    port::{Cell, Kind},
};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
const EPOCH_DAYS: i32 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;

impl Kind {
    /// The id of the type and its length in bytes, −1 when that varies.
    pub(crate) const fn oid(self) -> (i32, i16) {
        match self {
            Self::Bool => (16, 1),
            Self::Bytes => (17, -1),
            Self::Int8 => (20, 8),
            Self::Int2 => (21, 2),
            Self::Int4 => (23, 4),
            Self::Text => (25, -1),
            Self::Float4 => (700, 4),
            Self::Float8 => (701, 8),
            Self::Date => (1082, 4),
            Self::Timestamp => (1114, 8),
            Self::Timestamptz => (1184, 8),
            Self::Numeric => (1700, -1),
        }
    }

    /// The kind that a client means by an id. 0 and `unknown` leave it to the engine.
    pub(crate) fn of_oid(oid: i32) -> Result<Option<Self>, WireError> {
        Ok(Some(match oid {
            0 | 705 => return Ok(None),
            16 => Self::Bool,
            17 => Self::Bytes,
            20 | 26 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            18 | 19 | 25 | 1042 | 1043 => Self::Text,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1114 => Self::Timestamp,
            1184 => Self::Timestamptz,
            1700 => Self::Numeric,
            _ => return Err(WireError::Unsupported(format!("a parameter of type {oid}"))),
        }))
    }
}

/// Appends the text form. Nothing is appended for null: the caller writes that.
pub(crate) fn write_text(out: &mut Vec<u8>, kind: Kind, cell: &Cell) {
    match cell {
        Cell::Null => {}
        Cell::Bool(value) => out.push(if *value { b't' } else { b'f' }),
        Cell::Int(value) => out.extend(value.to_string().bytes()),
        Cell::Float(value) => out.extend(float_text(*value, kind).bytes()),
        Cell::Text(text) => out.extend(text.bytes()),
        Cell::Bytes(bytes) => {
            out.extend(b"\\x");
            out.extend(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
        }
        Cell::Date(days) => out.extend(date_text(i64::from(*days)).bytes()),
        Cell::Timestamp(micros) => {
            out.extend(timestamp_text(*micros, kind == Kind::Timestamptz).bytes());
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float4 was widened before")]
fn float_text(value: f64, kind: Kind) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if kind == Kind::Float4 {
        (value as f32).to_string()
    } else {
        value.to_string()
    }
}

fn date_text(days: i64) -> String {
    let (year, month, day) = civil(days);
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    }
}

fn timestamp_text(micros: i64, zone: bool) -> String {
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let date = date_text(days);
    let (date, era) = date.strip_suffix(" BC").map_or((date.as_str(), ""), |date| (date, " BC"));
    let mut text =
        format!("{date} {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text + if zone { "+00" } else { "" } + era
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar extended backwards.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends the binary form.
#[expect(clippy::cast_possible_truncation, reason = "the kind says how wide the value is")]
pub(crate) fn write_binary(out: &mut Vec<u8>, kind: Kind, cell: &Cell) {
    match (kind, cell) {
        (_, Cell::Null) => {}
        (_, Cell::Bool(value)) => out.push(u8::from(*value)),
        (Kind::Int2, Cell::Int(value)) => out.extend((*value as i16).to_be_bytes()),
        (Kind::Int4, Cell::Int(value)) => out.extend((*value as i32).to_be_bytes()),
        (_, Cell::Int(value)) => out.extend(value.to_be_bytes()),
        (Kind::Float4, Cell::Float(value)) => out.extend((*value as f32).to_be_bytes()),
        (_, Cell::Float(value)) => out.extend(value.to_be_bytes()),
        (Kind::Numeric, Cell::Text(digits)) => write_numeric(out, digits),
        (_, Cell::Text(text)) => out.extend(text.bytes()),
        (_, Cell::Bytes(bytes)) => out.extend(bytes),
        (_, Cell::Date(days)) => out.extend(days.saturating_sub(EPOCH_DAYS).to_be_bytes()),
        (_, Cell::Timestamp(micros)) => {
            out.extend(micros.saturating_sub(EPOCH_MICROS).to_be_bytes());
        }
    }
}

/// Decimal digits as PostgreSQL sends them: groups of four, the weight of the first, sign, scale.
fn write_numeric(out: &mut Vec<u8>, digits: &str) {
    let (negative, digits) = digits.strip_prefix('-').map_or((false, digits), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let lead = (4 - whole.len() % 4) % 4;
    let tail = (4 - fraction.len() % 4) % 4;
    let padded = format!("{}{whole}{fraction}{}", "0".repeat(lead), "0".repeat(tail));
    let groups: Vec<i16> = padded
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0, |sum, byte| sum * 10 + i16::from(byte - b'0')))
        .collect();
    let short = |number: usize| i16::try_from(number).unwrap_or(i16::MAX);
    let weight = short(whole.len().div_ceil(4)) - 1;
    out.extend(short(groups.len()).to_be_bytes());
    out.extend(weight.to_be_bytes());
    out.extend(if negative { 0x4000_i16 } else { 0 }.to_be_bytes());
    out.extend(short(fraction.len()).to_be_bytes());
    out.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
}

/// Reads a parameter.
pub(crate) fn read(
    kind: Kind,
    binary: bool,
    bytes: &[u8],
    number: usize,
) -> Result<Cell, WireError> {
    let wrong = |reason: String| WireError::Value { number, reason };
    let text = || std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()));
    if !binary {
        return read_text(kind, text()?).map_err(wrong);
    }
    let length = || wrong(format!("{} bytes", bytes.len()));
    Ok(match kind {
        Kind::Bool => Cell::Bool(bytes.first().ok_or_else(length)? != &0),
        Kind::Int2 | Kind::Int4 | Kind::Int8 => Cell::Int(match bytes.len() {
            2 => i16::from_be_bytes(exact(bytes).ok_or_else(length)?).into(),
            4 => i32::from_be_bytes(exact(bytes).ok_or_else(length)?).into(),
            _ => i64::from_be_bytes(exact(bytes).ok_or_else(length)?),
        }),
        Kind::Float4 => Cell::Float(f32::from_be_bytes(exact(bytes).ok_or_else(length)?).into()),
        Kind::Float8 => Cell::Float(f64::from_be_bytes(exact(bytes).ok_or_else(length)?)),
        Kind::Text => Cell::Text(text()?.to_owned()),
        Kind::Bytes => Cell::Bytes(bytes.to_vec()),
        Kind::Date => Cell::Date(
            i32::from_be_bytes(exact(bytes).ok_or_else(length)?).saturating_add(EPOCH_DAYS),
        ),
        Kind::Timestamp | Kind::Timestamptz => Cell::Timestamp(
            i64::from_be_bytes(exact(bytes).ok_or_else(length)?).saturating_add(EPOCH_MICROS),
        ),
        Kind::Numeric => Cell::Text(read_numeric(bytes).ok_or_else(length)?),
    })
}

fn exact<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Text forms that the engine would read differently are read here; it casts the rest.
fn read_text(kind: Kind, text: &str) -> Result<Cell, String> {
    let trimmed = text.trim();
    let not = |what: &str| format!("`{text}` is not {what}");
    Ok(match kind {
        Kind::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "yes" | "on" | "1" => Cell::Bool(true),
            "f" | "false" | "no" | "off" | "0" => Cell::Bool(false),
            _ => return Err(not("a boolean")),
        },
        Kind::Int2 | Kind::Int4 | Kind::Int8 => {
            Cell::Int(trimmed.parse().map_err(|_| not("a whole number"))?)
        }
        Kind::Float4 | Kind::Float8 => Cell::Float(trimmed.parse().map_err(|_| not("a number"))?),
        Kind::Bytes => Cell::Bytes(read_hex(trimmed).ok_or_else(|| not("bytes in hexadecimal"))?),
        Kind::Text | Kind::Numeric | Kind::Date | Kind::Timestamp | Kind::Timestamptz => {
            Cell::Text(text.to_owned())
        }
    })
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? * 16 + digit(*pair.get(1)?)?)).collect()
}

fn read_numeric(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks(2).map(|pair| exact(pair).map(i16::from_be_bytes));
    let (count, weight) = (words.next()??, words.next()??);
    let (sign, scale) = (words.next()??, words.next()??);
    let groups: Vec<i16> = words.collect::<Option<_>>()?;
    if usize::try_from(count).ok()? != groups.len() || !matches!(sign, 0 | 0x4000) || scale < 0 {
        return None;
    }
    let group = |place: i32| -> i16 {
        usize::try_from(i32::from(weight) - place)
            .ok()
            .and_then(|at| groups.get(at))
            .copied()
            .unwrap_or(0)
    };
    let whole: String =
        (0..=i32::from(weight.max(0))).rev().map(|p| format!("{:04}", group(p))).collect();
    let places = (i32::from(scale) + 3) / 4;
    let fraction: String = (1..=places).map(|p| format!("{:04}", group(-p))).collect();
    let whole = whole.trim_start_matches('0');
    let mut text = if sign == 0 { String::new() } else { "-".to_owned() };
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        text.push('.');
        text.push_str(&fraction[..usize::try_from(scale).ok()?]);
    }
    Some(text)
}
