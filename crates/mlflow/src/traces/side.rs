//! What does a name in a filter or an order of traces mean?

use super::super::{
    Refusal,
    refusal::invalid,
    search::{clause::no_name, lexer::Token},
};

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Attribute,
    Tag,
    Metadata,
    Span,
    Feedback,
    Expectation,
    Issue,
}

/// Names of sides.
const SIDES: &[(&str, Side)] = &[
    ("attribute", Side::Attribute),
    ("attributes", Side::Attribute),
    ("trace", Side::Attribute),
    ("tag", Side::Tag),
    ("tags", Side::Tag),
    ("request_metadata", Side::Metadata),
    ("metadata", Side::Metadata),
    ("span", Side::Span),
    ("feedback", Side::Feedback),
    ("expectation", Side::Expectation),
    ("issue", Side::Issue),
];

/// The side and the key that a name means, when the attributes are these.
pub(super) fn key_of(name: &Token, attributes: &[&str]) -> Result<(Side, String), Refusal> {
    let Token::Word { parts, .. } = name else { return Err(no_name(name)) };
    let (side, key) = match parts.split_first() {
        Some((entity, key)) if !key.is_empty() => {
            let side = SIDES.iter().find(|(known, _)| known == entity);
            let side = side.ok_or_else(|| {
                let known: Vec<String> =
                    SIDES.iter().map(|(name, _)| format!("'{name}'")).collect();
                invalid(format!(
                    "Invalid entity type '{entity}'. Valid values are {{{}}}",
                    known.join(", ")
                ))
            })?;
            (side.1, key.join("."))
        }
        _ => (Side::Attribute, parts.concat()),
    };
    if side == Side::Attribute && !attributes.contains(&key.as_str()) {
        let known: Vec<String> = attributes.iter().map(|name| format!("'{name}'")).collect();
        return Err(invalid(format!(
            "Invalid attribute key '{key}' specified. Valid keys are '{{{}}}'",
            known.join(", ")
        )));
    }
    Ok((side, key))
}
