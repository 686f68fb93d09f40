//! What stands in the bytes of an Avro record? One pass over them under the writer's schema, with a
//! bound on depth and on the number of values; whatever is cut short, left over or out of range is a
//! fault with its reason, never a guess.

use std::collections::BTreeMap;

use datafusion::arrow::{
    datatypes::DataType,
    temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime},
};
use serde_json::{Map, Value, json};

use super::schema::{DEPTH_MAX, Schema, Type, Unit};
use crate::{
    arrival::{Fault, Fields, instant, widened},
    sources::kafka::envelope::hex_value,
};

/// Most values in one record, also those that take no bytes.
const VALUES_MAX: usize = 1_000_000;
/// A short record may have so many all the same, and so many more for each of its bytes.
const VALUES_FREE: usize = 10_000;
const VALUES_PER_BYTE: usize = 16;
const DAY_US: i64 = 86_400_000_000;

/// The fields of a record.
pub(super) fn decode(schema: &Schema, bytes: &[u8]) -> Result<Fields, Fault> {
    let most = VALUES_MAX.min(VALUES_FREE + VALUES_PER_BYTE * bytes.len());
    let mut reader = Reader { schema, bytes, values: 0, most };
    let Value::Object(fields) = reader.value(&schema.root, 0)? else {
        return Err(fault("its schema is not that of a record"));
    };
    match reader.bytes.len() {
        0 => Ok(fields),
        left => Err(fault(format!("{left} bytes are left over behind the record"))),
    }
}

/// The types that columns get from the fields of a schema.
pub(super) fn columns(schema: &Schema) -> BTreeMap<String, DataType> {
    let root = match &schema.root {
        Type::Named(place) => schema.named.get(*place),
        other => Some(other),
    };
    let Some(Type::Record(fields)) = root else { return BTreeMap::new() };
    let column = |(name, kind): &(String, Type)| Some((name.clone(), column(schema, kind, 0)?));
    fields.iter().filter_map(column).collect()
}

/// The type of a column for such values; none when they are always null.
fn column(schema: &Schema, kind: &Type, depth: usize) -> Option<DataType> {
    Some(match kind {
        Type::Null => return None,
        Type::Boolean => DataType::Boolean,
        Type::Int | Type::Long => DataType::Int64,
        Type::Float | Type::Double => DataType::Float64,
        Type::Bytes | Type::Fixed(_) => DataType::Binary,
        Type::Date => DataType::Date32,
        Type::Instant(_) => instant(),
        Type::Decimal { precision, scale, .. } => {
            DataType::Decimal128(*precision, i8::try_from(*scale).ok()?)
        }
        Type::Named(_) if depth > DEPTH_MAX => return None,
        Type::Named(place) => return column(schema, schema.named.get(*place)?, depth + 1),
        Type::Union(branches) if depth <= DEPTH_MAX => {
            let types = branches.iter().filter_map(|branch| column(schema, branch, depth + 1));
            return types.reduce(|left, right| widened(&left, &right));
        }
        Type::Text
        | Type::Enum(_)
        | Type::Uuid
        | Type::Time(_)
        | Type::Local(_)
        | Type::Duration
        | Type::Record(_)
        | Type::Array(_)
        | Type::Map(_)
        | Type::Union(_) => DataType::Utf8,
    })
}

fn fault(reason: impl Into<String>) -> Fault {
    Fault::new("avro", reason)
}

