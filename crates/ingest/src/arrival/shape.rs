//! Which records fit the table, and which columns does it get? One batch at a time: columns are
//! inferred from all its records first, then every record is checked, so that the same records
//! under the same rules are always sorted the same way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use datafusion::arrow::{
    array::{
        ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
    },
    compute::interleave_record_batch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use serde_json::{Map, Value};

use super::{
    COLUMNS_MAX, Plan, Record,
    rules::{NewColumn, Rules},
    straight::Straight,
    values::{self, Cell},
};
use crate::error::{DataError, Result};
use sextant_data::content;

/// What a record holds, by column.
pub(crate) type Fields = Map<String, Value>;

/// Characters that a column of a Delta table cannot have in its name.
const NAME_REFUSED: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '='];
/// Longest name of a column.
const NAME_BYTES_MAX: usize = 200;
/// Longest part of a value that a reason repeats.
const SHOWN_CHARS: usize = 80;

/// Why a record does not go into the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The rule that it breaks, as one word.
    pub(crate) rule: &'static str,
    /// In words, with the column and the value.
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(rule: &'static str, reason: impl Into<String>) -> Self {
        Self { rule, reason: reason.into() }
    }
}

/// What a record holds, and the types that its writer gave the fields.
pub(crate) struct Parsed {
    pub(crate) fields: Fields,
    pub(crate) types: Option<Arc<BTreeMap<String, DataType>>>,
}

impl From<Fields> for Parsed {
    fn from(fields: Fields) -> Self {
        Self { fields, types: None }
    }
}

/// A batch, sorted.
pub(crate) struct Sorted {
    /// The rows that fit, with their places.
    pub(crate) good: RecordBatch,
    /// The places of those rows.
    pub(crate) places: Vec<Place>,
    /// The records that do not fit.
    pub(crate) bad: Vec<(Record, Fault)>,
}

/// Where a row is from.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Which record of the batch it was.
    turn: usize,
    pub(crate) partition: Arc<str>,
    pub(crate) offset: i64,
    arrived_at: i64,
}

impl Place {
    fn new(turn: usize, record: Record) -> Self {
        let Record { partition, offset, arrived_at, .. } = record;
        Self { turn, partition, offset, arrived_at }
    }
}

/// Sorts a batch. `table` is the present schema of the table, when there is one.
pub(crate) fn sort(plan: &Plan, table: Option<&Schema>, records: Vec<Record>) -> Result<Sorted> {
    let rules = &*plan.rules;
    let known = rules.columns(table);
    let plainly = plan.plainly;
    let mut straight =
        plainly.and_then(|plainly| Straight::new(rules, plainly, &known, records.len()));
    let mut places = Vec::with_capacity(records.len());
    let mut others = Vec::new();
    for (turn, record) in records.into_iter().enumerate() {
        if straight.as_mut().is_some_and(|straight| straight.take(&record)) {
            places.push(Place::new(turn, record));
        } else {
            others.push((turn, record));
        }
    }
    let one_by_one = OneByOne::sort(plan, &known, others)?;
    let Some(straight) = straight.filter(|straight| straight.rows() > 0) else {
        let OneByOne { columns, arrays, places, bad } = one_by_one;
        let good = with_places(rules, &columns, arrays, &places)?;
        return Ok(Sorted { good, places, bad });
    };
    let OneByOne { columns, arrays, places: other_places, bad } = one_by_one;
    let mut straight = straight.finish().map_err(DataError::engine)?;
    let new = columns.fields().iter().skip(straight.len());
    straight.extend(new.map(|field| new_null_array(field.data_type(), places.len())));
    let rows = with_places(rules, &columns, straight, &places)?;
    if other_places.is_empty() {
        return Ok(Sorted { good: rows, places, bad });
    }
    let others = with_places(rules, &columns, arrays, &other_places)?;
    let (good, places) = in_turn([rows, others], [places, other_places])?;
    Ok(Sorted { good, places, bad })
}

