//! Which bytes does a structured artifact have? JSON with sorted keys and no spaces.

use serde::Serialize;
use serde_json::Value;

/// The canonical bytes of a structured artifact: JSON with object keys sorted by code point,
/// no insignificant whitespace, UTF-8.
///
/// # Errors
/// When the value cannot be expressed in JSON (a map with keys that are not strings).
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut value = serde_json::to_value(value)?;
    sort_keys(&mut value);
    serde_json::to_vec(&value)
}

fn sort_keys(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_keys),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_order_does_not_matter() -> Result<(), serde_json::Error> {
        let one: Value = serde_json::from_str(r#"{"b":{"y":1,"x":[{"d":1,"c":2}]},"a":"é"}"#)?;
        let two: Value = serde_json::from_str(r#"{ "a":"é", "b":{"x":[{"c":2,"d":1}],"y":1}}"#)?;
        assert_eq!(canonical_json(&one)?, canonical_json(&two)?);
        assert_eq!(
            String::from_utf8_lossy(&canonical_json(&one)?),
            r#"{"a":"é","b":{"x":[{"c":2,"d":1}],"y":1}}"#
        );
        Ok(())
    }
}
