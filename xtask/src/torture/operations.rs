//! What is killed? The operations a user runs: a page changed and built, a training from scratch, a
//! question, a promotion, a rollback, and a server in the middle of answering.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{checks, checks::Ledger, random::Random, stop};
use crate::product::{Project, header, post};

/// How long a server is left to answer at most before it is killed, in milliseconds.
const SERVER_LIFE_MS_MAX: usize = 1200;

/// The header that carries an answer's id.
const ANSWER_HEADER: &str = "x-sextant-answer-id";

const QUESTIONS: &[&str] = &[
    "When is the spring tide?",
    "Which side do red lamps mark?",
    "How do I join two ropes?",
    "What does a chart show?",
    "Who won the cup?",
];

/// One kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A page is changed, added or deleted, then built.
    Build,
    /// A training job gets another seed, then everything is built.
    Train,
    /// A question on the command line.
    Ask,
    /// An older release is made live.
    Promote,
    /// Back to the release before.
    Rollback,
    /// A running server answers several callers.
    Server,
}

impl Operation {
    /// By weight: building and answering are what users do most.
    const WEIGHTED: &[Self] = &[
        Self::Build,
        Self::Build,
        Self::Build,
        Self::Train,
        Self::Train,
        Self::Ask,
        Self::Ask,
        Self::Promote,
        Self::Rollback,
        Self::Server,
        Self::Server,
    ];

    /// The next one.
    pub fn pick(random: &mut Random) -> Self {
        Self::WEIGHTED[random.below(Self::WEIGHTED.len())]
    }

    /// The word for the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Train => "train",
            Self::Ask => "ask",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Server => "server",
        }
    }

    /// Exit statuses that are a plain refusal: no older release to go to, a gate that says no.
    pub fn may_refuse(self, code: Option<i32>) -> bool {
        matches!(self, Self::Promote | Self::Rollback) && matches!(code, Some(3..=5))
    }
}

/// Changes the sources as the operation wants and gives the command to run.
pub fn prepare(
    operation: Operation,
    project: &Project,
    random: &mut Random,
) -> Result<Vec<String>> {
    let words: &[&str] = match operation {
        Operation::Build => {
            change_pages(project, random)?;
            &["build", "--json"]
        }
        Operation::Train => {
            project.reseed(i64::try_from(random.below(1_000_000)).unwrap_or(1))?;
            &["build", "--json"]
        }
        Operation::Ask => &["ask", QUESTIONS[random.below(QUESTIONS.len())], "--json"],
        Operation::Promote => return promotion(project, random),
        Operation::Rollback => &["rollback", "--json"],
        Operation::Server => &[],
    };
    Ok(words.iter().map(|word| (*word).to_owned()).collect())
}

fn change_pages(project: &Project, random: &mut Random) -> Result<()> {
    let number = random.below(5);
    let name = format!("extra-{number}");
    let there = project.folder.join("docs").join(format!("{name}.md")).exists();
    if there && random.below(3) == 0 {
        return project.remove_page(&name);
    }
    let mark = random.below(1_000_000);
    let text =
        format!("Station {number} keeps {mark} lanterns. The keeper counts them each spring tide.");
    project.write_page(&name, &format!("Station {number}"), &text)
}

fn promotion(project: &Project, random: &mut Random) -> Result<Vec<String>> {
    let releases = checks::releases(&project.json(&["release", "list"])?)?;
    let digests: Vec<_> =
        releases.iter().filter_map(|r| r.get("digest").and_then(Value::as_str)).collect();
    let Some(digest) = digests.get(random.below(digests.len())) else {
        bail!("there is no release to promote");
    };
    let words = ["release", "promote", digest, "--force", "torture", "--json"];
    Ok(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Starts a server, lets two callers ask, kills it at a random moment; what was answered in full was
/// acknowledged.
pub fn kill_server(project: &Project, random: &mut Random, ledger: &mut Ledger) -> Result<bool> {
    let release = checks::live_name(project)?;
    let (mut running, address) = project.serve()?;
    let life = Duration::from_millis(u64::try_from(random.below(SERVER_LIFE_MS_MAX)).unwrap_or(0));
    let first = random.below(QUESTIONS.len());
    let over = AtomicBool::new(false);
    let ids = Mutex::new(Vec::new());
    let wrong = Mutex::new(None);
    std::thread::scope(|scope| {
        for caller in 0..2 {
            let (over, ids, wrong, address, release) = (&over, &ids, &wrong, &address, &release);
            scope.spawn(move || {
                let mut turn = first + caller;
                while !over.load(Ordering::SeqCst) {
                    match ask(address, release, QUESTIONS[turn % QUESTIONS.len()]) {
                        Ok(Some(id)) => ids.lock().map(|mut ids| ids.push(id)).unwrap_or(()),
                        Ok(None) => {}
                        Err(error) => wrong.lock().map(|mut w| *w = Some(error)).unwrap_or(()),
                    }
                    turn += 1;
                }
            });
        }
        let alive = running.wait(life).map(|ended| !ended);
        let killed = running.kill();
        over.store(true, Ordering::SeqCst);
        alive.and(killed)
    })?;
    let outcome = stop(running)?;
    for id in ids.into_inner().unwrap_or_default() {
        ledger.add(id);
    }
    if let Some(error) = wrong.into_inner().unwrap_or_default() {
        bail!("{error:#}; the server said: {}", outcome.stderr);
    }
    if outcome.code.is_some() {
        bail!("the server ended by itself with {:?}: {}", outcome.code, outcome.stderr);
    }
    Ok(true)
}

/// One question over HTTP. No answer at all is what a kill looks like; a whole answer without an id,
/// or an error status other than overload, is wrong.
fn ask(address: &str, release: &str, question: &str) -> Result<Option<String>> {
    let body = json!({ "model": release, "messages": [{ "role": "user", "content": question }] });
    let Ok((status, response)) = post(address, "/v1/chat/completions", &body) else {
        return Ok(None);
    };
    if matches!(status, 429 | 503) {
        return Ok(None);
    }
    if status != 200 {
        bail!("HTTP {status}: {}", crate::product::clip(&response));
    }
    let Some((_, body)) = response.split_once("\r\n\r\n") else { return Ok(None) };
    if serde_json::from_str::<Value>(body.trim()).is_err() {
        // Cut off in the middle of the body: the caller cannot take this for an answer.
        return Ok(None);
    }
    match header(&response, ANSWER_HEADER) {
        Some(id) => Ok(Some(id.to_owned())),
        None => bail!("an answer without the header {ANSWER_HEADER}"),
    }
}