/// The rows of both in the order of their records.
fn in_turn(
    batches: [RecordBatch; 2],
    places: [Vec<Place>; 2],
) -> Result<(RecordBatch, Vec<Place>)> {
    let both = places.into_iter().enumerate();
    let mut placed: Vec<(Place, (usize, usize))> = both
        .flat_map(|(which, places)| {
            places.into_iter().enumerate().map(move |(row, place)| (place, (which, row)))
        })
        .collect();
    placed.sort_unstable_by_key(|(place, _)| place.turn);
    let (places, rows): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
    let good = interleave_record_batch(&[&batches[0], &batches[1]], &rows);
    Ok((good.map_err(DataError::engine)?, places))
}

/// Records that were taken apart, and the columns that they have and give.
struct OneByOne {
    columns: SchemaRef,
    arrays: Vec<ArrayRef>,
    places: Vec<Place>,
    bad: Vec<(Record, Fault)>,
}

impl OneByOne {
    fn sort(plan: &Plan, known: &SchemaRef, records: Vec<(usize, Record)>) -> Result<Self> {
        let rules = &*plan.rules;
        let mut bad = Vec::new();
        let mut checked = Checked::default();
        let mut parsed = Vec::with_capacity(records.len());
        for (turn, record) in records {
            let found = (plan.decode)(&record)?;
            match found.and_then(|found| checked.hold(rules, &found.fields).map(|()| found)) {
                Ok(found) => parsed.push((turn, record, found)),
                Err(fault) => bad.push((record, fault)),
            }
        }
        let columns = columns(rules, known, &parsed);
        let sheet = Sheet::new(rules, &columns);
        let mut cells: Vec<Vec<Cell>> = columns.fields().iter().map(|_| Vec::new()).collect();
        let mut places = Vec::with_capacity(parsed.len());
        for (turn, record, found) in parsed {
            match sheet.row(&found.fields) {
                Ok(row) => {
                    for (column, cell) in cells.iter_mut().zip(row) {
                        column.push(cell);
                    }
                    places.push(Place::new(turn, record));
                }
                Err(fault) => bad.push((record, fault)),
            }
        }
        let arrays = cells
            .into_iter()
            .zip(columns.fields())
            .map(|(column, field)| values::array(column, field.data_type()))
            .collect::<Result<_, _>>()
            .map_err(DataError::engine)?;
        Ok(Self { columns, arrays, places, bad })
    }
}

/// The names of the last record that was checked: nearly always the next one has the same.
#[derive(Default)]
struct Checked(Vec<String>);

impl Checked {
    fn hold(&mut self, rules: &Rules, fields: &Fields) -> Result<(), Fault> {
        if fields.keys().eq(&self.0) {
            return Ok(());
        }
        check_names(rules, fields)?;
        self.0 = fields.keys().cloned().collect();
        Ok(())
    }
}

/// A name that the table cannot have would make every later commit fail: it is refused here.
fn check_names(rules: &Rules, fields: &Fields) -> Result<(), Fault> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for name in fields.keys() {
        if is_odd(name) {
            let shown: String = name.chars().take(SHOWN_CHARS).collect();
            let reason = format!("`{shown}` cannot be a column's name");
            return Err(Fault::new("column_name", reason));
        }
        if rules.places.has(name) {
            let reason = format!("`{name}` is a column that Sextant fills itself");
            return Err(Fault::new("column_name", reason));
        }
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            let reason = format!("`{other}` and `{name}` differ only in case");
            return Err(Fault::new("column_name", reason));
        }
    }
    Ok(())
}

fn is_odd(name: &str) -> bool {
    let odd = |c: char| c.is_control() || NAME_REFUSED.contains(&c);
    name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(odd)
}

/// Whether a record's field may have this name.
pub(super) fn can_be_named(rules: &Rules, name: &str) -> bool {
    !is_odd(name) && !rules.places.has(name)
}

