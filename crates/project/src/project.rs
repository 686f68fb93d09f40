//! Which files does a project have, and what do they describe? Walks the folders that the kinds
//! name and reads each file into its assets.
//!
//! The walk never leaves the project folder: a link that points outside is refused by name. Files
//! and folders whose names begin with a dot are not looked at.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use sextant_core::{Failure, Place, limits};

use crate::{
    Asset, AssetFile, AssetId, AssetKind, Config, ConfigError, Graph, GraphError, ReleaseSpec,
    config::{Lookup, load_config, read_project_file},
};

/// Deepest folder inside an asset folder.
const DEPTH_MAX: usize = 16;
/// The folder of the release files.
const RELEASES: &str = "releases";

/// A project folder, read whole.
pub struct Project {
    /// The folder, absolute.
    pub root: PathBuf,
    /// `sextant.toml` with its profile.
    pub config: Config,
    /// The assets and how they depend on each other.
    pub graph: Graph,
    /// `releases/*.toml`, by name.
    pub releases: Vec<ReleaseSpec>,
}

impl Project {
    /// Reads `sextant.toml`, all asset files and all release files.
    ///
    /// # Errors
    /// The first fault found, with its place.
    pub fn load(
        root: &Path,
        kinds: &[Arc<dyn AssetKind>],
        profile: Option<&str>,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let root = canonical_root(root)?;
        let config = load_config(&root, profile, lookup)?;
        let mut found = Found::read(&root, kinds, lookup);
        if !found.faults.is_empty() {
            return Err(found.faults.swap_remove(0));
        }
        let graph = Graph::new(found.assets)?;
        Ok(Self { root, config, graph, releases: found.releases })
    }

    /// Every fault of the asset and release files and of the graph.
    pub(crate) fn faults(
        root: &Path,
        kinds: &[Arc<dyn AssetKind>],
        lookup: Lookup<'_>,
    ) -> Vec<Failure> {
        let root = match canonical_root(root) {
            Ok(root) => root,
            Err(fault) => return vec![fault],
        };
        let found = Found::read(&root, kinds, lookup);
        let mut faults = found.faults;
        if faults.is_empty() {
            faults.extend(Graph::new(found.assets).err());
        }
        faults
    }

    /// The release description with this name.
    pub fn release(&self, name: &str) -> Option<&ReleaseSpec> {
        self.releases.iter().find(|release| release.name == name)
    }
}

fn canonical_root(root: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(root)
        .map_err(|source| ConfigError::Unreadable { path: root.to_owned(), source }.into())
}

/// What the folders hold.
#[derive(Default)]
struct Found {
    assets: Vec<(AssetFile, Arc<dyn Asset>)>,
    releases: Vec<ReleaseSpec>,
    faults: Vec<Failure>,
}

impl Found {
    fn read(root: &Path, kinds: &[Arc<dyn AssetKind>], lookup: Lookup<'_>) -> Self {
        let mut found = Self::default();
        let folders: BTreeSet<&str> = kinds.iter().map(|kind| kind.folder()).collect();
        for folder in folders {
            let mut files = Vec::new();
            if let Err(fault) = walk(root, Path::new(folder), 0, &mut files) {
                found.faults.push(fault);
            }
            let here: Vec<_> = kinds.iter().filter(|kind| kind.folder() == folder).collect();
            for path in files {
                found.read_file(root, &path, &here, lookup);
            }
        }
        let mut files = Vec::new();
        if let Err(fault) = walk(root, Path::new(RELEASES), 0, &mut files) {
            found.faults.push(fault);
        }
        for path in files.iter().filter(|path| has_extension(path, "toml")) {
            let spec = read_project_file(root, path, lookup)
                .and_then(|file| ReleaseSpec::from_file(&file));
            match spec {
                Ok(spec) => found.releases.push(spec),
                Err(fault) => found.faults.push(fault),
            }
        }
        found.releases.sort_by(|a, b| a.name.cmp(&b.name));
        if found.assets.len() > limits::PROJECT_ASSETS_MAX {
            let max = limits::PROJECT_ASSETS_MAX;
            let what = format!("{} assets, more than the {max} allowed", found.assets.len());
            found.faults.push(GraphError::TooMany { what }.into());
        }
        found
    }

    fn read_file(
        &mut self,
        root: &Path,
        path: &Path,
        kinds: &[&Arc<dyn AssetKind>],
        lookup: Lookup<'_>,
    ) {
        let extension = path.extension().and_then(|text| text.to_str()).unwrap_or_default();
        let readers: Vec<_> = kinds.iter().filter(|kind| kind.accepts(extension)).collect();
        if readers.is_empty() {
            return;
        }
        let file = match read_named(root, path, lookup) {
            Ok(file) => file,
            Err(fault) => return self.faults.push(fault),
        };
        for kind in readers {
            match kind.load(&file) {
                Ok(assets) => {
                    self.assets.extend(assets.into_iter().map(|asset| (file.clone(), asset)));
                }
                Err(fault) => self.faults.push(fault),
            }
        }
    }
}

/// Reads a file whose name can be an asset's name.
fn read_named(root: &Path, path: &Path, lookup: Lookup<'_>) -> Result<AssetFile, Failure> {
    let file = read_project_file(root, path, lookup)?;
    if let Err(message) = AssetId::of("x", &file.stem()) {
        let message = message.replace("`x/", "`");
        return Err(GraphError::BadName { place: file.place(None, None), message }.into());
    }
    Ok(file)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|text| text == extension)
}

/// Collects the files below a folder of the project, sorted; nothing when it does not exist.
fn walk(root: &Path, folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let whole = root.join(folder);
    if std::fs::symlink_metadata(&whole).is_err() {
        return Ok(());
    }
    stay_inside(root, folder)?;
    if depth > DEPTH_MAX {
        let what = format!("{} is more than {DEPTH_MAX} folders deep", folder.display());
        return Err(GraphError::TooMany { what }.into());
    }
    let unreadable = |source| ConfigError::Unreadable { path: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(&whole).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push((entry.file_name(), entry.file_type().map_err(unreadable)?));
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, kind) in entries {
        let path = folder.join(name);
        if kind.is_symlink() {
            stay_inside(root, &path)?;
        }
        if root.join(&path).is_dir() {
            walk(root, &path, depth + 1, files)?;
        } else {
            files.push(path);
        }
        if files.len() > 4 * limits::PROJECT_ASSETS_MAX {
            let what = format!("more than {} files in {}", files.len(), folder.display());
            return Err(GraphError::TooMany { what }.into());
        }
    }
    Ok(())
}

fn stay_inside(root: &Path, path: &Path) -> Result<(), Failure> {
    let real = std::fs::canonicalize(root.join(path))
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    if real.starts_with(root) {
        return Ok(());
    }
    Err(GraphError::OutsideRoot { path: path.to_owned() }.into())
}

/// The place of an input's name in a file: the first line that has the stem as a word.
pub(crate) fn place_of_word(file: &AssetFile, word: &str) -> Place {
    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    for (offset, _) in file.text.match_indices(word) {
        let before = file.text[..offset].chars().next_back();
        let after = file.text[offset + word.len()..].chars().next();
        if edge(before) && edge(after) {
            let (line, column) = crate::config::line_and_column(&file.text, offset);
            return file.place(Some(line), Some(column));
        }
    }
    file.place(None, None)
}
