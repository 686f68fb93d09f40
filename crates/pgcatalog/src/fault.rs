//! Which SQLSTATE has an error of the engine, and where in the query is it?

use datafusion::{
    arrow::error::ArrowError,
    common::{DataFusionError, SchemaError},
};
use sextant_data::{DataError, describe, is_of_storage};
use sextant_sqlwire::SqlFault;

/// An error that is not of one query.
pub(super) fn fault(error: DataError) -> SqlFault {
    let state = match &error {
        DataError::StatementRefused { .. } => "25006",
        DataError::Sql { .. } => "42601",
        DataError::TooLarge { .. } => "54000",
        DataError::NotFound { .. } => "42P01",
        DataError::Cancelled => "57014",
        DataError::Table { .. } | DataError::Lineage(_) => "58030",
        _ => "XX000",
    };
    SqlFault::new(error, state)
}

/// An error of a query, with its place when the engine knows it.
pub(super) fn engine_fault(error: DataFusionError) -> SqlFault {
    if is_of_storage(&error) {
        return SqlFault::new(DataError::engine(error), "58030");
    }
    let state = state(error.find_root());
    let described = describe(&error);
    let at = described.line.zip(described.column);
    let error = if matches!(state, "XX000" | "53200") {
        DataError::Engine(described.message)
    } else {
        DataError::Sql { place: None, message: described.message, compiled: None }
    };
    SqlFault { at, ..SqlFault::new(error, state) }
}

fn state(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::SQL(..) => "42601",
        DataFusionError::SchemaError(error, _) => match **error {
            SchemaError::AmbiguousReference { .. } => "42702",
            _ => "42703",
        },
        DataFusionError::Plan(text) if text.contains("not found") => {
            if text.starts_with("table") {
                "42P01"
            } else {
                "42704"
            }
        }
        DataFusionError::Plan(text) if text.contains("Invalid function") => "42883",
        DataFusionError::Plan(_) => "42000",
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::ArrowError(error, _) => match **error {
            ArrowError::DivideByZero => "22012",
            ArrowError::ArithmeticOverflow(_) => "22003",
            _ => "22P02",
        },
        DataFusionError::Execution(_) => "22000",
        _ => "XX000",
    }
}
