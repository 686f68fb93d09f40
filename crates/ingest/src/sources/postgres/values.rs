//! Which type does a column of PostgreSQL get in the table, and how does a value's text become it?
//! What no such type can hold (an infinite date, a number that is none) does not fit.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
        Float64Array, Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, TimeUnit},
};

use super::arrays;

/// Most digits of a decimal column; a number with more is kept as text.
const DECIMAL_DIGITS_MAX: i32 = 38;
/// What a modifier of a length or a precision is larger by.
const MODIFIER_BASE: i32 = 4;
const DAY_US: i64 = 86_400_000_000;

/// A type that is not one of the server's own plain ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// Another type under a name of its own.
    Domain {
        base: u32,
        modifier: i32,
    },
    Array {
        element: u32,
    },
    /// Enumerations, ranges, composites: kept as their text.
    Other,
}

/// The types of a database that are not plain, by their number.
pub(super) type Types = BTreeMap<u32, Named>;

/// How a column is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal {
        digits: u8,
        scale: i8,
    },
    Text,
    Json,
    Date,
    Timestamp {
        zone: bool,
    },
    Bytes,
    /// As a JSON list.
    Array(Box<Kind>),
}

impl Kind {
    /// The kind of a plain type; `None` for one that must be looked up.
    pub(super) fn plain(type_oid: u32, modifier: i32) -> Option<Self> {
        Some(match type_oid {
            16 => Self::Bool,
            17 => Self::Bytes,
            20 | 26 => Self::Int64,
            21 => Self::Int16,
            23 => Self::Int32,
            114 | 3802 => Self::Json,
            700 => Self::Float32,
            701 => Self::Float64,
            1082 => Self::Date,
            1114 => Self::Timestamp { zone: false },
            1184 => Self::Timestamp { zone: true },
            1700 => numeric(modifier),
            18 | 19 | 25 | 1042 | 1043 | 1083 | 1186 | 1266 | 2950 => Self::Text,
            _ => return None,
        })
    }

    /// The kind of any type.
    pub(super) fn of(type_oid: u32, modifier: i32, types: &Types) -> Self {
        if let Some(kind) = Self::plain(type_oid, modifier) {
            return kind;
        }
        match types.get(&type_oid) {
            Some(Named::Domain { base, modifier: own }) if *base != type_oid => {
                let modifier = if modifier < 0 { *own } else { modifier };
                Self::of(*base, modifier, types)
            }
            Some(Named::Array { element }) if *element != type_oid => {
                Self::Array(Box::new(Self::of(*element, modifier, types)))
            }
            _ => Self::Text,
        }
    }

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { digits, scale } => DataType::Decimal128(*digits, *scale),
            Self::Text | Self::Json | Self::Array(_) => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp { zone } => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.then(|| "UTC".into()))
            }
            Self::Bytes => DataType::Binary,
        }
    }

    /// The column of these texts. The places of those that do not fit are added to `unfit`, and
    /// null stands there.
    pub(super) fn column(&self, texts: &[Option<&str>], unfit: &mut Vec<usize>) -> ArrayRef {
        match self {
            Self::Bool => Arc::new(BooleanArray::from(read(texts, unfit, boolean))),
            Self::Int16 => Arc::new(Int16Array::from(read(texts, unfit, |text| text.parse().ok()))),
            Self::Int32 => Arc::new(Int32Array::from(read(texts, unfit, |text| text.parse().ok()))),
            Self::Int64 => Arc::new(Int64Array::from(read(texts, unfit, |text| text.parse().ok()))),
            Self::Float32 => {
                Arc::new(Float32Array::from(read(texts, unfit, |text| text.parse().ok())))
            }
            Self::Float64 => {
                Arc::new(Float64Array::from(read(texts, unfit, |text| text.parse().ok())))
            }
            Self::Decimal { scale, .. } => {
                let numbers = read(texts, unfit, |text| decimal(text, *scale));
                // The digits were checked by the server: the type is the column's own.
                Arc::new(Decimal128Array::from(numbers).with_data_type(self.data_type()))
            }
            Self::Text | Self::Json => Arc::new(texts.iter().copied().collect::<StringArray>()),
            Self::Array(element) => {
                let lists = read(texts, unfit, |text| arrays::json(text, element));
                Arc::new(StringArray::from(lists))
            }
            Self::Date => Arc::new(Date32Array::from(read(texts, unfit, |text| {
                let (day, rest) = day(text)?;
                let day = i32::try_from(day).ok()?;
                rest.is_empty().then_some(day)
            }))),
            Self::Timestamp { zone } => {
                let times = TimestampMicrosecondArray::from(read(texts, unfit, instant));
                Arc::new(if *zone { times.with_timezone("UTC") } else { times })
            }
            Self::Bytes => {
                let bytes = read(texts, unfit, |text| hex::decode(text.strip_prefix("\\x")?).ok());
                Arc::new(bytes.iter().map(Option::as_deref).collect::<BinaryArray>())
            }
        }
    }
}

fn numeric(modifier: i32) -> Kind {
    if modifier < MODIFIER_BASE {
        return Kind::Text;
    }
    let (digits, scale) = ((modifier - MODIFIER_BASE) >> 16, (modifier - MODIFIER_BASE) & 0x7ff);
    // The scale is a number of eleven bits with a sign.
    let scale = (scale ^ 0x400) - 0x400;
    match (u8::try_from(digits), i8::try_from(scale)) {
        (Ok(whole), Ok(part)) if digits <= DECIMAL_DIGITS_MAX && (0..=digits).contains(&scale) => {
            Kind::Decimal { digits: whole, scale: part }
        }
        _ => Kind::Text,
    }
}

