//! Which records can go into columns without a stop? Those that are one JSON object all of whose fields
//! are columns already and fit them, which is nearly every record. Their values are read once and
//! put where they belong, and no tree of values is made.
//!
//! Whatever is odd about a record makes [`Straight::take`] leave it alone: a field that is no column,
//! a value that does not fit, a name that comes twice, a clause of the contract that does not hold.
//! It is then taken apart the long way, which knows what to say about it. So both ways must agree on
//! what fits: a value that is not plain is judged by [`values::fit`] here, too.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder},
    datatypes::{DataType, Schema},
    error::ArrowError,
};
use serde::{
    Deserialize as _, Deserializer as _,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor, value},
};
use serde_json::Value;

use super::{
    Record, Rules,
    shape::can_be_named,
    values::{self, Cell, Seen},
};

/// How much room is made for the text of a column before the first row.
const TEXT_BYTES: usize = 1 << 16;

/// The JSON object that a record is, and what the way in fills beside its fields.
pub(crate) struct Plain<'a> {
    pub(crate) json: &'a str,
    pub(crate) filled: [Option<(&'static str, Cow<'a, str>)>; 2],
}

/// Finds the object of a record; nothing when there is anything odd about the record.
pub(crate) type Plainly = for<'a> fn(&'a Record) -> Option<Plain<'a>>;

/// The columns, and the rows that went straight into them.
pub(super) struct Straight<'a> {
    rules: &'a Rules,
    plainly: Plainly,
    columns: Columns<'a>,
    fillings: Vec<Filling>,
    rows: usize,
}

/// What the fields of a record are looked up in.
struct Columns<'a> {
    wanted: Vec<&'a DataType>,
    by_name: HashMap<&'a str, usize>,
    /// Where a field of a record may go, by its name.
    open: HashMap<&'a str, usize>,
    /// The names and columns of the last record's fields: nearly always the next one has the same.
    last: Vec<(&'a str, usize)>,
}

/// A value of a record on its way into a column.
enum Slot<'de> {
    Missing,
    Text(Cow<'de, str>),
    Cell(Cell),
}

impl Slot<'_> {
    fn seen(&self) -> Seen<'_> {
        match self {
            Slot::Missing => Seen::Null,
            Slot::Text(text) => Seen::Text(text),
            Slot::Cell(cell) => cell.seen(),
        }
    }
}

impl<'a> Straight<'a> {
    /// For so many records that fill these columns; nothing where none can go straight.
    pub(super) fn new(
        rules: &'a Rules,
        plainly: Plainly,
        columns: &'a Schema,
        rows_max: usize,
    ) -> Option<Self> {
        if rules.loose {
            return None;
        }
        let ours = |name: &str| {
            let filled = rules.places.filled.iter();
            filled.map(|(filled, _)| *filled).any(|filled| filled.eq_ignore_ascii_case(name))
        };
        let mut folded: HashMap<String, usize> = HashMap::new();
        for field in columns.fields() {
            *folded.entry(field.name().to_lowercase()).or_default() += 1;
        }
        let (mut by_name, mut open, mut wanted) = (HashMap::new(), HashMap::new(), Vec::new());
        for (at, field) in columns.fields().iter().enumerate() {
            let name = field.name().as_str();
            by_name.insert(name, at);
            wanted.push(field.data_type());
            let alone = folded.get(&name.to_lowercase()) == Some(&1);
            if !ours(name) && alone && can_be_named(rules, name) {
                open.insert(name, at);
            }
            if rules.places.fills(name) && *field.data_type() != DataType::Utf8 {
                return None;
            }
        }
        let fillings = wanted.iter().map(|wanted| Filling::new(wanted, rows_max)).collect();
        let columns = Columns { wanted, by_name, open, last: Vec::new() };
        Some(Self { rules, plainly, columns, fillings, rows: 0 })
    }

    /// Adds a record as a row; whether it could.
    pub(super) fn take(&mut self, record: &Record) -> bool {
        let Some(plain) = (self.plainly)(record) else { return false };
        let Some(row) = self.row(plain) else { return false };
        for (filling, slot) in self.fillings.iter_mut().zip(row) {
            filling.push(slot);
        }
        self.rows += 1;
        true
    }

    fn row<'de>(&mut self, plain: Plain<'de>) -> Option<Vec<Slot<'de>>> {
        let mut row: Vec<Slot<'de>> = Vec::with_capacity(self.fillings.len());
        row.resize_with(self.fillings.len(), || Slot::Missing);
        for (name, text) in plain.filled.into_iter().flatten() {
            row[*self.columns.by_name.get(name)?] = Slot::Text(text);
        }
        let mut reader = serde_json::Deserializer::from_str(plain.json);
        let fields = FieldsVisitor { columns: &mut self.columns, row: &mut row };
        reader.deserialize_map(fields).and_then(|()| reader.end()).ok()?;
        let seen = |name: &str| self.columns.by_name.get(name).map(|at| row[*at].seen());
        let keyed = |key: &String| seen(key).is_some_and(|seen| seen != Seen::Null);
        let holds = self.rules.contract.broken(seen).is_none();
        (holds && self.rules.key.iter().all(keyed)).then_some(row)
    }

    /// How many rows there are.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// The columns with these rows.
    pub(super) fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.fillings.into_iter().map(Filling::finish).collect()
    }
}

