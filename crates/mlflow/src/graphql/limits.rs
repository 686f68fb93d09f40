//! Is a query small enough? Counted before anything of it is understood, with MLflow's bounds.

use std::collections::{HashMap, HashSet, VecDeque};

use graphql_parser::query::{
    Definition, Document, Field, OperationDefinition, Selection, SelectionSet,
};

/// The text of a query; those of MLflow's pages have some thousand bytes.
pub(super) const QUERY_BYTES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 10;
const SELECTIONS_MAX: usize = 1000;
const ROOT_FIELDS_MAX: usize = 10;
const ALIASES_MAX: usize = 10;

/// The fragments of a document by name.
pub(super) type Fragments<'a> = HashMap<&'a str, &'a SelectionSet<'a, &'a str>>;

pub(super) fn fragments<'a>(document: &'a Document<'a, &'a str>) -> Fragments<'a> {
    let named = document.definitions.iter().filter_map(|definition| match definition {
        Definition::Fragment(fragment) => Some((fragment.name, &fragment.selection_set)),
        Definition::Operation(_) => None,
    });
    named.collect()
}

pub(super) fn operations<'a>(
    document: &'a Document<'a, &'a str>,
) -> impl Iterator<Item = &'a OperationDefinition<'a, &'a str>> {
    document.definitions.iter().filter_map(|definition| match definition {
        Definition::Operation(operation) => Some(operation),
        Definition::Fragment(_) => None,
    })
}

pub(super) const fn selected<'a>(
    operation: &'a OperationDefinition<'a, &'a str>,
) -> &'a SelectionSet<'a, &'a str> {
    match operation {
        OperationDefinition::SelectionSet(selected) => selected,
        OperationDefinition::Query(query) => &query.selection_set,
        OperationDefinition::Mutation(mutation) => &mutation.selection_set,
        OperationDefinition::Subscription(subscription) => &subscription.selection_set,
    }
}

/// Refuses a document that asks for too much, in words.
pub(super) fn check<'a>(document: &'a Document<'a, &'a str>) -> Result<(), String> {
    let fragments = fragments(document);
    let (mut roots, mut aliases, mut selections) = (0, 0, 0);
    for operation in operations(document) {
        let mut waiting = vec![(selected(operation), 1)];
        while let Some((set, depth)) = waiting.pop() {
            if depth > DEPTH_MAX {
                return Err(format!("Query exceeds maximum depth of {DEPTH_MAX}"));
            }
            let fields = flat(set, &fragments);
            aliases = aliases.max(fields.iter().filter(|field| field.alias.is_some()).count());
            selections += fields.len();
            if selections > SELECTIONS_MAX {
                return Err(format!("Query exceeds maximum total selections of {SELECTIONS_MAX}"));
            }
            if depth == 1 {
                roots += fields.len();
            }
            let deeper = fields.iter().map(|field| (&field.selection_set, depth + 1));
            waiting.extend(deeper.filter(|(set, _)| !set.items.is_empty()));
        }
    }
    let bounds = [
        (roots, ROOT_FIELDS_MAX, "root fields", "ROOT_FIELDS"),
        (aliases, ALIASES_MAX, "aliases", "ALIASES"),
    ];
    for (found, most, what, word) in bounds {
        if found > most {
            return Err(format!(
                "GraphQL queries should have at most {most} {what}, got {found} {what}. To increase the \
                 limit, set the MLFLOW_SERVER_GRAPHQL_MAX_{word} environment variable."
            ));
        }
    }
    Ok(())
}

/// The fields of one level, with those of the fragments in it, each fragment once.
fn flat<'a>(
    set: &'a SelectionSet<'a, &'a str>,
    fragments: &Fragments<'a>,
) -> Vec<&'a Field<'a, &'a str>> {
    let mut fields = Vec::new();
    let mut seen = HashSet::new();
    let mut waiting: VecDeque<&Selection<'a, &'a str>> = set.items.iter().collect();
    while let Some(selection) = waiting.pop_front() {
        match selection {
            Selection::Field(field) => fields.push(field),
            Selection::InlineFragment(inline) => waiting.extend(&inline.selection_set.items),
            Selection::FragmentSpread(spread) if seen.insert(spread.fragment_name) => {
                let found = fragments.get(spread.fragment_name);
                waiting.extend(found.into_iter().flat_map(|set| &set.items));
            }
            Selection::FragmentSpread(_) => {}
        }
    }
    fields
}
