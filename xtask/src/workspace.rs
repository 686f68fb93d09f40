//! What is in the tree? The crates with their dependencies as their manifests declare them, the Rust
//! files of each, and every text file that Git knows or would take.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::source::Source;

/// Where a dependency is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `[dependencies]`, also those of one target.
    Normal,
    /// `[dev-dependencies]`.
    Dev,
    /// `[build-dependencies]`.
    Build,
}

/// One crate of the workspace.
#[derive(Debug, Default)]
pub struct Member {
    /// Folder name: `data` holds the package `sextant-data`.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// Its folder relative to the root.
    pub folder: PathBuf,
    /// Names as declared, by section.
    pub dependencies: BTreeSet<(Section, String)>,
    /// Its Rust files.
    pub files: Vec<File>,
}

/// One Rust file.
#[derive(Debug)]
pub struct File {
    /// Relative to the root, with forward slashes.
    pub path: String,
    /// What is in it.
    pub source: Source,
    /// Whether it belongs to tests, benches, examples or a test module, not to the product.
    pub is_test: bool,
}

impl Section {
    const ALL: [(&'static str, Self); 3] = [
        ("dependencies", Self::Normal),
        ("dev-dependencies", Self::Dev),
        ("build-dependencies", Self::Build),
    ];
}

/// The tree as read.
#[derive(Debug)]
pub struct Workspace {
    /// The root folder.
    pub root: PathBuf,
    /// The crates, by folder name.
    pub members: BTreeMap<String, Member>,
    /// Every file that Git tracks or would take, relative to the root.
    pub tree: Vec<String>,
}

impl Workspace {
    /// Reads the tree below the root.
    pub fn read(root: &Path) -> Result<Self> {
        let mut members = BTreeMap::new();
        let mut folders = vec![PathBuf::from("xtask")];
        for entry in fs::read_dir(root.join("crates")).context("read crates/")? {
            folders.push(Path::new("crates").join(entry?.file_name()));
        }
        for folder in folders {
            if root.join(&folder).join("Cargo.toml").is_file() {
                let member = Member::read(root, &folder)?;
                members.insert(member.name.clone(), member);
            }
        }
        Ok(Self { root: root.to_owned(), members, tree: tree(root)? })
    }

    /// The folder name of the workspace crate that a package name stands for.
    pub fn member_of(&self, package: &str) -> Option<&Member> {
        self.members.values().find(|member| member.package == package)
    }

    /// The workspace crates that a crate imports in the given sections.
    pub fn imports<'a>(
        &'a self,
        member: &'a Member,
        sections: &'a [Section],
    ) -> impl Iterator<Item = &'a Member> {
        member
            .dependencies
            .iter()
            .filter(|(section, _)| sections.contains(section))
            .filter_map(|(_, package)| self.member_of(package))
    }
}

