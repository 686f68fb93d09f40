//! What does an error code mean? The catalogues of all crates in one list.

use serde_json::{Value, json};
use sextant_core::{Code, Failure};

use crate::{AppError, Op};

fn catalogues() -> [&'static [&'static Code]; 15] {
    [
        sextant_lineage::CODES,
        sextant_project::CODES,
        sextant_data::CODES,
        sextant_ingest::CODES,
        sextant_sqlwire::CODES,
        sextant_flightwire::CODES,
        sextant_weights::CODES,
        sextant_models::CODES,
        sextant_compute::CODES,
        sextant_track::CODES,
        sextant_mlflow::CODES,
        sextant_retrieve::CODES,
        sextant_agent::CODES,
        sextant_serve::CODES,
        crate::CODES,
    ]
}

/// Runs `explain`; needs no project.
///
/// # Errors
/// When no code has this number.
pub fn explain(op: &Op) -> Result<Value, Failure> {
    let Op::Explain { code } = op else {
        return Err(AppError::BadOp("only explain can be run without a project".to_owned()).into());
    };
    let digits: String = code.chars().filter(char::is_ascii_digit).collect();
    let number: Option<u16> = digits.parse().ok();
    let found = catalogues().into_iter().flatten().find(|entry| Some(entry.number) == number);
    let entry = found
        .copied()
        .or_else(|| server_code(number))
        .ok_or_else(|| AppError::not_found("error code", code, "codes look like SXT-1004"))?;
    Ok(json!({
        "code": entry.to_string(),
        "title": entry.title,
        "help": entry.help.split_whitespace().collect::<Vec<_>>().join(" "),
        "exit": entry.kind.exit_code(),
        "http": entry.kind.http_status(),
    }))
}

/// Codes of crates above this one, which register themselves.
static ABOVE: std::sync::OnceLock<&'static [&'static Code]> = std::sync::OnceLock::new();

/// Adds the catalogue of the server, which stands above this crate.
pub fn register_codes(codes: &'static [&'static Code]) {
    let _ = ABOVE.set(codes);
}

fn server_code(number: Option<u16>) -> Option<&'static Code> {
    let above = ABOVE.get().copied().unwrap_or_default();
    above.iter().find(|entry| Some(entry.number) == number).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_number_is_used_once() {
        let mut seen = std::collections::BTreeMap::new();
        for code in catalogues().into_iter().flatten() {
            if let Some(other) = seen.insert(code.number, code.title) {
                panic!("SXT-{:04} is both `{other}` and `{}`", code.number, code.title);
            }
        }
        assert!(seen.len() > 60);
    }

    #[test]
    fn codes_are_found_however_they_are_written() {
        for text in ["SXT-1004", "sxt-1004", "1004"] {
            let result = explain(&Op::Explain { code: text.to_owned() }).unwrap();
            assert_eq!(result["exit"], 5, "{text}");
        }
        assert!(explain(&Op::Explain { code: "SXT-9999".to_owned() }).is_err());
    }
}
