//! What does a query choose? Its fields with those of its fragments, each known to the schema. What is
//! wrong is told together, and then nothing is answered.

use std::collections::HashSet;

use graphql_parser::query::{
    Directive, Document, Field as Written, OperationDefinition, Selection, SelectionSet,
    TypeCondition, Value, VariableDefinition,
};
use serde_json::Map;

use super::{
    input::Variables,
    limits::{operations, selected},
    schema::{self, Field, Root, Type, camel},
};

/// A field that was chosen, with those within it.
#[derive(Debug)]
pub(super) struct Chosen<W> {
    /// Its name in the answer.
    pub(super) key: String,
    pub(super) what: What<W>,
    pub(super) within: Vec<Chosen<&'static Field>>,
}

#[derive(Debug, Clone)]
pub(super) enum What<W> {
    /// The name of the type that it is chosen from.
    TypeName(&'static str),
    This(W),
}

/// A question with the fields of the call that answers it; without any when it has no input.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) root: &'static Root,
    pub(super) input: Option<Map<String, serde_json::Value>>,
}

struct Planner<'a> {
    document: &'a Document<'a, &'a str>,
    variables: Variables<'a>,
    /// The fragments that we are in.
    open: Vec<&'a str>,
    used: HashSet<&'a str>,
    errors: Vec<String>,
}

/// What the operation of this name asks; the only one when there is no name.
pub(super) fn plan<'a>(
    document: &'a Document<'a, &'a str>,
    name: Option<&str>,
    sent: &'a Map<String, serde_json::Value>,
) -> Result<Vec<Chosen<Asked>>, Vec<String>> {
    let operation = operation(document, name).map_err(|error| vec![error])?;
    let (from, roots) = match operation {
        OperationDefinition::Mutation(_) => ("Mutation", schema::MUTATION),
        OperationDefinition::Subscription(_) => {
            let told = "Schema is not configured to execute subscription operation.";
            return Err(vec![told.to_owned()]);
        }
        _ => ("Query", schema::QUERY),
    };
    let (declared, directives) = head(operation);
    let variables = Variables::new(declared, sent);
    let mut planner =
        Planner { document, variables, open: Vec::new(), used: HashSet::new(), errors: Vec::new() };
    planner.directives(directives, &["component"]);
    let mut chosen = Vec::new();
    planner.level(selected(operation), from, &mut |planner, field| {
        planner.root(field, from, roots, &mut chosen);
    });
    if planner.errors.is_empty() {
        planner.end(document);
    }
    if planner.errors.is_empty() { Ok(chosen) } else { Err(planner.errors) }
}

fn operation<'a>(
    document: &'a Document<'a, &'a str>,
    name: Option<&str>,
) -> Result<&'a OperationDefinition<'a, &'a str>, String> {
    let mut all = operations(document);
    let Some(name) = name else {
        let first = all.next().ok_or("Must provide an operation.")?;
        return match all.next() {
            None => Ok(first),
            Some(_) => {
                Err("Must provide operation name if query contains multiple operations.".to_owned())
            }
        };
    };
    let named = |operation: &&OperationDefinition<'a, &'a str>| match operation {
        OperationDefinition::SelectionSet(_) => false,
        OperationDefinition::Query(query) => query.name == Some(name),
        OperationDefinition::Mutation(mutation) => mutation.name == Some(name),
        OperationDefinition::Subscription(subscription) => subscription.name == Some(name),
    };
    all.find(named).ok_or_else(|| format!("Unknown operation named '{name}'."))
}

/// The variables and directives of an operation.
fn head<'a>(
    operation: &'a OperationDefinition<'a, &'a str>,
) -> (&'a [VariableDefinition<'a, &'a str>], &'a [Directive<'a, &'a str>]) {
    match operation {
        OperationDefinition::Query(query) => (&query.variable_definitions, &query.directives),
        OperationDefinition::Mutation(mutation) => {
            (&mutation.variable_definitions, &mutation.directives)
        }
        _ => (&[], &[]),
    }
}

/// What is done with each field of a level.
type Each<'a, 'e> = dyn FnMut(&mut Planner<'a>, &'a Written<'a, &'a str>) + 'e;

