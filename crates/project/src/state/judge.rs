//! Is one asset stale, and why? Compares what decides how it would be made now with what it was
//! made from.

use std::collections::BTreeMap;

use sextant_core::{Digest, Failure};

use super::VersionRow;
use crate::{Asset, AssetId, ProjectError, Refresh};

/// All that decides what a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The recipe.
    pub recipe: Digest,
    /// The inputs' versions.
    pub inputs: BTreeMap<AssetId, Digest>,
    /// What is read outside the project.
    pub outside: Option<Digest>,
}

/// Whether an asset must be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that decides it has changed.
    Fresh,
    /// It was never made.
    Never,
    /// It must be made again, for this reason.
    Stale(String),
    /// Its inputs changed, but its policy is to wait until it is named.
    Held(String),
}

impl Fingerprint {
    /// Asks the asset and looks up its inputs.
    ///
    /// # Errors
    /// When the asset cannot tell, or an input was never built.
    pub fn take(
        asset: &dyn Asset,
        inputs: &[AssetId],
        version: &dyn Fn(&AssetId) -> Option<Digest>,
    ) -> Result<Self, Failure> {
        let mut found = BTreeMap::new();
        for input in inputs {
            let digest = version(input).ok_or_else(|| ProjectError::InputMissing {
                asset: asset.id().clone(),
                input: input.clone(),
            })?;
            found.insert(input.clone(), digest);
        }
        Ok(Self { recipe: asset.recipe()?, inputs: found, outside: asset.outside()? })
    }
}

/// Compares the present with what the newest version was made from. `named` assets do not wait.
pub fn judge(
    asset: &dyn Asset,
    now: &Fingerprint,
    before: Option<&VersionRow>,
    named: bool,
) -> Verdict {
    let Some(before) = before else { return Verdict::Never };
    if now.recipe != before.recipe {
        return Verdict::Stale("recipe changed".to_owned());
    }
    if let Some(why) = changed_inputs(now, before) {
        return match asset.refresh() {
            Refresh::Manual if !named => Verdict::Held(why),
            Refresh::Manual | Refresh::Auto => Verdict::Stale(why),
        };
    }
    if now.outside != before.outside {
        let why = format!("what {} reads changed", asset.file().display());
        return Verdict::Stale(why);
    }
    Verdict::Fresh
}

fn changed_inputs(now: &Fingerprint, before: &VersionRow) -> Option<String> {
    let mut reasons = Vec::new();
    for (input, version) in &now.inputs {
        match before.inputs.get(input) {
            Some(old) if old == version => {}
            Some(old) => reasons.push(format!(
                "input {input} moved from {} to {}",
                old.short(),
                version.short()
            )),
            None => reasons.push(format!("input {input} is new")),
        }
    }
    let gone = before.inputs.keys().filter(|input| !now.inputs.contains_key(*input));
    reasons.extend(gone.map(|input| format!("input {input} was removed")));
    (!reasons.is_empty()).then(|| reasons.join(", "))
}
