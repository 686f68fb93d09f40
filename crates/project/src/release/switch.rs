//! How does another release begin to serve? By moving one pointer in one transaction, which is
//! refused when the pointer is not where the mover saw it.
//!
//! **Rollback** walks back through the releases that were live. The switches of a name form a
//! stack: a promotion puts its release on top (unless it is there already), a rollback takes the
//! top off. After promoting A, B and C, rolling back twice leads to B and then to A, not back to C;
//! promoting D then gives A, D, and rolling back from D leads to A.

use serde::Serialize;
use sextant_core::{ActivityKind, Digest, Failure, Timestamp};
use sextant_lineage::{Expect, Reader, Store};

use super::{ReleaseManifest, gate::last_verdict, live_name};
use crate::ReleaseError;

/// Shortest reason of a forced promotion, in characters.
const REASON_CHARS_MIN: usize = 3;
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

/// How to promote.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promote<'a> {
    /// Sets the gate aside, for this reason, which is kept in the audit trail.
    pub force: Option<&'a str>,
    /// What must be live at the moment of the switch; what is live now when not given.
    pub expect: Option<Expect>,
    /// Who asks, for the audit record.
    pub actor: Option<&'a str>,
}

/// One move of the live pointer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Switch {
    /// The release's name.
    pub name: String,
    /// `promote`, `force` or `rollback`.
    pub action: String,
    /// What was live before.
    pub from: Option<Digest>,
    /// What is live now.
    pub to: Digest,
    /// The reason of a forced promotion.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Makes a release live.
///
/// # Errors
/// When its gate has not been passed and no reason is given, or the pointer moved in between.
pub fn promote(store: &Store, digest: &Digest, how: Promote<'_>) -> Result<Switch, Failure> {
    crate::migrate(store)?;
    let reader = store.read()?;
    let (manifest, _) = ReleaseManifest::read(&reader, digest)?;
    let verdict = last_verdict(&reader, digest)?;
    let reason = match how.force.map(str::trim) {
        Some(reason) => {
            let length = reason.chars().count();
            if !(REASON_CHARS_MIN..=REASON_CHARS_MAX).contains(&length) {
                return Err(ReleaseError::BadReason.into());
            }
            reason
        }
        None if verdict.as_ref().is_some_and(|verdict| verdict.passed) => "",
        None => {
            let gate = if verdict.is_some() { "refused" } else { "none" }.to_owned();
            let release = manifest.name;
            return Err(ReleaseError::NotGated { release, digest: *digest, gate }.into());
        }
    };
    let action = if reason.is_empty() { "promote" } else { "force" };
    switch(store, &reader, &manifest.name, *digest, action, reason, how)
}

/// Makes the release live that was live before the present one. `opens` sees it first: where it
/// fails, the pointer stays.
///
/// # Errors
/// When there is no earlier one, it does not open, or the pointer moved in between.
pub fn rollback(
    store: &Store,
    name: &str,
    opens: impl FnOnce(&Digest) -> Result<(), Failure>,
) -> Result<Switch, Failure> {
    crate::migrate(store)?;
    let reader = store.read()?;
    let stack = stack(&reader, name)?;
    if stack.is_empty() {
        return Err(ReleaseError::Unknown { name: name.to_owned(), near: None }.into());
    }
    let earlier = stack.len().checked_sub(2).and_then(|index| stack.get(index));
    let Some(target) = earlier.copied() else {
        return Err(ReleaseError::NoEarlier { release: name.to_owned() }.into());
    };
    opens(&target)?;
    switch(store, &reader, name, target, "rollback", "", Promote::default())
}

fn switch(
    store: &Store,
    reader: &Reader,
    name: &str,
    to: Digest,
    action: &str,
    reason: &str,
    how: Promote<'_>,
) -> Result<Switch, Failure> {
    let pointer = live_name(name)?;
    let from = reader.name(&pointer)?;
    let seen = from.map_or(Expect::Absent, Expect::Is);
    let mut act = store.begin(ActivityKind::Deploy, format!("{action} release {name}"));
    if let Some(actor) = how.actor {
        act.by(actor);
    }
    act.used(to);
    act.note("action", action);
    act.note("from", from);
    act.note("to", to);
    if !reason.is_empty() {
        act.note("reason", reason);
    }
    act.point(&pointer, to, how.expect.unwrap_or(seen));
    let at = store.now();
    act.execute(
        "INSERT INTO project_switches (name, seq, action, target, reason, at, activity)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5, ?6
         FROM project_switches WHERE name = ?1",
        vec![name.into(), action.into(), to.into(), reason.into(), at.into(), act.id().into()],
    );
    act.commit()?;
    let (name, action, reason) = (name.to_owned(), action.to_owned(), reason.to_owned());
    Ok(Switch { name, action, from, to, reason, at })
}

/// All moves of the live pointer of a name, oldest first.
///
/// # Errors
/// When the catalog cannot be read.
pub fn switches(reader: &Reader, name: &str) -> Result<Vec<Switch>, Failure> {
    let sql = "SELECT action, target, reason, at FROM project_switches
               WHERE name = ?1 ORDER BY seq";
    let mut moves: Vec<Switch> = Vec::new();
    for row in reader.query(sql, &[name.into()])? {
        let from = moves.last().map(|earlier| earlier.to);
        moves.push(Switch {
            name: name.to_owned(),
            action: row.text(0)?.to_owned(),
            from,
            to: row.digest(1)?,
            reason: row.text(2)?.to_owned(),
            at: row.time(3)?,
        });
    }
    Ok(moves)
}

/// The releases that a rollback walks back through; the live one is on top.
fn stack(reader: &Reader, name: &str) -> Result<Vec<Digest>, Failure> {
    let mut stack: Vec<Digest> = Vec::new();
    for step in switches(reader, name)? {
        if step.action == "rollback" {
            stack.pop();
        } else if stack.last() != Some(&step.to) {
            stack.push(step.to);
        }
    }
    Ok(stack)
}
