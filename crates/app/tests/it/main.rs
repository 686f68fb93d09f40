//! The application as its callers see it, on a project that is small but whole: documents, sections,
//! an index without vectors, a prompt, an agent and a release. Nothing is trained.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod arrivals;
mod chain;
mod damage;
mod door;
mod ops;
mod pins;
mod releases;
mod tables;

use std::{fs, path::Path};

use serde_json::Value;
use sextant_app::{App, ChatAsk, Op, OpenProject};
use sextant_core::{ActivityId, Cancel, ExitKind, Failure, Silent};

const SECTIONS: &str = include_str!("../../../../template/assistant/models/sections.sql");
const PROMPT: &str = include_str!("../../../../template/assistant/prompts/answer.md");

const BRAKES: &str = "# Brakes\n\n## Service\n\nThe front brake pads of the tram are changed every \
                      900 hours of service.\n";
const DOORS: &str = "# Doors\n\n## Opening\n\nThe doors of the tram open only when the speed is \
                     below two kilometres per hour.\n";
pub const ON_BRAKES: &str = "When are the front brake pads changed?";
pub const ON_DOORS: &str = "When do the doors of the tram open?";

/// A project in a folder of its own.
pub struct World {
    pub folder: tempfile::TempDir,
    pub app: App,
}

impl World {
    /// The files and the open project; nothing is built yet.
    pub fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("sextant.toml", "[project]\nname = \"tram\"\n"),
            ("sources/manual.toml", "type = \"files\"\npath = \"docs\"\n"),
            ("models/sections.sql", SECTIONS),
            ("prompts/answer.md", PROMPT),
            ("indexes/manual.toml", "from = \"sections\"\n"),
            (
                "agents/assistant.toml",
                "index = \"manual\"\nprompt = \"answer\"\nretrieval = \"bm25\"\n",
            ),
            ("releases/assistant.toml", "agent = \"assistant\"\nauto = true\n"),
            ("docs/brakes.md", BRAKES),
            ("docs/doors.md", DOORS),
        ] {
            write(folder.path(), path, text);
        }
        let app = App::open(folder.path(), &OpenProject::default()).unwrap();
        Self { folder, app }
    }

    /// The project, built and released once.
    pub fn built() -> Self {
        let world = Self::fresh();
        let report = world.build();
        assert_eq!(report["failed"], 0, "{report}");
        assert_eq!(report["release"]["promoted"], true, "{report}");
        world
    }

    pub fn write(&self, path: &str, text: &str) {
        write(self.folder.path(), path, text);
    }

    pub fn run(&self, op: Op) -> Result<Value, Failure> {
        self.app.run(op, &Silent, &Cancel::new())
    }

    pub fn build(&self) -> Value {
        self.run(Op::Build { select: vec![], exclude: vec![], full: false }).unwrap()
    }

    /// Changes a page, builds, and returns the new live release.
    pub fn change(&self, hours: u32) -> String {
        self.write("docs/brakes.md", &BRAKES.replace("900", &hours.to_string()));
        let report = self.build();
        assert_eq!(report["release"]["promoted"], true, "{report}");
        self.live()
    }

    pub fn live(&self) -> String {
        self.app.pin(None).unwrap().1.to_string()
    }

    pub fn rollback(&self) -> Result<Value, Failure> {
        self.run(Op::Rollback { release: None })
    }

    pub fn ask(&self, question: &str) -> Value {
        self.run(Op::Ask { question: question.to_owned(), release: None }).unwrap()
    }

    pub fn ask_of(&self, release: &str) -> Result<Value, Failure> {
        let release = Some(release.to_owned());
        self.run(Op::Ask { question: ON_BRAKES.to_owned(), release })
    }

    pub fn why(&self, id: &str) -> Result<Value, Failure> {
        self.run(Op::Why { id: id.to_owned() })
    }

    pub fn impact(&self, id: &str) -> Result<Value, Failure> {
        self.run(Op::Impact { id: id.to_owned() })
    }

    /// What `fsck` says is wrong: part and words.
    pub fn problems(&self) -> Vec<String> {
        let report = self.run(Op::Fsck { repair: false }).unwrap();
        let problems = report["problems"].as_array().unwrap();
        problems.iter().map(|p| format!("{}: {}", p["part"], p["what"])).collect()
    }

    /// A conversation turn with the live release.
    pub fn chat_ask(&self, question: &str) -> ChatAsk {
        let (release_name, digest) = self.app.pin(None).unwrap();
        ChatAsk {
            answer: ActivityId::new(),
            release_name,
            release: digest.to_string(),
            question: question.to_owned(),
            history: Vec::new(),
            streamed: true,
        }
    }

    pub fn answers(&self) -> Vec<Value> {
        let list = self.run(Op::Answers { limit: 100, skip: 0 }).unwrap();
        list["answers"].as_array().unwrap().clone()
    }

    /// Closes the project and opens it again.
    pub fn reopen(self) -> Self {
        let Self { folder, app } = self;
        drop(app);
        let app = App::open(folder.path(), &OpenProject::default()).unwrap();
        Self { folder, app }
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn kind(result: Result<impl std::fmt::Debug, Failure>) -> ExitKind {
    result.unwrap_err().code().kind
}

/// Every node of a tree, the root first.
pub fn nodes(tree: &Value) -> Vec<&Value> {
    let mut found = vec![tree];
    for side in ["inputs", "outputs"] {
        for branch in tree[side].as_array().into_iter().flatten() {
            found.extend(nodes(&branch["node"]));
        }
    }
    found
}

pub fn kinds(tree: &Value) -> std::collections::BTreeSet<String> {
    nodes(tree).iter().map(|node| node["kind"].as_str().unwrap().to_owned()).collect()
}