impl<'a> Planner<'a> {
    /// Goes through the fields of one level, with those of the fragments in it.
    fn level(&mut self, set: &'a SelectionSet<'a, &'a str>, from: &str, each: &mut Each<'a, '_>) {
        let mut seen = HashSet::new();
        self.selections(set, from, &mut seen, each);
    }

    fn selections(
        &mut self,
        set: &'a SelectionSet<'a, &'a str>,
        from: &str,
        seen: &mut HashSet<&'a str>,
        each: &mut Each<'a, '_>,
    ) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => {
                    self.directives(&field.directives, &[]);
                    each(self, field);
                }
                Selection::InlineFragment(inline) => {
                    self.directives(&inline.directives, &[]);
                    if self.fits(inline.type_condition.as_ref(), from, "Fragment") {
                        self.selections(&inline.selection_set, from, seen, each);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.directives, &[]);
                    self.fragment(spread.fragment_name, from, seen, each);
                }
            }
        }
    }

    fn fragment(
        &mut self,
        name: &'a str,
        from: &str,
        seen: &mut HashSet<&'a str>,
        each: &mut Each<'a, '_>,
    ) {
        if self.open.contains(&name) {
            self.errors.push(format!("Cannot spread fragment '{name}' within itself."));
            return;
        }
        if !seen.insert(name) {
            return;
        }
        let document = self.document;
        let found = document.definitions.iter().find_map(|definition| match definition {
            graphql_parser::query::Definition::Fragment(found) if found.name == name => Some(found),
            _ => None,
        });
        let Some(found) = found else {
            self.errors.push(format!("Unknown fragment '{name}'."));
            return;
        };
        self.used.insert(name);
        self.directives(&found.directives, &[]);
        if self.fits(Some(&found.type_condition), from, &format!("Fragment '{name}'")) {
            self.open.push(name);
            self.selections(&found.selection_set, from, seen, each);
            self.open.pop();
        }
    }

    /// Whether a fragment is of the type that it stands in.
    fn fits(&mut self, on: Option<&TypeCondition<'a, &'a str>>, from: &str, what: &str) -> bool {
        match on {
            Some(TypeCondition::On(on)) if *on != from => {
                self.errors.push(format!(
                    "{what} cannot be spread here as objects of type '{from}' can never be of type \
                     '{on}'."
                ));
                false
            }
            _ => true,
        }
    }

    fn directives(&mut self, found: &[Directive<'a, &'a str>], known: &[&str]) {
        for directive in found.iter().filter(|found| !known.contains(&found.name)) {
            self.errors.push(format!("Unknown directive '@{}'.", directive.name));
        }
    }

    /// Chooses a question.
    fn root(
        &mut self,
        field: &'a Written<'a, &'a str>,
        from: &'static str,
        roots: &'static [&'static Root],
        chosen: &mut Vec<Chosen<Asked>>,
    ) {
        if field.name == "__typename" {
            let what = What::TypeName(from);
            chosen.push(Chosen { key: key(field), what, within: Vec::new() });
            return;
        }
        let Some(root) = roots.iter().find(|root| root.name == field.name) else {
            return self.unknown(field, from);
        };
        let Some(input) = self.argument(field, root, from) else { return };
        let key = key(field);
        let before = chosen.iter_mut().find(|chosen| chosen.key == key);
        let within = match before {
            None => {
                let what = What::This(Asked { root, input });
                chosen.push(Chosen { key, what, within: Vec::new() });
                chosen.last_mut()
            }
            Some(before) if before.what.asks(root, input.as_ref()) => Some(before),
            Some(_) => {
                self.errors.push(conflict(&key, "they have differing arguments"));
                None
            }
        };
        if let Some(within) = within {
            self.inner(field, &root.shows, root.shows.name, &mut within.within);
        }
    }

    /// What is given to a question; none when that is wrong.
    fn argument(
        &mut self,
        field: &'a Written<'a, &'a str>,
        root: &'static Root,
        from: &str,
    ) -> Option<Option<Map<String, serde_json::Value>>> {
        let mut given: Option<&'a Value<'a, &'a str>> = None;
        for (name, value) in &field.arguments {
            if *name != "input" {
                let told = format!("Unknown argument '{name}' on field '{from}.{}'.", field.name);
                self.errors.push(told);
                return None;
            }
            given = Some(value);
        }
        let Some(given) = given else { return Some(None) };
        match self.variables.input(root.input, given) {
            Ok(input) => Some(input),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    /// Chooses what stands within a field of a type.
    fn inner(
        &mut self,
        field: &'a Written<'a, &'a str>,
        of: &'static Type,
        shown: &str,
        chosen: &mut Vec<Chosen<&'static Field>>,
    ) {
        if field.selection_set.items.is_empty() {
            let name = field.name;
            self.errors.push(format!(
                "Field '{name}' of type '{shown}' must have a selection of subfields. Did you mean \
                 '{name} {{ ... }}'?"
            ));
            return;
        }
        self.level(&field.selection_set, of.name, &mut |planner, field| {
            planner.choose(field, of, chosen);
        });
    }

    fn choose(
        &mut self,
        field: &'a Written<'a, &'a str>,
        of: &'static Type,
        chosen: &mut Vec<Chosen<&'static Field>>,
    ) {
        let what = if field.name == "__typename" {
            What::TypeName(of.name)
        } else {
            match of.fields.iter().find(|(name, _)| camel(name) == field.name) {
                Some(found) => What::This(found),
                None => return self.unknown(field, of.name),
            }
        };
        if let Some((name, _)) = field.arguments.first() {
            let told = format!("Unknown argument '{name}' on field '{}.{}'.", of.name, field.name);
            self.errors.push(told);
            return;
        }
        let key = key(field);
        let at = match chosen.iter().position(|chosen| chosen.key == key) {
            Some(at) if chosen[at].what.is(&what) => at,
            Some(_) => {
                self.errors.push(conflict(&key, "they are different fields"));
                return;
            }
            None => {
                chosen.push(Chosen { key, what: what.clone(), within: Vec::new() });
                chosen.len() - 1
            }
        };
        let kind = match what {
            What::This((_, kind)) => *kind,
            What::TypeName(_) => schema::Kind::Text,
        };
        match kind.within() {
            Some(of) => self.inner(field, of, &kind.name(), &mut chosen[at].within),
            None if field.selection_set.items.is_empty() => {}
            None => self.errors.push(format!(
                "Field '{}' must not have a selection since type '{}' has no subfields.",
                field.name,
                kind.name()
            )),
        }
    }

    fn unknown(&mut self, field: &Written<'a, &'a str>, of: &str) {
        self.errors.push(format!("Cannot query field '{}' on type '{of}'.", field.name));
    }

    /// What can be said only when everything was seen and understood.
    fn end(&mut self, document: &'a Document<'a, &'a str>) {
        let mut fragments: Vec<&str> = super::limits::fragments(document).into_keys().collect();
        fragments.sort_unstable();
        let unused = fragments.iter().filter(|name| !self.used.contains(*name));
        self.errors.extend(unused.map(|name| format!("Fragment '{name}' is never used.")));
        let unused = self.variables.unused();
        self.errors.extend(unused.map(|name| format!("Variable '${name}' is never used.")));
    }
}

impl What<&'static Field> {
    /// Whether it is the same field.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::TypeName(_), Self::TypeName(_)) => true,
            (Self::This(one), Self::This(other)) => std::ptr::eq(*one, *other),
            _ => false,
        }
    }
}

impl What<Asked> {
    /// Whether it is the same question with the same input.
    fn asks(&self, root: &'static Root, input: Option<&Map<String, serde_json::Value>>) -> bool {
        match self {
            Self::TypeName(_) => false,
            Self::This(asked) => std::ptr::eq(asked.root, root) && asked.input.as_ref() == input,
        }
    }
}

fn key<'a>(field: &Written<'a, &'a str>) -> String {
    field.alias.unwrap_or(field.name).to_owned()
}

fn conflict(key: &str, why: &str) -> String {
    format!(
        "Fields '{key}' conflict because {why}. Use different aliases on the fields to fetch both if this \
         was intentional."
    )
}
