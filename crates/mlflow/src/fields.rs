//! What did a caller send? The fields of a request, read as MLflow's server reads them: text must be
//! text, whole numbers may come as text, and what is null or empty is missing.
//!
//! Stock MLflow stores zeros where a nested number cannot be read; here that is refused.

use serde_json::{Map, Value};

use super::refusal::{Refusal, invalid};

/// Where the words about request parameters end.
const SEE: &str = "See the API docs for more information about request parameters.";

/// The fields of one request or of one object inside it.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// What stands before a field's name in messages, such as `metrics[3].`.
    within: &'a str,
    /// Whether they come from an address, where a list is a name that is repeated.
    in_address: bool,
    /// The values in the path.
    places: &'a [(&'static str, String)],
}

type Read<T> = Result<T, Refusal>;

impl<'a> Fields<'a> {
    /// The fields of a body.
    pub const fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, within: "", in_address: false, places: &[] }
    }

    /// The fields of an address: each is text, or the texts of a name that was repeated.
    pub const fn in_address(map: &'a Map<String, Value>) -> Self {
        Self { map, within: "", in_address: true, places: &[] }
    }

    /// The same fields, with the values in the path.
    pub(crate) const fn at(self, places: &'a [(&'static str, String)]) -> Self {
        Self { places, ..self }
    }

    /// A value in the path; empty when the call's path has none of this name.
    pub(super) fn place(&self, name: &str) -> &'a str {
        let found = self.places.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The fields of an object inside one.
    pub(super) const fn inside(map: &'a Map<String, Value>, within: &'a str) -> Self {
        Self { map, within, in_address: false, places: &[] }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        match self.map.get(name)? {
            Value::Null => None,
            // The first of a name that was repeated, as MLflow's server takes it.
            Value::Array(texts) if self.in_address => texts.first(),
            value => Some(value),
        }
    }

    /// That a field has to be there.
    pub(super) fn absent(&self, name: &str) -> Refusal {
        invalid(format!("Missing value for required parameter '{}{name}'. {SEE}", self.within))
    }

    /// That a field has another type.
    pub(super) fn wrong(&self, name: &str, value: &Value) -> Refusal {
        let kind = match value {
            Value::Null => "NoneType",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            Value::String(_) => "str",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
        };
        let within = self.within;
        invalid(format!(
            "Invalid value {value} for parameter '{within}{name}' supplied:  Hint: Value was of type \
             '{kind}'. {SEE}"
        ))
    }

    /// Text that may be left out.
    pub(super) fn text(&self, name: &str) -> Read<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, other)),
        }
    }

    /// Text that must be there.
    pub(super) fn need(&self, name: &str) -> Read<&'a str> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.absent(name))
    }

    /// A whole number that may be left out.
    pub(super) fn int(&self, name: &str) -> Read<Option<i64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let read = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        read.map(Some).ok_or_else(|| self.wrong(name, value))
    }

    /// A number that must be there.
    pub(super) fn need_real(&self, name: &str) -> Read<f64> {
        let value = self.get(name).ok_or_else(|| self.absent(name))?;
        let read = match value {
            Value::Number(number) => number.as_f64(),
            // Rust reads the words of JSON's protobuf: NaN, Infinity, -Infinity.
            Value::String(text) => text.parse().ok(),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        };
        read.ok_or_else(|| self.wrong(name, value))
    }

    /// The items of a list; none when it is left out.
    pub(super) fn list(&self, name: &str) -> Read<&'a [Value]> {
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(text) if self.in_address => Ok(std::slice::from_ref(text)),
            Some(other) => Err(self.wrong(name, other)),
        }
    }

    /// The texts of a list.
    pub(super) fn texts(&self, name: &str) -> Read<Vec<&'a str>> {
        let items = self.list(name)?.iter();
        items.map(|item| item.as_str().ok_or_else(|| self.wrong(name, item))).collect()
    }

    /// The objects of a list.
    pub(super) fn objects(&self, name: &str) -> Read<Vec<&'a Map<String, Value>>> {
        let items = self.list(name)?.iter();
        items.map(|item| item.as_object().ok_or_else(|| self.wrong(name, item))).collect()
    }

    /// An object that may be left out.
    pub(super) fn object(&self, name: &str) -> Read<Option<&'a Map<String, Value>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(self.wrong(name, other)),
        }
    }

    /// How many results one page has.
    pub(super) fn page_size(&self, default: i64, most: i64) -> Read<i64> {
        let size = self.int("max_results")?.unwrap_or(default);
        let refuse = |why: String| {
            Err(invalid(format!(
                "Invalid value {size} for parameter 'max_results' supplied. {why}"
            )))
        };
        match size {
            ..=0 => refuse("It must be a positive integer".to_owned()),
            _ if size > most => refuse(format!("It must be at most {most}")),
            _ => Ok(size),
        }
    }
}

/// A float that is a whole number.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}
