//! Which functions of PostgreSQL do clients call before they query? Those, and no more. They say
//! what is true here: one database, one user, every listed table readable, nothing described.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray as _, BooleanArray, StringArray},
        compute::cast,
        datatypes::{DataType, Int64Type},
    },
    common::ScalarValue,
    logical_expr::{
        ColumnarValue, ScalarFunctionImplementation, ScalarUDF, Signature, SimpleScalarUDF,
        TypeSignature, Volatility,
    },
    prelude::SessionContext,
};

use super::catalog::{DATABASE, PUBLIC, TYPES, Tables, USER};

/// Functions whose answer is always the same text.
const TEXTS: &[(&str, Option<&str>)] = &[
    ("version", Some(concat!("PostgreSQL 15.0 (Sextant ", env!("CARGO_PKG_VERSION"), ")"))),
    ("current_catalog", Some(DATABASE)),
    ("current_database", Some(DATABASE)),
    ("current_schema", Some(PUBLIC)),
    ("current_user", Some(USER)),
    ("session_user", Some(USER)),
    ("user", Some(USER)),
    ("pg_get_userbyid", Some(USER)),
    ("pg_encoding_to_char", Some("UTF8")),
    ("col_description", None),
    ("obj_description", None),
    ("shobj_description", None),
    ("pg_get_constraintdef", None),
    ("pg_get_expr", None),
    ("pg_get_indexdef", None),
    ("pg_get_partkeydef", None),
    ("pg_get_serial_sequence", None),
    ("pg_get_statisticsobjdef_columns", None),
    ("pg_get_viewdef", None),
    ("pg_size_pretty", None),
];

/// Functions whose answer is always the same truth.
const TRUTHS: &[(&str, bool)] = &[
    ("has_any_column_privilege", true),
    ("has_column_privilege", true),
    ("has_database_privilege", true),
    ("has_schema_privilege", true),
    ("has_table_privilege", true),
    ("pg_function_is_visible", true),
    ("pg_is_in_recovery", false),
    ("pg_relation_is_publishable", false),
    ("pg_type_is_visible", true),
];

/// Sizes are not told.
const SIZES: &[&str] = &["pg_relation_size", "pg_table_size", "pg_total_relation_size"];

/// Makes them callable in this session.
pub(super) fn register(session: &SessionContext, tables: &Tables<'_>) {
    for (name, text) in TEXTS {
        constant(session, name, ScalarValue::Utf8(text.map(str::to_owned)));
    }
    for (name, truth) in TRUTHS {
        constant(session, name, ScalarValue::Boolean(Some(*truth)));
    }
    for name in SIZES {
        constant(session, name, ScalarValue::Int64(None));
    }
    let visible = tables.visible();
    add(
        session,
        "pg_table_is_visible",
        DataType::Boolean,
        by_oid(move |oid| is_visible(&visible, oid)),
    );
    add(session, "format_type", DataType::Utf8, Arc::new(format_type));
}

fn is_visible(visible: &BTreeSet<i64>, oid: Option<i64>) -> Option<bool> {
    oid.map(|oid| visible.contains(&oid))
}

fn constant(session: &SessionContext, name: &str, value: ScalarValue) {
    let returns = value.data_type();
    let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone()));
    add(session, name, returns, Arc::new(answer));
}

fn add(
    session: &SessionContext,
    name: &str,
    returns: DataType,
    answer: ScalarFunctionImplementation,
) {
    let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
    let signature = Signature::new(any, Volatility::Stable);
    let function = SimpleScalarUDF::new_with_signature(name, signature, returns, answer);
    session.register_udf(ScalarUDF::from(function));
}

fn oids(arguments: &[ColumnarValue]) -> datafusion::common::Result<ArrayRef> {
    let missing = || datafusion::common::plan_datafusion_err!("an oid is needed");
    let oids =
        ColumnarValue::values_to_arrays(arguments)?.into_iter().next().ok_or_else(missing)?;
    Ok(cast(&oids, &DataType::Int64)?)
}

fn by_oid(
    answer: impl Fn(Option<i64>) -> Option<bool> + Send + Sync + 'static,
) -> ScalarFunctionImplementation {
    Arc::new(move |arguments: &[ColumnarValue]| {
        let oids = oids(arguments)?;
        let answers: BooleanArray = oids.as_primitive::<Int64Type>().iter().map(&answer).collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    })
}

fn format_type(arguments: &[ColumnarValue]) -> datafusion::common::Result<ColumnarValue> {
    let oids = oids(arguments)?;
    let name =
        |oid: i64| TYPES.iter().find(|known| known.oid == oid).map_or("???", |known| known.long);
    let names: StringArray =
        oids.as_primitive::<Int64Type>().iter().map(|oid| oid.map(name)).collect();
    Ok(ColumnarValue::Array(Arc::new(names)))
}
