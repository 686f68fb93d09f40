//! What is given to a question? Its input, written in the query or sent beside it, as the fields of the
//! call that answers it.

use graphql_parser::query::{Type, Value as Written, VariableDefinition};
use serde_json::{Map, Value, json};

use super::schema::{Input, Taken, camel};

/// The variables of an operation, with what was sent for them.
pub(super) struct Variables<'a> {
    declared: &'a [VariableDefinition<'a, &'a str>],
    sent: &'a Map<String, Value>,
    used: Vec<&'a str>,
}

/// What is wrong, in words.
type Read<T> = Result<T, String>;

impl<'a> Variables<'a> {
    pub(super) const fn new(
        declared: &'a [VariableDefinition<'a, &'a str>],
        sent: &'a Map<String, Value>,
    ) -> Self {
        Self { declared, sent, used: Vec::new() }
    }

    /// Those that nothing used.
    pub(super) fn unused(&self) -> impl Iterator<Item = &'a str> {
        let names = self.declared.iter().map(|declared| declared.name);
        names.filter(|name| !self.used.contains(name))
    }

    /// The value of a variable that stands where this type is wanted; none when none was sent.
    fn value(&mut self, name: &'a str, wanted: &str) -> Read<Option<Value>> {
        let declared = self.declared.iter().find(|declared| declared.name == name);
        let Some(declared) = declared else {
            return Err(format!("Variable '${name}' is not defined."));
        };
        self.used.push(declared.name);
        let kind = shown_type(&declared.var_type);
        if kind.replace('!', "") != wanted {
            return Err(format!(
                "Variable '${name}' of type '{kind}' used in position expecting type '{wanted}'."
            ));
        }
        let needed = matches!(declared.var_type, Type::NonNullType(_));
        match (self.sent.get(name), &declared.default_value) {
            (Some(Value::Null), _) if needed => {
                Err(format!("Variable '${name}' of non-null type '{kind}' must not be null."))
            }
            (Some(sent), _) => Ok(Some(sent.clone())),
            (None, Some(default)) => plain(default).map(Some),
            (None, None) if needed => {
                Err(format!("Variable '${name}' of required type '{kind}' was not provided."))
            }
            (None, None) => Ok(None),
        }
    }

    /// The fields of a call from what stands at its argument `input`.
    pub(super) fn input(
        &mut self,
        input: &'static Input,
        written: &'a Written<'a, &'a str>,
    ) -> Read<Option<Map<String, Value>>> {
        match written {
            Written::Variable(name) => match self.value(name, input.name)? {
                None | Some(Value::Null) => Ok(None),
                Some(Value::Object(sent)) => of_variable(input, name, &sent).map(Some),
                Some(other) => Err(format!(
                    "Variable '${name}' got invalid value {}; Expected type '{}' to be a mapping.",
                    inspect(&other),
                    input.name
                )),
            },
            Written::Object(fields) => {
                let mut taken = Map::new();
                for (name, written) in fields {
                    let (known, kind) = field(input, name)?;
                    if let Some(value) = self.written(kind, written)? {
                        taken.insert(known.to_owned(), value);
                    }
                }
                Ok(Some(taken))
            }
            Written::Null => Ok(None),
            _ => Err(format!("Expected value of type '{}', found another.", input.name)),
        }
    }

    /// A value that is written in the query or is a variable's.
    fn written(&mut self, kind: Taken, written: &'a Written<'a, &'a str>) -> Read<Option<Value>> {
        let value = match (kind, written) {
            (_, Written::Variable(name)) => match self.value(name, kind.name())? {
                None => return Ok(None),
                Some(value) => {
                    let place = |why| {
                        format!("Variable '${name}' got invalid value {}; {why}", inspect(&value))
                    };
                    return taken(kind, &value).map_err(place);
                }
            },
            (Taken::Word(..), Written::Enum(word)) => json!(word),
            (Taken::Word(name, _), other) if !matches!(other, Written::Null) => {
                return Err(format!("Enum '{name}' cannot represent non-enum value: {other}."));
            }
            (_, Written::Enum(word)) => {
                return Err(format!("{} cannot represent value: {word}", kind.name()));
            }
            (_, other) => plain(other)?,
        };
        taken(kind, &value)
    }
}

