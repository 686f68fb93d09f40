//! On which machine and with which code did a run run? Read once per process, kept with the run.

use std::{path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};
use sextant_core::Digest;

use crate::files;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// The processor's name for itself.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes, when the system tells.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub os: String,
    /// The kernel's release, when the system tells.
    pub kernel: Option<String>,
}

/// The code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeFacts {
    /// Version of Sextant.
    pub version: String,
    /// Digest of the running program's file.
    pub binary: Option<Digest>,
    /// Commit of the project's repository, when it is one.
    pub commit: Option<String>,
}

/// The machine that this process runs on.
pub fn machine_facts() -> MachineFacts {
    static FACTS: OnceLock<MachineFacts> = OnceLock::new();
    let read = || {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        MachineFacts {
            cpu: field(&cpu, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_bytes: field(&memory, "MemTotal")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .map(|kib| kib * 1024),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: kernel.map(|text| text.trim().to_owned()),
        }
    };
    FACTS.get_or_init(read).clone()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
        .map(str::trim)
}

/// The code that runs, and the commit that the project folder is at.
pub fn code_facts(project: &Path) -> CodeFacts {
    static BINARY: OnceLock<Option<Digest>> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        let path = std::env::current_exe().ok()?;
        files::fact(&path).ok().map(|fact| fact.digest)
    });
    CodeFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        binary: *binary,
        commit: commit_of(project),
    }
}

/// The commit of the repository that holds `folder`, read from its files: no program is run.
fn commit_of(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|parent| parent.join(".git")).find(|path| path.is_dir())?;
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else {
        return commit_text(&head);
    };
    let plain =
        Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain {
        return None;
    }
    if let Ok(text) = std::fs::read_to_string(git.join(name)) {
        return commit_text(&text);
    }
    let packed = std::fs::read_to_string(git.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| commit_text(line.strip_suffix(name)?))
}

fn commit_text(text: &str) -> Option<String> {
    let text = text.trim();
    let whole = text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_commit_is_read_from_loose_and_packed_references() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        std::fs::create_dir_all(git.join("refs/heads")).unwrap();
        let (one, two) = ("a".repeat(40), "b".repeat(40));
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(commit_of(dir.path()), None);
        std::fs::write(git.join("packed-refs"), format!("# pack\n{one} refs/heads/main\n"))
            .unwrap();
        assert_eq!(commit_of(dir.path()), Some(one));
        std::fs::write(git.join("refs/heads/main"), format!("{two}\n")).unwrap();
        assert_eq!(commit_of(dir.path()), Some(two.clone()));
        std::fs::write(git.join("HEAD"), format!("{two}\n")).unwrap();
        assert_eq!(commit_of(dir.path()), Some(two));
        std::fs::write(git.join("HEAD"), "ref: ../../etc/passwd\n").unwrap();
        assert_eq!(commit_of(dir.path()), None);
    }

    #[test]
    fn the_machine_and_the_program_are_known() {
        let facts = machine_facts();
        assert!(facts.cores >= 1 && !facts.cpu.is_empty());
        assert!(code_facts(Path::new("/")).binary.is_some());
    }
}