/// A column that is being filled.
enum Filling {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Other(DataType, Vec<Cell>),
}

impl Filling {
    fn new(wanted: &DataType, rows: usize) -> Self {
        match wanted {
            DataType::Utf8 => Self::Text(StringBuilder::with_capacity(rows, TEXT_BYTES)),
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(rows)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(rows)),
            DataType::Boolean => Self::Bool(BooleanBuilder::with_capacity(rows)),
            other => Self::Other(other.clone(), Vec::new()),
        }
    }

    /// Adds a value that was found to fit.
    fn push(&mut self, slot: Slot<'_>) {
        match (self, slot) {
            (Self::Text(column), Slot::Text(text)) => column.append_value(text),
            (Self::Text(column), Slot::Cell(Cell::Text(text))) => column.append_value(text),
            (Self::Int(column), Slot::Cell(Cell::Int(value))) => column.append_value(value),
            (Self::Float(column), Slot::Cell(Cell::Float(value))) => column.append_value(value),
            (Self::Bool(column), Slot::Cell(Cell::Bool(value))) => column.append_value(value),
            (Self::Other(_, cells), Slot::Cell(cell)) => cells.push(cell),
            (Self::Text(column), _) => column.append_null(),
            (Self::Int(column), _) => column.append_null(),
            (Self::Float(column), _) => column.append_null(),
            (Self::Bool(column), _) => column.append_null(),
            (Self::Other(_, cells), _) => cells.push(Cell::Null),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(mut column) => Arc::new(column.finish()),
            Self::Int(mut column) => Arc::new(column.finish()),
            Self::Float(mut column) => Arc::new(column.finish()),
            Self::Bool(mut column) => Arc::new(column.finish()),
            Self::Other(wanted, cells) => values::array(cells, &wanted)?,
        })
    }
}

/// Reads an object into a row.
struct FieldsVisitor<'v, 'a, 'de> {
    columns: &'v mut Columns<'a>,
    row: &'v mut [Slot<'de>],
}

impl<'de> Visitor<'de> for FieldsVisitor<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut turn = 0;
        while let Some(at) = map.next_key_seed(NameSeed { columns: &mut *self.columns, turn })? {
            let slot = &mut self.row[at];
            if !matches!(slot, Slot::Missing) {
                return Err(de::Error::custom("a name comes twice"));
            }
            *slot = map.next_value_seed(ValueSeed(self.columns.wanted[at]))?;
            turn += 1;
        }
        Ok(())
    }
}

/// Finds the column of a field. `turn` counts the fields of a record.
struct NameSeed<'v, 'a> {
    columns: &'v mut Columns<'a>,
    turn: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_, '_> {
    type Value = usize;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<usize, E> {
        if let Some((last, at)) = self.columns.last.get(self.turn)
            && *last == name
        {
            return Ok(*at);
        }
        let found = self.columns.open.get_key_value(name).map(|(name, at)| (*name, *at));
        let (name, at) = found.ok_or_else(|| E::custom("not a column"))?;
        self.columns.last.truncate(self.turn);
        self.columns.last.push((name, at));
        Ok(at)
    }
}

/// Reads a value that must fit a column of this type.
struct ValueSeed<'a>(&'a DataType);

impl ValueSeed<'_> {
    fn fit<'de, E: de::Error>(self, value: impl Into<Value>) -> Result<Slot<'de>, E> {
        let cell = values::fit(&value.into(), self.0, false);
        cell.map(Slot::Cell).ok_or_else(|| E::custom("does not fit"))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Slot<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Slot<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Slot<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Slot<'de>, E> {
        Ok(Slot::Cell(Cell::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Slot<'de>, E> {
        self.fit(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Slot<'de>, E> {
        match self.0 {
            DataType::Int64 => Ok(Slot::Cell(Cell::Int(value))),
            _ => self.fit(value),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Slot<'de>, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.fit(value),
        }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Slot<'de>, E> {
        match self.0 {
            DataType::Float64 if value.is_finite() => Ok(Slot::Cell(Cell::Float(value))),
            _ => self.fit(value),
        }
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Slot<'de>, E> {
        match self.0 {
            DataType::Utf8 => Ok(Slot::Text(Cow::Borrowed(value))),
            _ => self.fit(value),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Slot<'de>, E> {
        self.fit(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Slot<'de>, A::Error> {
        self.fit(Value::deserialize(value::SeqAccessDeserializer::new(items))?)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Slot<'de>, A::Error> {
        self.fit(Value::deserialize(value::MapAccessDeserializer::new(fields))?)
    }
}