/// The columns after this batch. Without any column to begin with, the batch decides them.
fn columns(rules: &Rules, known: &SchemaRef, parsed: &[(usize, Record, Parsed)]) -> SchemaRef {
    let first = known.fields().iter().all(|field| rules.places.fills(field.name()));
    if !first && rules.on_new_column != NewColumn::Add {
        return Arc::clone(known);
    }
    let taken: HashMap<String, ()> =
        known.fields().iter().map(|field| (field.name().to_lowercase(), ())).collect();
    let mut found: BTreeMap<usize, (String, DataType)> = BTreeMap::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let fields = parsed.iter().flat_map(|(_, _, found)| {
        found.fields.iter().map(move |field| (field, found.types.as_ref()))
    });
    let exact: HashSet<&str> = known.fields().iter().map(|field| field.name().as_str()).collect();
    for ((name, value), types) in fields {
        if exact.contains(name.as_str()) {
            continue;
        }
        let folded = name.to_lowercase();
        let Some(mut suggested) = values::suggests(value, rules.loose) else { continue };
        let given = || types.and_then(|types| types.get(name));
        if let Some(hint) = rules.hints.get(name).or_else(given) {
            suggested = hint.clone();
        }
        if taken.contains_key(&folded) {
            continue;
        }
        let room = known.fields().len() + found.len() < COLUMNS_MAX;
        match places.get(&folded) {
            Some(place) => {
                if let Some((_, present)) = found.get_mut(place) {
                    *present = values::widened(present, &suggested);
                }
            }
            None if room => {
                places.insert(folded, found.len());
                found.insert(found.len(), (name.clone(), suggested));
            }
            None => {}
        }
    }
    let new = found.into_values().map(|(name, kind)| Arc::new(Field::new(name, kind, true)));
    let fields: Vec<_> = known.fields().iter().cloned().chain(new).collect();
    Arc::new(Schema::new(fields))
}

/// The columns that records are checked against.
struct Sheet<'a> {
    rules: &'a Rules,
    columns: &'a Schema,
    by_name: HashMap<&'a str, usize>,
}

impl<'a> Sheet<'a> {
    fn new(rules: &'a Rules, columns: &'a Schema) -> Self {
        let by_name =
            columns.fields().iter().enumerate().map(|(at, field)| (field.name().as_str(), at));
        Self { rules, columns, by_name: by_name.collect() }
    }

    /// The record's cells, one for each column.
    fn row(&self, fields: &Fields) -> Result<Vec<Cell>, Fault> {
        let mut row = vec![Cell::Null; self.columns.fields().len()];
        for (name, value) in fields {
            let Some(at) = self.by_name.get(name.as_str()).copied() else {
                if value.is_null() || self.rules.on_new_column == NewColumn::Ignore {
                    continue;
                }
                return Err(self.unknown(name));
            };
            let wanted = self.columns.field(at).data_type();
            row[at] = values::fit(value, wanted, self.rules.loose).ok_or_else(|| {
                let expected = content::type_name(wanted);
                let reason = format!("`{name}` must be {expected}, not {}", shown(value));
                Fault::new("type", reason)
            })?;
        }
        let cell = |name: &str| self.by_name.get(name).map(|at| row[*at].seen());
        self.rules.contract.check(fields, cell)?;
        for key in &self.rules.key {
            let at = self.by_name.get(key.as_str()).copied();
            if at.is_none_or(|at| row[at] == Cell::Null) {
                return Err(Fault::new("key", format!("the key column `{key}` has no value")));
            }
        }
        Ok(row)
    }

    fn unknown(&self, name: &str) -> Fault {
        let alike = self.by_name.keys().find(|known| known.eq_ignore_ascii_case(name));
        let reason = match alike {
            Some(known) => format!("`{name}` differs from the column `{known}` only in case"),
            None if self.rules.on_new_column == NewColumn::Add => {
                format!("`{name}` would be column number {} of {COLUMNS_MAX}", COLUMNS_MAX + 1)
            }
            None => format!("`{name}` is not a column of the table"),
        };
        Fault::new("new_column", reason)
    }
}

pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    text.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

/// The rows as one batch, with the columns of our own behind them.
fn with_places(
    rules: &Rules,
    columns: &Schema,
    mut arrays: Vec<ArrayRef>,
    places: &[Place],
) -> Result<RecordBatch> {
    let mut fields: Vec<Field> =
        columns.fields().iter().map(|field| field.as_ref().clone()).collect();
    for field in rules.places.fields() {
        arrays.push(match field.name().as_str() {
            name if Some(name) == rules.places.partition => {
                let names = places.iter().map(|place| &*place.partition);
                Arc::new(StringArray::from_iter_values(names))
            }
            name if name == rules.places.offset => {
                Arc::new(Int64Array::from_iter_values(places.iter().map(|place| place.offset)))
            }
            _ => {
                let times = places.iter().map(|place| place.arrived_at);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
        });
        fields.push(field);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(DataError::engine)
}