impl Member {
    fn read(root: &Path, folder: &Path) -> Result<Self> {
        let manifest = root.join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut member = Self::from_manifest(name.unwrap_or_default(), &text)
            .with_context(|| format!("parse {}", manifest.display()))?;
        folder.clone_into(&mut member.folder);
        let mut paths = Vec::new();
        rust_files(&root.join(folder), &mut paths)?;
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path)?;
            let relative = path.strip_prefix(root).unwrap_or(&path);
            member.files.push(File::new(&relative.to_string_lossy(), text));
        }
        member.mark_test_modules();
        Ok(member)
    }

    /// What a manifest declares.
    pub fn from_manifest(name: String, text: &str) -> Result<Self> {
        let table: toml::Table = text.parse()?;
        let package =
            table.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
        let mut member = Self {
            package: package.context("no package name")?.to_owned(),
            name,
            ..Self::default()
        };
        let mut tables = vec![&table];
        if let Some(targets) = table.get("target").and_then(toml::Value::as_table) {
            tables.extend(targets.values().filter_map(toml::Value::as_table));
        }
        for table in tables {
            for (key, section) in Section::ALL {
                let declared = table.get(key).and_then(toml::Value::as_table);
                for name in declared.into_iter().flat_map(|declared| declared.keys()) {
                    member.dependencies.insert((section, name.clone()));
                }
            }
        }
        Ok(member)
    }

    /// `#[cfg(test)] mod name;` makes `name.rs` and all below `name/` test code.
    fn mark_test_modules(&mut self) {
        let mut prefixes = Vec::new();
        for file in &self.files {
            let parent = Path::new(&file.path).with_extension("");
            let stem = parent.file_name().map(|stem| stem.to_string_lossy().into_owned());
            let folder = match stem.as_deref() {
                Some("lib" | "main" | "mod") => parent.parent().map(Path::to_owned),
                _ => Some(parent),
            };
            for module in &file.source.test_modules {
                if let Some(folder) = &folder {
                    prefixes.push(folder.join(module));
                }
            }
        }
        for file in &mut self.files {
            let path = Path::new(&file.path).with_extension("");
            file.is_test |= prefixes.iter().any(|prefix| path.starts_with(prefix));
        }
    }

    /// The files of the product itself.
    pub fn production(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| !file.is_test)
    }
}

impl File {
    /// Reads a file's text; its path decides whether it is test code.
    pub fn new(path: &str, text: String) -> Self {
        let path = path.replace('\\', "/");
        let is_test = path.ends_with("/tests.rs")
            || path.ends_with("_tests.rs")
            || ["/tests/", "/benches/", "/examples/", "/testing/"].iter().any(|p| path.contains(p));
        Self { path, source: Source::new(text), is_test }
    }
}

/// The root of the workspace that this program was built in, or the one around the current folder.
pub fn root() -> Result<PathBuf> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    if let Some(root) = built_in.filter(|root| root.join("house.toml").is_file()) {
        return Ok(root);
    }
    let here = std::env::current_dir()?;
    match here.ancestors().find(|folder| folder.join("house.toml").is_file()) {
        Some(root) => Ok(root.to_owned()),
        None => bail!("no house.toml above {}", here.display()),
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if path.is_dir() {
            if !matches!(name.as_deref(), Some("target" | "template" | "templates")) {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn tree(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("run git ls-files")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let exists = |path: &&str| !path.is_empty() && root.join(path).is_file();
    Ok(text.split('\0').filter(exists).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn manifests_are_read_with_their_sections() {
        let member = Member::from_manifest(
            "data".to_owned(),
            "[package]\nname='sextant-data'\n[dependencies]\nserde={workspace=true}\n[dev-dependencies]\nsextant-core={path='x'}\n[target.'cfg(unix)'.dependencies]\nrustix='1'",
        )
        .unwrap();
        let names: Vec<_> = member.dependencies.iter().map(|(s, n)| (*s, n.as_str())).collect();
        assert_eq!(
            names,
            [
                (Section::Normal, "rustix"),
                (Section::Normal, "serde"),
                (Section::Dev, "sextant-core")
            ]
        );
    }

    #[test]
    fn test_modules_in_their_own_file_are_test_code() {
        let mut member = Member {
            files: vec![
                File::new(
                    "crates/x/src/lib.rs",
                    "#[cfg(test)]\nmod harness;\nmod kept;".to_owned(),
                ),
                File::new("crates/x/src/harness.rs", String::new()),
                File::new("crates/x/src/harness/deep.rs", String::new()),
                File::new("crates/x/src/kept.rs", "#[cfg(test)]\nmod cases;".to_owned()),
                File::new("crates/x/src/kept/cases.rs", String::new()),
                File::new("crates/x/tests/it/main.rs", String::new()),
            ],
            ..Member::default()
        };
        member.mark_test_modules();
        let kept: Vec<_> = member.production().map(|file| file.path.as_str()).collect();
        assert_eq!(kept, ["crates/x/src/lib.rs", "crates/x/src/kept.rs"]);
    }
}