struct Reader<'a> {
    schema: &'a Schema,
    bytes: &'a [u8],
    values: usize,
    /// Items of an array may take no bytes: there are only so many for those that came.
    most: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, kind: &Type, depth: usize) -> Result<Value, Fault> {
        self.values += 1;
        if self.values > self.most || depth > DEPTH_MAX {
            return Err(fault(format!(
                "it has more than {} values, or is nested deeper than {DEPTH_MAX}",
                self.most
            )));
        }
        let schema = self.schema;
        Ok(match kind {
            Type::Null => Value::Null,
            Type::Boolean => match self.take(1)? {
                [0] => false.into(),
                [1] => true.into(),
                _ => return Err(fault("a boolean is neither 0 nor 1")),
            },
            Type::Int => self.int()?.into(),
            Type::Long => self.long()?.into(),
            Type::Float => float(f32::from_le_bytes(self.array()?).into())?,
            Type::Double => float(f64::from_le_bytes(self.array()?))?,
            Type::Bytes => hex_value(self.sized()?),
            Type::Fixed(size) => hex_value(self.take(*size)?),
            Type::Text => self.text()?.into(),
            Type::Enum(symbols) => {
                let symbol = usize::try_from(self.int()?).ok().and_then(|at| symbols.get(at));
                symbol.ok_or_else(|| fault("an enum has no such symbol"))?.clone().into()
            }
            Type::Record(fields) => self.record(fields, depth)?,
            Type::Array(items) => self.list(items, depth)?,
            Type::Map(values) => self.map(values, depth)?,
            Type::Union(branches) => {
                let branch = usize::try_from(self.long()?).ok().and_then(|at| branches.get(at));
                self.value(branch.ok_or_else(|| fault("a union has no such branch"))?, depth + 1)?
            }
            Type::Named(place) => {
                let kind = schema.named.get(*place).ok_or_else(|| fault("a type is missing"))?;
                self.value(kind, depth + 1)?
            }
            Type::Date => date(self.int()?)?,
            Type::Time(unit) => time(self.counted(*unit)?)?,
            Type::Instant(unit) => point(micros(self.long()?, *unit)?, "Z")?,
            Type::Local(unit) => point(micros(self.long()?, *unit)?, "")?,
            Type::Uuid => uuid(self.array()?),
            Type::Duration => self.duration()?,
            Type::Decimal { scale, size, .. } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.sized()?,
                };
                decimal(bytes, usize::from(*scale))?
            }
        })
    }

    fn record(&mut self, fields: &[(String, Type)], depth: usize) -> Result<Value, Fault> {
        let mut object = Map::new();
        for (name, kind) in fields {
            let value = self.value(kind, depth + 1)?;
            object.insert(name.clone(), value);
        }
        Ok(Value::Object(object))
    }

    fn list(&mut self, items: &Type, depth: usize) -> Result<Value, Fault> {
        let mut list = Vec::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                list.push(self.value(items, depth + 1)?);
            }
        }
        Ok(Value::Array(list))
    }

    fn map(&mut self, values: &Type, depth: usize) -> Result<Value, Fault> {
        let mut object = Map::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                let key = self.text()?;
                let value = self.value(values, depth + 1)?;
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }

    /// How many items come next; none at the end of an array or a map. A negative count is followed
    /// by the block's size in bytes, which nobody needs here.
    fn block(&mut self) -> Result<Option<u64>, Fault> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok((count != 0).then(|| count.unsigned_abs()))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, left) =
            self.bytes.split_at_checked(count).ok_or_else(|| fault("it ends too early"))?;
        self.bytes = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| fault("it ends too early"))
    }

    /// A number with variable length: seven bits a byte, the sign in the last bit.
    fn long(&mut self) -> Result<i64, Fault> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            if shift == 63 && byte > 1 {
                break;
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(fault("a number has more than 64 bits"))
    }

    fn int(&mut self) -> Result<i32, Fault> {
        i32::try_from(self.long()?).map_err(|_| fault("a number has more than 32 bits"))
    }

    /// A time of the day in microseconds.
    fn counted(&mut self, unit: Unit) -> Result<i64, Fault> {
        let count = if unit == Unit::Milli { self.int()?.into() } else { self.long()? };
        micros(count, unit)
    }

    fn sized(&mut self) -> Result<&'a [u8], Fault> {
        let size = self.long()?;
        self.take(usize::try_from(size).map_err(|_| fault("a length is negative"))?)
    }

    fn text(&mut self) -> Result<String, Fault> {
        let text = std::str::from_utf8(self.sized()?);
        text.map(str::to_owned).map_err(|_| fault("a text is not UTF-8"))
    }

    fn duration(&mut self) -> Result<Value, Fault> {
        let mut part = || Ok::<_, Fault>(u32::from_le_bytes(self.array()?));
        let (months, days, milliseconds) = (part()?, part()?, part()?);
        Ok(json!({ "months": months, "days": days, "milliseconds": milliseconds }))
    }
}

fn float(value: f64) -> Result<Value, Fault> {
    let number = serde_json::Number::from_f64(value);
    number.map(Value::Number).ok_or_else(|| fault(format!("{value} is not a number with a value")))
}

/// Microseconds. Nanoseconds are cut off: no table keeps them.
fn micros(count: i64, unit: Unit) -> Result<i64, Fault> {
    match unit {
        Unit::Milli => count.checked_mul(1000).ok_or_else(|| fault("a time is out of range")),
        Unit::Micro => Ok(count),
        Unit::Nano => Ok(count.div_euclid(1000)),
    }
}

fn date(days: i32) -> Result<Value, Fault> {
    let day = date32_to_datetime(days).ok_or_else(|| fault("a date is out of range"))?;
    Ok(day.date().to_string().into())
}

fn point(micros: i64, zone: &str) -> Result<Value, Fault> {
    let time = timestamp_us_to_datetime(micros).ok_or_else(|| fault("a time is out of range"))?;
    Ok(format!("{}T{}{zone}", time.date(), time.time()).into())
}

fn time(micros: i64) -> Result<Value, Fault> {
    if !(0..DAY_US).contains(&micros) {
        return Err(fault("a time of the day is not within a day"));
    }
    let time = timestamp_us_to_datetime(micros).ok_or_else(|| fault("a time is out of range"))?;
    Ok(time.time().to_string().into())
}

fn uuid(bytes: [u8; 16]) -> Value {
    let text = hex::encode(bytes);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    parts.join("-").into()
}

/// The digits of a number that is counted in powers of ten.
fn decimal(bytes: &[u8], scale: usize) -> Result<Value, Fault> {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut number: i128 = if negative { -1 } else { 0 };
    for byte in bytes {
        let shifted = number.checked_mul(256);
        let shifted = shifted.ok_or_else(|| fault("a decimal has more than 128 bits"))?;
        number = shifted | i128::from(*byte);
    }
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if number < 0 { "-" } else { "" };
    Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }.into())
}