/// The fields of an input that was sent as a variable.
fn of_variable(
    input: &'static Input,
    variable: &str,
    sent: &Map<String, Value>,
) -> Read<Map<String, Value>> {
    let mut fields = Map::new();
    let invalid =
        |value: &Value| format!("Variable '${variable}' got invalid value {}", inspect(value));
    for (name, value) in sent {
        let whole = || Value::Object(sent.clone());
        let (known, kind) =
            field(input, name).map_err(|why| format!("{}; {why}", invalid(&whole())))?;
        let read = taken(kind, value)
            .map_err(|why| format!("{} at '{variable}.{name}'; {why}", invalid(value)))?;
        if let Some(value) = read {
            fields.insert(known.to_owned(), value);
        }
    }
    Ok(fields)
}

/// The field of an input that a query calls by this name.
fn field(input: &'static Input, name: &str) -> Read<(&'static str, Taken)> {
    let found = input.fields.iter().find(|(known, _)| camel(known) == name);
    found.copied().ok_or_else(|| format!("Field '{name}' is not defined by type '{}'.", input.name))
}

/// A value as this kind; none when it is null.
fn taken(kind: Taken, value: &Value) -> Read<Option<Value>> {
    let fits = match (kind, value) {
        (_, Value::Null) => return Ok(None),
        (Taken::Text, Value::String(_)) => true,
        (Taken::Texts, Value::String(text)) => return Ok(Some(json!([text]))),
        (Taken::Texts, Value::Array(items)) => items.iter().all(Value::is_string),
        (Taken::Int, number) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        (Taken::Long, Value::String(text)) => text.trim().parse::<i64>().is_ok(),
        (Taken::Long, number) => number.is_i64(),
        (Taken::Word(name, words), Value::String(word)) => {
            if !words.contains(&word.as_str()) {
                return Err(format!("Value '{word}' does not exist in '{name}' enum."));
            }
            true
        }
        _ => false,
    };
    if fits {
        return Ok(Some(value.clone()));
    }
    let (name, shown) = (kind.name(), inspect(value));
    Err(match kind {
        Taken::Text | Taken::Texts => {
            format!("String cannot represent a non string value: {shown}")
        }
        Taken::Int => format!("Int cannot represent non-integer value: {shown}"),
        Taken::Long => format!("Expected type '{name}', found {shown}."),
        Taken::Word(..) => format!("Enum '{name}' cannot represent non-string value: {shown}."),
    })
}

/// A value that is written in the query, without variables, as JSON.
fn plain<'a>(written: &Written<'a, &'a str>) -> Read<Value> {
    Ok(match written {
        Written::Null => Value::Null,
        Written::Int(number) => json!(number.as_i64()),
        Written::Float(number) => json!(number),
        Written::String(text) => json!(text),
        Written::Boolean(flag) => json!(flag),
        Written::Enum(word) => json!(word),
        Written::List(items) => {
            let items: Read<Vec<Value>> = items.iter().map(plain).collect();
            Value::Array(items?)
        }
        Written::Object(fields) => {
            let fields: Read<Map<String, Value>> = fields
                .iter()
                .map(|(name, value)| Ok(((*name).to_owned(), plain(value)?)))
                .collect();
            Value::Object(fields?)
        }
        Written::Variable(name) => {
            return Err(format!(
                "Variable '${name}' cannot stand within a list or an object here."
            ));
        }
    })
}

fn shown_type<'a>(kind: &Type<'a, &'a str>) -> String {
    match kind {
        Type::NamedType(name) => (*name).to_owned(),
        Type::ListType(inner) => format!("[{}]", shown_type(inner)),
        Type::NonNullType(inner) => format!("{}!", shown_type(inner)),
    }
}

/// A value as messages show it.
fn inspect(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inspect).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("'{name}': {}", inspect(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}