fn read<T>(
    texts: &[Option<&str>],
    unfit: &mut Vec<usize>,
    parse: impl Fn(&str) -> Option<T>,
) -> Vec<Option<T>> {
    let one = |(row, text): (usize, &Option<&str>)| {
        let text = (*text)?;
        let value = parse(text);
        if value.is_none() {
            unfit.push(row);
        }
        value
    };
    texts.iter().enumerate().map(one).collect()
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "t" => Some(true),
        "f" => Some(false),
        _ => None,
    }
}

/// A number with so many digits behind the point, as a whole number of the last of them.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > scale || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{part:0<scale$}").parse().ok()
}

/// A day since 1970, and what stands behind it. `infinity` is none, and neither is a year that most
/// readers of tables do not know: before 1, or after 9999.
fn day(text: &str) -> Option<(i64, &str)> {
    let mut parts = text.splitn(3, '-');
    let (year, month, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (day, rest) = rest.split_at_checked(2)?;
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let known = (1..=9999).contains(&year) && !rest.ends_with("BC");
    (known && (1..=12).contains(&month) && (1..=31).contains(&day))
        .then(|| (days_since_1970(year, month, day), rest))
}

/// The days from the first of 1970 in the Gregorian calendar, which PostgreSQL uses for all times.
/// A year is counted from March, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Microseconds since 1970. A time with a zone is written in UTC, as the connection asks for.
fn instant(text: &str) -> Option<i64> {
    let (day, rest) = day(text)?;
    let clock = rest.strip_prefix(' ')?;
    let clock = clock.strip_suffix("+00").unwrap_or(clock);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<u32>().ok().map(i64::from));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    let of_day = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    day.checked_mul(DAY_US)?.checked_add(of_day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    /// What becomes of a text; `None` when it does not fit.
    fn stored(kind: &Kind, text: &str) -> Option<String> {
        let mut unfit = Vec::new();
        let column = kind.column(&[Some(text)], &mut unfit);
        let shown = ArrayFormatter::try_new(&column, &FormatOptions::default()).unwrap();
        unfit.is_empty().then(|| shown.value(0).to_string())
    }

    #[test]
    fn values_are_kept_exactly_or_do_not_fit() {
        let zone = Kind::Timestamp { zone: true };
        let local = Kind::Timestamp { zone: false };
        let money = Kind::plain(1700, (10 << 16 | 2) + 4).unwrap();
        for (kind, text, expected) in [
            (&Kind::Bool, "t", Some("true")),
            (&Kind::Bool, "yes", None),
            (&Kind::Int16, "-32768", Some("-32768")),
            (&Kind::Int64, "9223372036854775807", Some("9223372036854775807")),
            (&Kind::Float64, "1e-300", Some("1e-300")),
            (&Kind::Float64, "NaN", Some("NaN")),
            (&Kind::Float64, "-Infinity", Some("-inf")),
            (&money, "12345678.90", Some("12345678.90")),
            (&money, "-0.05", Some("-0.05")),
            (&money, "NaN", None),
            (&Kind::Date, "2026-11-23", Some("2026-11-23")),
            (&Kind::Date, "0001-01-01", Some("0001-01-01")),
            (&Kind::Date, "0044-03-15 BC", None),
            (&zone, "10000-01-01 00:00:00+00", None),
            (&Kind::Date, "infinity", None),
            (&zone, "2026-11-23 10:00:00.5+00", Some("2026-11-23T10:00:00.500Z")),
            (&zone, "1969-12-31 23:59:59.999999+00", Some("1969-12-31T23:59:59.999999Z")),
            (&zone, "-infinity", None),
            (&local, "2024-02-29 23:59:59", Some("2024-02-29T23:59:59")),
            (&Kind::Bytes, "\\x00ff", Some("00ff")),
            (&Kind::Text, "", Some("")),
        ] {
            assert_eq!(stored(kind, text).as_deref(), expected, "{kind:?} {text}");
        }
    }

    #[test]
    fn numbers_without_a_precision_are_text() {
        let text = |modifier| Kind::plain(1700, modifier) == Some(Kind::Text);
        let modifier = |digits: i32, scale: i32| (digits << 16 | (scale & 0x7ff)) + 4;
        assert!(text(-1) && text(modifier(39, 0)) && text(modifier(3, 5)) && text(modifier(3, -2)));
        let whole = Kind::plain(1700, modifier(38, 0)).unwrap();
        assert_eq!(stored(&whole, &"9".repeat(38)), Some("9".repeat(38)));
    }

    #[test]
    fn a_domain_is_its_base_and_a_list_its_elements() {
        let types = Types::from([
            (100_000, Named::Domain { base: 1700, modifier: (5 << 16 | 1) + 4 }),
            (100_001, Named::Array { element: 100_000 }),
            (100_002, Named::Other),
        ]);
        let decimal = Kind::Decimal { digits: 5, scale: 1 };
        assert_eq!(Kind::of(100_000, -1, &types), decimal);
        assert_eq!(Kind::of(100_001, -1, &types), Kind::Array(Box::new(decimal)));
        assert_eq!(Kind::of(100_002, -1, &types), Kind::Text);
    }
}
