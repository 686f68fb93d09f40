//! What does a condition of a filter compare? A side (an attribute, a metric, a parameter, a tag), an
//! operator and a value. Conditions are joined by AND; MLflow has neither OR nor parentheses.

use super::{
    super::{Refusal, refusal::invalid},
    lexer::{Token, tokens},
};

/// Conditions of one filter.
const CLAUSES_MAX: usize = 200;
/// Items of all lists of a filter.
const ITEMS_MAX: usize = 1000;

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Attribute,
    Metric,
    Param,
    Tag,
    Dataset,
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Meant {
    Text(String),
    Number(String),
    List(Vec<String>),
    /// `IS NULL` and `IS NOT NULL`.
    Nothing,
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Comparison {
    pub(super) side: Side,
    pub(super) key: String,
    /// In capitals.
    pub(super) operator: String,
    pub(super) meant: Meant,
}

impl Comparison {
    /// The number that it is compared with.
    pub(super) fn number(&self, what: &str) -> Result<f64, Refusal> {
        let told = match &self.meant {
            Meant::Number(number) => match number.parse() {
                Ok(number) => return Ok(number),
                Err(_) => number.clone(),
            },
            Meant::Text(text) => format!("'{text}'"),
            Meant::List(_) | Meant::Nothing => self.operator.clone(),
        };
        Err(invalid(format!("Expected numeric value type for {what}. Found {told}")))
    }

    /// The text that it is compared with.
    pub(super) fn text(&self, what: &str) -> Result<&str, Refusal> {
        let told = match &self.meant {
            Meant::Text(text) => return Ok(text),
            Meant::Number(number) => number.clone(),
            Meant::List(_) | Meant::Nothing => self.operator.clone(),
        };
        Err(invalid(format!(
            "Expected a quoted string value for {what} (e.g. 'my-value'). Got value {told}"
        )))
    }

    /// An operator that puts numbers in order.
    pub(super) fn ordering(&self) -> Result<&str, Refusal> {
        match self.operator.as_str() {
            operator @ ("=" | "!=" | "<" | "<=" | ">" | ">=") => Ok(operator),
            other => Err(invalid(format!(
                "Invalid comparator '{other}' not one of '{{'=', '!=', '<', '<=', '>', '>='}}'"
            ))),
        }
    }
}

/// A condition whose name was not looked at.
#[derive(Debug)]
pub(in super::super) struct Condition {
    pub(in super::super) name: Token,
    /// In capitals.
    pub(in super::super) operator: String,
    pub(in super::super) meant: Meant,
}

/// The conditions of a filter. `runs` says whether runs are searched, whose words differ a little.
pub(super) fn clauses(filter: &str, runs: bool) -> Result<Vec<Comparison>, Refusal> {
    let comparison = |condition: Condition| {
        let Condition { name, operator, meant } = condition;
        let (side, key) = key_of(&name, runs)?;
        Ok(Comparison { side, key, operator, meant })
    };
    conditions(filter, runs, &["LIKE", "ILIKE"])?.into_iter().map(comparison).collect()
}

/// The conditions of a filter with these words among the operators.
pub(in super::super) fn conditions(
    filter: &str,
    runs: bool,
    likes: &[&str],
) -> Result<Vec<Condition>, Refusal> {
    if filter.is_empty() {
        return Ok(Vec::new());
    }
    if filter.trim().is_empty() {
        return Err(invalid(format!("Invalid filter '{filter}'. Could not be parsed.")));
    }
    let words = tokens(filter)
        .map_err(|_| invalid(format!("Invalid clause(s) in filter string: '{filter}'")))?;
    if words.iter().any(|word| word.written() == ";") {
        let quote = if filter.contains('\'') { '"' } else { '\'' };
        return Err(invalid(format!(
            "Search filter contained multiple expression {quote}{filter}{quote}. Provide AND-ed expression list."
        )));
    }
    let parts = words.split(|word| word.is("AND"));
    let parts: Vec<&[Token]> = parts.filter(|part| !part.is_empty()).collect();
    if parts.len() > CLAUSES_MAX {
        return Err(invalid(format!("a filter has at most {CLAUSES_MAX} conditions")));
    }
    let found: Vec<Condition> =
        parts.into_iter().map(|part| condition(part, runs, likes)).collect::<Result<_, _>>()?;
    let items = found.iter().map(|one| match &one.meant {
        Meant::List(items) => items.len(),
        _ => 0,
    });
    if items.sum::<usize>() > ITEMS_MAX {
        return Err(invalid(format!("the lists of a filter have at most {ITEMS_MAX} items")));
    }
    Ok(found)
}

fn condition(part: &[Token], runs: bool, likes: &[&str]) -> Result<Condition, Refusal> {
    let keyword =
        part.iter().find(|word| word.is("OR") || word.is("NOT") && !part[1..].contains(word));
    if let Some(word) = keyword {
        return Err(unread(std::slice::from_ref(word), runs));
    }
    let Some((key, rest)) = part.split_first() else { return Err(unread(part, runs)) };
    // A condition the wrong way round is told as such.
    if rest.len() > 1 && !key.is_word() {
        return Err(no_name(key));
    }
    let (operator, meant) = match rest {
        [Token::Operator(operator), value] => {
            if !matches!(operator.as_str(), "=" | "!=" | "<" | "<=" | ">" | ">=") {
                return Err(unread(part, runs));
            }
            (operator.clone(), single(value).ok_or_else(|| unread(part, runs))?)
        }
        [word, value] if likes.iter().any(|like| word.is(like)) => {
            let meant = single(value).ok_or_else(|| unread(part, runs))?;
            (word.written().to_uppercase(), meant)
        }
        [word, Token::Group(list)] if word.is("IN") => ("IN".to_owned(), items(list)?),
        [not, word, Token::Group(list)] if not.is("NOT") && word.is("IN") => {
            ("NOT IN".to_owned(), items(list)?)
        }
        [is, null] if is.is("IS") && null.is("NULL") => ("IS NULL".to_owned(), Meant::Nothing),
        [is, not, null] if is.is("IS") && not.is("NOT") && null.is("NULL") => {
            ("IS NOT NULL".to_owned(), Meant::Nothing)
        }
        _ => return Err(unread(part, runs)),
    };
    Ok(Condition { name: key.clone(), operator, meant })
}

fn single(value: &Token) -> Option<Meant> {
    match value {
        Token::Text { text, .. } => Some(Meant::Text(text.clone())),
        Token::Number(number) => Some(Meant::Number(number.clone())),
        _ => None,
    }
}

fn items(list: &str) -> Result<Meant, Refusal> {
    let inner = list.get(1..list.len() - 1).unwrap_or_default();
    let other = || {
        invalid(format!(
            "While parsing a list in the query, expected string value, punctuation, or whitespace, but got \
             different type in list: {list}"
        ))
    };
    let mut items = Vec::new();
    for (place, word) in tokens(inner).map_err(|_| other())?.iter().enumerate() {
        match word {
            Token::Text { text, .. } if place % 2 == 0 => items.push(text.clone()),
            Token::Other(comma) if comma == "," && place % 2 == 1 => {}
            _ => return Err(other()),
        }
    }
    if items.is_empty() {
        return Err(invalid(
            "While parsing a list in the query, expected a non-empty list of string values, but got empty \
             list",
        ));
    }
    Ok(Meant::List(items))
}

/// The side and the key that a name means.
pub(super) fn key_of(name: &Token, runs: bool) -> Result<(Side, String), Refusal> {
    let Token::Word { parts, .. } = name else { return Err(no_name(name)) };
    let (entity, key) = match parts.split_first() {
        Some((entity, key)) if !key.is_empty() => (entity.as_str(), key.join(".")),
        _ => return Ok((Side::Attribute, parts.concat())),
    };
    let side = match entity {
        "attribute" | "attributes" | "attr" => Side::Attribute,
        "run" if runs => Side::Attribute,
        "tag" | "tags" => Side::Tag,
        "metric" | "metrics" if runs => Side::Metric,
        "param" | "params" | "parameter" | "parameters" if runs => Side::Param,
        "dataset" | "datasets" if runs => Side::Dataset,
        _ if runs => {
            return Err(invalid(format!(
                "Invalid entity type '{entity}'. Valid values are ['metric', 'parameter', 'tag', \
                 'attribute', 'dataset']"
            )));
        }
        _ => {
            return Err(invalid(format!(
                "Invalid entity type '{entity}'. Valid entity types are ('attribute', 'tag', 'tags')"
            )));
        }
    };
    Ok((side, key))
}

pub(in super::super) fn no_name(word: &Token) -> Refusal {
    invalid(format!("Invalid comparison clause. Expected 'Identifier' found '{}'", word.written()))
}

fn unread(words: &[Token], runs: bool) -> Refusal {
    let quoted = |word: &Token| match runs {
        true => format!("'{}'", word.written()),
        false => word.written().to_owned(),
    };
    let told: Vec<String> = words.iter().map(quoted).collect();
    invalid(format!("Invalid clause(s) in filter string: {}", told.join(", ")))
}
