//! A small project and the binary that works on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

pub const QUESTION: &str = "When is the spring tide?";

const PAGES: &[(&str, &str)] = &[
    (
        "tides.md",
        "# Tides\n\nThe tide rises twice a day. A spring tide follows the new moon and the full moon.\n\n\
         ## Book of heights\n\nThe keeper writes the height of each tide in a book that lies in the hut.\n",
    ),
    (
        "knots.md",
        "# Knots\n\nA bowline holds without slipping under any load. A sheet bend joins two ropes.\n",
    ),
    (
        "deep/lamps.md",
        "# Lamps\n\nRed lamps mark the port side of a channel and burn for a year.\n",
    ),
];

const SCHEMA: &str = "version: 2
models:
  - name: sections
    data_tests:
      - row_count:
          min: 1
    columns:
      - name: chunk
        data_tests: [not_null, unique]
";
const QUESTIONS: &str = r#"{"id":"q1","question":"When is the spring tide?","path":"tides.md","heading":"Tides"}
{"id":"q2","question":"Which knot joins two ropes?","path":"knots.md","heading":"Knots"}
"#;
const RELEASE: &str = "agent = \"assistant\"\nauto = true\n\n[[gate]]\nmetric = \"retrieval.bm25.ndcg@10\"\nmin = 0.1\n";

/// A project in a folder of its own that vanishes with it.
pub struct Project {
    pub folder: PathBuf,
    home: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it printed as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error that it printed as JSON: one object on the last line of stderr, nothing on stdout.
    pub fn error(&self) -> Value {
        assert_eq!(self.out, "", "an error leaves stdout empty");
        let line = self.err.lines().last().unwrap_or_default();
        let error: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        error["error"].clone()
    }
}

/// Runs the binary in a folder.
pub fn sextant(folder: &Path, arguments: &[&str]) -> Ended {
    Ended::of(command(folder, arguments).output().unwrap())
}

/// The command in a folder, to be started; `SEXTANT_TEST_BINARY` names another binary to test.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let binary = std::env::var_os("SEXTANT_TEST_BINARY");
    let mut command = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_sextant").into()));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    command.env_remove("SEXTANT_PROJECT").env_remove("SEXTANT_PROFILE");
    command
}

impl Project {
    /// Sources, SQL, prompt, index, evaluation, agent and release; nothing is built.
    pub fn bare() -> Self {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in PAGES {
            write(&home.path().join("pages").join(name), text);
        }
        let made = sextant(home.path(), &["init", "small", "--docs", "pages"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        let folder = home.path().join("small");
        fs::rename(home.path().join("pages"), folder.join("docs")).unwrap();
        assert!(!folder.join("train").exists(), "so little text trains nothing");
        let project = Self { folder, home };
        project.write(
            "sources/manual.toml",
            "type = \"files\"\npath = \"docs\"\ninclude = [\"**/*.md\"]\n",
        );
        project.write("models/schema.yml", SCHEMA);
        project.write("indexes/manual.toml", "from = \"sections\"\ntags = [\"search\"]\n");
        project.write(
            "evals/retrieval.toml",
            "questions = \"retrieval.jsonl\"\nindex = \"manual\"\nmodes = [\"bm25\"]\n",
        );
        project.write("evals/retrieval.jsonl", QUESTIONS);
        project.write(
            "agents/assistant.toml",
            "index = \"manual\"\nprompt = \"answer\"\nretrieval = \"bm25\"\neval = \"retrieval\"\n",
        );
        project.write("releases/assistant.toml", RELEASE);
        project
    }

    /// The same, built and released: a copy of one that was built once for all tests.
    pub fn built() -> Self {
        static BUILT: OnceLock<Project> = OnceLock::new();
        let original = BUILT.get_or_init(|| {
            let project = Self::bare();
            let built = project.run(&["build"]);
            assert_eq!(built.code, Some(0), "{built:?}");
            project
        });
        let home = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .args(["-a", "--"])
            .arg(&original.folder)
            .arg(home.path())
            .status()
            .unwrap();
        assert!(copied.success());
        Self { folder: home.path().join("small"), home }
    }

    /// Runs a command in the project.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        sextant(&self.folder, arguments)
    }

    /// Runs a command that must succeed; its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.json()
    }

    /// Runs a command that must end with this status and this code, which `explain` must know.
    pub fn refuses(&self, arguments: &[&str], exit: i32, code: &str) -> Value {
        refuses(&self.folder, arguments, exit, code)
    }

    /// Builds, which must fail with this status because of one asset; that asset's error.
    pub fn fails_to_build(&self, asset: &str, exit: i32, code: &str) -> Value {
        let ended = self.run(&["build", "--json"]);
        assert_eq!(ended.code, Some(exit), "{ended:?}");
        let report = ended.json();
        let assets = report["assets"].as_array().unwrap();
        let failed: Vec<_> = assets.iter().filter(|row| row["outcome"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{report}");
        assert_eq!(failed[0]["asset"], asset);
        assert_eq!(failed[0]["error"]["code"], code, "{}", failed[0]);
        explained(&self.folder, code, exit);
        failed[0]["error"].clone()
    }

    /// Nothing that was released is lost: it still answers, and the data folder is sound.
    pub fn still_answers(&self) {
        let answer = self.json(&["ask", QUESTION]);
        assert_eq!(answer["citations"][0]["path"], "tides.md", "{answer}");
        assert_eq!(self.json(&["fsck"])["problems"], Value::Array(Vec::new()));
    }

    pub fn write(&self, path: &str, text: &str) {
        write(&self.folder.join(path), text);
    }

    pub fn append(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, before + text).unwrap();
    }

    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let path = self.folder.join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{} has no `{from}`", path.display());
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub fn data(&self, path: &str) -> PathBuf {
        self.folder.join(".sextant").join(path)
    }

    /// A folder beside the project.
    pub fn outside(&self) -> &Path {
        self.home.path()
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        command(&self.folder, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The digest of the live release.
    pub fn live(&self) -> String {
        let list = self.json(&["release", "list"]);
        let rows = list["releases"].as_array().unwrap().clone();
        let live: Vec<_> = rows.iter().filter(|row| row["live"] == true).collect();
        assert_eq!(live.len(), 1, "exactly one release is live");
        live[0]["digest"].as_str().unwrap().to_owned()
    }

    /// Asset to outcome of a build of these selectors.
    pub fn outcomes(&self, selectors: &[&str]) -> std::collections::BTreeMap<String, String> {
        let report = self.json(&[&["build"], selectors].concat());
        let assets = report["assets"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        assets.iter().map(|row| (text(&row["asset"]), text(&row["outcome"]))).collect()
    }

    /// All files below a folder of the data folder.
    pub fn stored(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.data(below)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

/// Runs a command that must end with this status and this code.
pub fn refuses(folder: &Path, arguments: &[&str], exit: i32, code: &str) -> Value {
    let ended = sextant(folder, &[arguments, &["--json"]].concat());
    assert_eq!(ended.code, Some(exit), "{arguments:?}: {ended:?}");
    let error = ended.error();
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(error["exit"], exit, "{error}");
    assert!(!error["message"].as_str().unwrap().is_empty());
    explained(folder, code, exit);
    error
}

/// `explain` knows the code, has something to say, and promises the status that was seen.
fn explained(folder: &Path, code: &str, exit: i32) {
    let entry = sextant(folder, &["explain", code, "--json"]).json();
    assert_eq!(entry["exit"], exit, "{entry}");
    assert!(entry["help"].as_str().unwrap().len() > 20, "{entry}");
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
