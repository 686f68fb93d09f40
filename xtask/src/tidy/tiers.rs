//! Do imports point down? The tiers, the absences that define a crate, cycles with dev-dependencies
//! included, and dependencies that no file names.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Finding;
use crate::{
    house::House,
    source::words,
    workspace::{Member, Section, Workspace},
};

const EVERY: &[Section] = &[Section::Normal, Section::Dev, Section::Build];
const SHIPPED: &[Section] = &[Section::Normal, Section::Build];

/// The crates that have no tier because nothing is built on them.
const CHORES: &[&str] = &["xtask"];

fn manifest(member: &Member) -> String {
    format!("{}/Cargo.toml", member.folder.display())
}

/// Every import goes to a smaller tier.
pub fn edges(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        if CHORES.contains(&member.name.as_str()) {
            continue;
        }
        let Some(tier) = house.tiers.get(&member.name) else {
            let message = "has no tier: give it one in house.toml and a line in ARCHITECTURE.md";
            findings.push(Finding::error(&manifest(member), 0, message));
            continue;
        };
        for import in workspace.imports(member, EVERY) {
            let below = house.tiers.get(&import.name).is_some_and(|other| other < tier);
            if !below {
                let message = format!(
                    "`{}` must not import `{}`: imports point to a smaller tier, and app joins layers",
                    member.name, import.name
                );
                findings.push(Finding::error(&manifest(member), 0, message));
            }
        }
    }
    Ok(findings)
}

/// No crate reaches itself, tests included.
pub fn cycles(workspace: &Workspace, _house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        let direct: BTreeSet<_> = workspace.imports(member, EVERY).map(|m| &m.name).collect();
        let through = direct
            .into_iter()
            .find(|name| reach(workspace, name, EVERY).contains_key(member.name.as_str()));
        if let Some(through) = through {
            let message = format!("`{}` imports itself by way of `{through}`", member.name);
            findings.push(Finding::error(&manifest(member), 0, message));
        }
    }
    Ok(findings)
}

/// Every crate that `from` reaches, itself included, with the crate it was reached from.
pub fn reach<'a>(
    workspace: &'a Workspace,
    from: &'a str,
    sections: &'a [Section],
) -> BTreeMap<&'a str, &'a str> {
    let mut found = BTreeMap::from([(from, from)]);
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let Some(member) = workspace.members.get(name) else { continue };
        for import in workspace.imports(member, sections) {
            if !found.contains_key(import.name.as_str()) {
                found.insert(&import.name, name);
                open.push(&import.name);
            }
        }
    }
    found
}

/// What a crate must not know, it does not reach: our crates through any path, others as declared by
/// it or by one of ours below it.
pub fn absences(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, banned) in &house.must_not_know {
        let Some(member) = workspace.members.get(name) else { continue };
        // What sits above the layers reaches everything by design: there the ban is on its own words.
        let whole = house.tiers.get(name).is_none_or(|tier| *tier <= 3);
        let reached = reach(workspace, name, SHIPPED);
        for known in reached.keys().filter(|known| whole || **known == name) {
            let declared = workspace.members.get(*known).map(|m| &m.dependencies);
            for word in banned {
                let is_ours = known == word && word != name;
                let is_declared = SHIPPED
                    .iter()
                    .any(|s| declared.is_some_and(|d| d.contains(&(*s, word.clone()))));
                if is_ours || is_declared {
                    let message =
                        format!("`{name}` must not know `{word}`, but `{known}` brings it");
                    findings.push(Finding::error(&manifest(member), 0, message));
                }
            }
        }
    }
    Ok(findings)
}

/// A declared dependency is named by some file of the crate.
pub fn unused(workspace: &Workspace, house: &House) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in workspace.members.values() {
        for (_, package) in &member.dependencies {
            if house.unnamed_dependencies.contains_key(&format!("{}/{package}", member.name)) {
                continue;
            }
            let word = package.replace('-', "_");
            let used = member.files.iter().any(|f| words(&f.source.masked, &word).next().is_some());
            if !used {
                let message = format!("no file of `{}` names `{package}`: remove it", member.name);
                findings.push(Finding::error(&manifest(member), 0, message));
            }
        }
    }
    Ok(findings)
}
