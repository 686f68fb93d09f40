//! Where are the files of MLflow's own pages? In an installed `mlflow` package; nothing of them is here.

use std::{
    env, fs,
    path::{Component, Path, PathBuf},
};

use crate::limits::PAGES_FILE_BYTES_MAX;

/// Where the package keeps them.
const WITHIN: &str = "server/js/build";
const FIRST: &str = "index.html";

/// The folder of MLflow's own pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlflowPages {
    /// Without links, so that what lies outside of it can be told.
    folder: PathBuf,
    version: Option<String>,
}

impl MlflowPages {
    /// Those of a package's folder, of a virtual environment, or of the folder that has `index.html`.
    pub fn at(path: &Path) -> Option<Self> {
        let of_package = |package: PathBuf| Self::of(&package.join(WITHIN), Some(&package));
        Self::of(path, None)
            .or_else(|| of_package(path.to_owned()))
            .or_else(|| of_package(path.join("mlflow")))
            .or_else(|| packages(path).find_map(of_package))
    }

    /// Those of the active virtual environment, else of the first Python on the path that has some.
    pub fn installed() -> Option<Self> {
        let active = env::var_os("VIRTUAL_ENV").map(PathBuf::from);
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path)
            .filter(|folder| folder.join("python3").exists())
            .filter_map(|folder| folder.parent().map(Path::to_owned));
        let own = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
        let mut roots = active.into_iter().chain(on_path).chain(own);
        roots.find_map(|root| Self::at(&root))
    }

    fn of(folder: &Path, package: Option<&Path>) -> Option<Self> {
        let folder = folder.canonicalize().ok().filter(|folder| folder.join(FIRST).is_file())?;
        Some(Self { folder, version: package.and_then(version) })
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The version of the package, when its folder says it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// A file's bytes; none when there is no such file in the folder.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let path = Path::new(path);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        // A link may lead out of the folder.
        let found = self.folder.join(path).canonicalize().ok()?;
        let inside = plain && found.starts_with(&self.folder);
        let facts = fs::metadata(&found).ok().filter(fs::Metadata::is_file)?;
        if inside && facts.len() <= PAGES_FILE_BYTES_MAX { fs::read(found).ok() } else { None }
    }

    /// The page that loads all others.
    pub(super) fn first(&self) -> Option<Vec<u8>> {
        self.read(FIRST)
    }
}

/// The folders of the package in a virtual environment or another root of Python.
fn packages(root: &Path) -> impl Iterator<Item = PathBuf> {
    let versions = fs::read_dir(root.join("lib")).into_iter().flatten().flatten();
    let pythons =
        versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    pythons.flat_map(|python| {
        ["site-packages", "dist-packages"].map(|folder| python.path().join(folder).join("mlflow"))
    })
}

/// The version that the folder beside a package has in its name.
fn version(package: &Path) -> Option<String> {
    fs::read_dir(package.parent()?).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_prefix("mlflow-")?.strip_suffix(".dist-info")?.to_owned())
    })
}

/// A file's type by its name.
pub(super) fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/vnd.microsoft.icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "eot" => "application/vnd.ms-fontobject",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pages_are_found_in_what_a_person_points_at() {
        let root = tempfile::tempdir().unwrap();
        let packages = root.path().join("lib/python3.11/site-packages");
        let build = packages.join("mlflow").join(WITHIN);
        fs::create_dir_all(&build).unwrap();
        fs::create_dir(packages.join("mlflow-3.17.2.dist-info")).unwrap();
        assert_eq!(MlflowPages::at(root.path()), None, "a folder without the first page");
        fs::write(build.join(FIRST), "<html>").unwrap();
        for (path, version) in [
            (root.path(), Some("3.17.2")),
            (&packages, Some("3.17.2")),
            (&packages.join("mlflow"), Some("3.17.2")),
            (&build, None),
        ] {
            let found = MlflowPages::at(path).unwrap();
            assert_eq!(found.folder(), build.canonicalize().unwrap(), "{path:?}");
            assert_eq!(found.version(), version, "{path:?}");
        }
        assert_eq!(MlflowPages::at(&root.path().join("lib")), None);
    }

    #[test]
    fn only_files_of_the_folder_are_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("build");
        fs::create_dir_all(folder.join("static/js")).unwrap();
        for (path, text) in
            [("build/index.html", "first"), ("build/static/js/a.js", "a"), ("secret", "s")]
        {
            fs::write(root.path().join(path), text).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root.path().join("secret"), folder.join("out.js")).unwrap();
            std::os::unix::fs::symlink(folder.join("index.html"), folder.join("in.html")).unwrap();
        }
        let pages = MlflowPages::at(&folder).unwrap();
        for (path, expected) in [
            ("index.html", Some("first")),
            ("static/js/a.js", Some("a")),
            ("in.html", Some("first")),
            ("out.js", None),
            ("../secret", None),
            ("static/../index.html", None),
            ("static/../../secret", None),
            ("/etc/hostname", None),
            ("static", None),
            ("a\0b", None),
            ("", None),
        ] {
            assert_eq!(pages.read(path).as_deref(), expected.map(str::as_bytes), "{path:?}");
        }
    }
}
