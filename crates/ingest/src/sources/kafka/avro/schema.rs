//! What does the schema of an Avro writer say? Its JSON as a tree of types, with its logical types.
//! Defaults, aliases and documentation are of no use here: records are read as they were written.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// How deep types may be nested in each other.
pub(super) const DEPTH_MAX: usize = 64;
/// Most digits of a decimal that a column can hold.
const PRECISION_MAX: u64 = 38;

/// A parsed schema. Types with a name are in `named`, so that one can hold itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schema {
    pub(super) root: Type,
    pub(super) named: Vec<Type>,
}

/// How a value is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Record(Vec<(String, Type)>),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// One of [`Schema::named`].
    Named(usize),
    Date,
    /// A time of the day.
    Time(Unit),
    /// A point in time.
    Instant(Unit),
    /// A date and a time that no zone is known of.
    Local(Unit),
    /// A UUID of 16 bytes.
    Uuid,
    /// Months, days and milliseconds.
    Duration,
    Decimal {
        precision: u8,
        scale: u8,
        /// The bytes of a fixed one.
        size: Option<usize>,
    },
}

/// What a time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milli,
    Micro,
    Nano,
}

/// Reads a schema. `before` are the schemas that it refers to, each after those that it needs.
pub(super) fn parse(text: &str, before: &[String]) -> Result<Schema, String> {
    let mut parser = Parser::default();
    for text in before {
        parser.text(text)?;
    }
    let root = parser.text(text)?;
    let named = parser.named.into_iter().collect::<Option<Vec<_>>>();
    let named = named.ok_or_else(|| "a named type is never defined".to_owned())?;
    Ok(Schema { root, named })
}

#[derive(Default)]
struct Parser {
    /// Where the type of a full name is.
    places: HashMap<String, usize>,
    /// `None` while the type is being read.
    named: Vec<Option<Type>>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<Type, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        self.parse(&value, "", 0)
    }

    fn parse(&mut self, value: &Value, namespace: &str, depth: usize) -> Result<Type, String> {
        if depth > DEPTH_MAX {
            return Err(format!("its types are nested deeper than {DEPTH_MAX}"));
        }
        match value {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|one| self.parse(one, namespace, depth + 1));
                Ok(Type::Union(branches.collect::<Result<_, _>>()?))
            }
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(format!("`{other}` is not a type")),
        }
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Type, String> {
        let kind = object.get("type").ok_or("a type has no `type`")?;
        let inner = |key: &str| object.get(key).ok_or_else(|| format!("a type has no `{key}`"));
        match kind.as_str() {
            Some("record" | "error") => self.record(object, namespace, depth),
            Some("enum") => {
                let symbols = inner("symbols")?.as_array().ok_or("symbols are not a list")?;
                let word = |symbol: &Value| symbol.as_str().map(str::to_owned);
                let symbols: Option<Vec<String>> = symbols.iter().map(word).collect();
                let symbols = symbols.ok_or("a symbol is not a text")?;
                self.define(object, namespace, Type::Enum(symbols))
            }
            Some("fixed") => {
                let size = inner("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("the size of a fixed type is not a number")?;
                self.define(object, namespace, logical(object, Type::Fixed(size)))
            }
            Some("array") => {
                let items = self.parse(inner("items")?, namespace, depth + 1)?;
                Ok(Type::Array(Box::new(items)))
            }
            Some("map") => {
                let values = self.parse(inner("values")?, namespace, depth + 1)?;
                Ok(Type::Map(Box::new(values)))
            }
            _ => Ok(logical(object, self.parse(kind, namespace, depth + 1)?)),
        }
    }

    fn record(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Type, String> {
        let name = full_name(object, namespace)?;
        let place = self.reserve(&name)?;
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let listed =
            object.get("fields").and_then(Value::as_array).ok_or("a record has no fields")?;
        let mut fields = Vec::with_capacity(listed.len());
        for field in listed {
            let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
            let kind = field.get("type").ok_or_else(|| format!("field `{name}` has no type"))?;
            fields.push((name.to_owned(), self.parse(kind, namespace, depth + 1)?));
        }
        self.named[place] = Some(Type::Record(fields));
        Ok(Type::Named(place))
    }

    fn define(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        kind: Type,
    ) -> Result<Type, String> {
        let place = self.reserve(&full_name(object, namespace)?)?;
        self.named[place] = Some(kind);
        Ok(Type::Named(place))
    }

    fn reserve(&mut self, name: &str) -> Result<usize, String> {
        let place = self.named.len();
        if self.places.insert(name.to_owned(), place).is_some() {
            return Err(format!("`{name}` is defined twice"));
        }
        self.named.push(None);
        Ok(place)
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Type, String> {
        Ok(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            other => {
                let inside = format!("{namespace}.{other}");
                let place = self.places.get(&inside).or_else(|| self.places.get(other));
                Type::Named(*place.ok_or_else(|| format!("there is no type `{other}`"))?)
            }
        })
    }
}

/// The name with its namespace.
fn full_name(object: &Map<String, Value>, namespace: &str) -> Result<String, String> {
    let name = object.get("name").and_then(Value::as_str).ok_or("a named type has no name")?;
    let own = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Ok(if name.contains('.') || own.is_empty() { name.to_owned() } else { format!("{own}.{name}") })
}

/// The logical type over a plain one. One that is not known, or does not go with its plain type, is
/// left aside, as Avro wants it.
fn logical(object: &Map<String, Value>, plain: Type) -> Type {
    let Some(word) = object.get("logicalType").and_then(Value::as_str) else { return plain };
    match (word, &plain) {
        ("decimal", Type::Bytes) => decimal(object, None).unwrap_or(plain),
        ("decimal", Type::Fixed(size)) => decimal(object, Some(*size)).unwrap_or(plain),
        ("uuid", Type::Fixed(16)) => Type::Uuid,
        ("duration", Type::Fixed(12)) => Type::Duration,
        ("date", Type::Int) => Type::Date,
        ("time-millis", Type::Int) => Type::Time(Unit::Milli),
        ("time-micros", Type::Long) => Type::Time(Unit::Micro),
        ("timestamp-millis", Type::Long) => Type::Instant(Unit::Milli),
        ("timestamp-micros", Type::Long) => Type::Instant(Unit::Micro),
        ("timestamp-nanos", Type::Long) => Type::Instant(Unit::Nano),
        ("local-timestamp-millis", Type::Long) => Type::Local(Unit::Milli),
        ("local-timestamp-micros", Type::Long) => Type::Local(Unit::Micro),
        ("local-timestamp-nanos", Type::Long) => Type::Local(Unit::Nano),
        _ => plain,
    }
}

fn decimal(object: &Map<String, Value>, size: Option<usize>) -> Option<Type> {
    let number = |key: &str| object.get(key).map_or(Some(0), Value::as_u64);
    let (precision, scale) = (number("precision")?, number("scale")?);
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return None;
    }
    let (precision, scale) = (u8::try_from(precision).ok()?, u8::try_from(scale).ok()?);
    Some(Type::Decimal { precision, scale, size })
}
