//! Are records read as their writers meant them, and is every damaged one told from a good one? The
//! bytes were written by fastavro.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{
    decode::{columns, decode},
    schema::{Schema, parse},
};

const ORDER: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"}, {"name": "small", "type": "int"},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "tax", "type": ["null", {"type": "fixed", "name": "Tax", "size": 4,
        "logicalType": "decimal", "precision": 6, "scale": 3}]},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "exact", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
    {"name": "time", "type": {"type": "long", "logicalType": "time-micros"}},
    {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "raw", "type": "bytes"},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "SENT"]}},
    {"name": "note", "type": ["null", "string"]},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line",
        "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": "int"}]}}},
    {"name": "tags", "type": {"type": "map", "values": "double"}},
    {"name": "f", "type": "float"}, {"name": "ok", "type": "boolean"},
    {"name": "next", "type": ["null", "Order"]}]}"#;
const BYTES: &str = "85808080808080200104fb2e020000001301f685c9fdc068fdffe48b89c4ec078081eaf6a667feff\
    badd83054830303030303030302d303030302d303030302d303030302d3030303030303030303030350400ff02000402\
    610204c3bc0300020278000000000000f83f000000003f0100";

fn order() -> (Schema, Vec<u8>) {
    (parse(ORDER, &[]).unwrap(), hex::decode(BYTES.replace(char::is_whitespace, "")).unwrap())
}

fn one(kind: &str, bytes: &str) -> Result<Value, String> {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{kind}}}]}}"#);
    let schema = parse(&text, &[])?;
    let fields = decode(&schema, &hex::decode(bytes).unwrap()).map_err(|fault| fault.reason)?;
    Ok(fields["a"].clone())
}

#[test]
fn every_type_is_read_and_has_a_column() {
    let (schema, bytes) = order();
    let expected = json!({
        "id": -9_007_199_254_740_995_i64, "small": -1, "total": "-12.34", "tax": "0.019",
        "day": "1969-12-31", "at": "2026-11-23T10:00:00.123Z",
        "exact": "1900-01-01T00:00:00.000001Z", "local": "2026-03-29T02:30:00",
        "time": "23:59:59.999999", "key": "00000000-0000-0000-0000-000000000005",
        "raw": { "hex": "00ff" }, "state": "SENT", "note": null,
        "lines": [{ "sku": "a", "n": 1 }, { "sku": "ü", "n": -2 }], "tags": { "x": 1.5 },
        "f": 0.5, "ok": true, "next": null,
    });
    assert_eq!(Value::Object(decode(&schema, &bytes).unwrap()), expected);
    let named = columns(&schema);
    let words: Vec<_> = named
        .iter()
        .map(|(name, kind)| format!("{name} {}", sextant_data::content::type_name(kind)))
        .collect();
    let expected = "at timestamptz, day date, exact timestamptz, f double, id bigint, key text, \
                    lines text, local text, next text, note text, ok boolean, raw binary, \
                    small bigint, state text, tags text, tax decimal(6,3), time text, \
                    total decimal(10,2)";
    assert_eq!(words.join(", "), expected);
}

#[test]
fn a_record_that_is_cut_anywhere_is_no_record() {
    let (schema, mut bytes) = order();
    for end in 0..bytes.len() {
        assert!(decode(&schema, &bytes[..end]).is_err(), "cut to {end} bytes");
    }
    bytes.push(0);
    assert!(decode(&schema, &bytes).unwrap_err().reason.contains("left over"));
}

#[test]
fn what_is_out_of_range_says_so() {
    for (kind, bytes, expected) in [
        (r#""boolean""#, "02", "neither 0 nor 1"),
        (r#""int""#, "8080808010", "more than 32 bits"),
        (r#""long""#, "ffffffffffffffffffff01", "more than 64 bits"),
        (r#""string""#, "02ff", "not UTF-8"),
        (r#""string""#, "01", "negative"),
        (r#""bytes""#, "feffffffffffffffff01", "too early"),
        (r#""double""#, "000000000000f87f", "not a number"),
        (r#"["null","long"]"#, "04", "no such branch"),
        (r#"{"type":"enum","name":"E","symbols":["A"]}"#, "02", "no such symbol"),
        (r#"{"type":"int","logicalType":"time-millis"}"#, "01", "not within a day"),
        (r#"{"type":"array","items":"null"}"#, "feffffffffffffffff01", "more than 10160 values"),
        (r#"{"type":"fixed","name":"F","size":2}"#, "00", "too early"),
    ] {
        let reason = one(kind, bytes).unwrap_err();
        assert!(reason.contains(expected), "{kind}: {reason}");
    }
    // A type that holds itself, over and over.
    let deep = "02".repeat(500);
    assert!(one(r#"["null","R"]"#, &deep).unwrap_err().contains("deeper"));
}

#[test]
fn unusual_schemas_are_read_as_the_format_says() {
    for (kind, bytes, expected) in [
        (r#"{"type":"long","logicalType":"made up"}"#, "02", json!(1)),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":4}"#,
            "0207",
            json!({"hex": "07"}),
        ),
        (r#"{"type":"bytes","logicalType":"decimal","precision":5}"#, "04fffe", json!("-2")),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#,
            "00",
            json!("0.00"),
        ),
        (
            r#"{"type":{"type":"long","logicalType":"timestamp-nanos"}}"#,
            "01",
            json!("1969-12-31T23:59:59.999999Z"),
        ),
        (r#"["long","string","null"]"#, "020278", json!("x")),
        (r#"{"type":"array","items":"int"}"#, "0302020400", json!([1, 2])),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
            "00000000000000000000000000000005",
            json!("00000000-0000-0000-0000-000000000005"),
        ),
        (
            r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#,
            "010000000200000003000000",
            json!({"months": 1, "days": 2, "milliseconds": 3}),
        ),
    ] {
        assert_eq!(one(kind, bytes).unwrap(), expected, "{kind}");
    }
    for kind in [r#""Nowhere""#, "7", r#"{"items":"int"}"#, r#"{"type":"array"}"#] {
        assert!(one(kind, "00").is_err(), "{kind}");
    }
    let before = [r#"{"type":"enum","name":"shop.State","symbols":["NEW"]}"#.to_owned()];
    let text =
        r#"{"type":"record","name":"R","namespace":"shop","fields":[{"name":"s","type":"State"}]}"#;
    let schema = parse(text, &before).unwrap();
    assert_eq!(decode(&schema, &[0]).unwrap()["s"], "NEW");
    assert!(parse(text, &[]).is_err(), "without the schema that it refers to");
}
