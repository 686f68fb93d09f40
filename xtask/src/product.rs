//! How is the real binary driven from outside? A small project in a temporary folder, commands run in
//! it, and what they print: nothing here links to the product's crates.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// No command on the small project needs this long; one that does hangs.
pub const COMMAND_SECONDS_MAX: u64 = 120;
/// How often a waiting loop looks.
const POLL: Duration = Duration::from_millis(2);
/// Longest answer of the server that is read.
const RESPONSE_BYTES_MAX: u64 = 4 << 20;

/// The pages the small project starts with: name, heading, text.
const PAGES: &[(&str, &str, &str)] = &[
    (
        "tides",
        "Tides",
        "The tide rises twice a day. A spring tide follows the new moon and the full moon.",
    ),
    (
        "lamps",
        "Lamps",
        "A lamp on a buoy burns for a year. Red lamps mark the port side of a channel.",
    ),
    (
        "knots",
        "Knots",
        "A bowline holds without slipping. A sheet bend joins two ropes of different thickness.",
    ),
    (
        "charts",
        "Charts",
        "A chart shows depth in metres. Soundings are corrected to the lowest tide of the year.",
    ),
];

/// One project folder and the binary that works on it.
#[derive(Debug, Clone)]
pub struct Project {
    /// The binary.
    pub binary: PathBuf,
    /// The project's folder.
    pub folder: PathBuf,
    /// Where the outputs of commands go; beside the project when not given.
    pub scratch: Option<PathBuf>,
}

/// How a finished command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; nothing when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// Whether it exited with 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Its stdout as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(self.stdout.trim())
            .with_context(|| format!("not JSON: {}", clip(&self.stdout)))
    }
}

/// The first part of a long text, for a message.
pub fn clip(text: &str) -> String {
    text.trim().chars().take(1500).collect()
}

/// A running command whose output goes to files, so that what it printed survives its death.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    since: Instant,
}

impl Running {
    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it ends or the time is over; true when it ended.
    pub fn wait(&mut self, at_most: Duration) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < at_most {
            if self.ended()? {
                return Ok(true);
            }
            std::thread::sleep(POLL);
        }
        self.ended()
    }

    /// SIGKILL. True when it was still alive.
    pub fn kill(&mut self) -> Result<bool> {
        let alive = !self.ended()?;
        if alive {
            self.child.kill().context("kill")?;
        }
        Ok(alive)
    }

    /// Waits for the end and reads what it printed.
    pub fn outcome(mut self) -> Result<Outcome> {
        let status = self.child.wait()?;
        let read = |path: &Path| fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned());
        Ok(Outcome {
            code: status.code(),
            stdout: read(&self.stdout)?,
            stderr: read(&self.stderr)?,
            took: self.since.elapsed(),
        })
    }
}

impl Project {
    /// A project made by `sextant init` over a few pages, with a training job of a few steps.
    pub fn create(binary: &Path, parent: &Path) -> Result<Self> {
        let maker = Self { binary: binary.to_owned(), folder: parent.to_owned(), scratch: None };
        let made = maker.run(&["init", "small"])?;
        if !made.ok() {
            bail!("sextant init failed: {}", clip(&made.stderr));
        }
        let project =
            Self { binary: binary.to_owned(), folder: parent.join("small"), scratch: None };
        project.replace_the_manual()?;
        project.shrink_training()?;
        Ok(project)
    }

    /// Our few pages and a question about each take the place of the template's manual.
    fn replace_the_manual(&self) -> Result<()> {
        let docs = self.folder.join("docs");
        fs::remove_dir_all(&docs)?;
        fs::create_dir_all(&docs)?;
        let mut questions = String::new();
        for (name, heading, text) in PAGES {
            self.write_page(name, heading, text)?;
            questions.push_str(&format!(
                "{{\"id\":\"{name}\",\"question\":\"More about {heading}?\",\"path\":\"{name}.md\",\"heading\":\"More about {heading}\"}}\n"
            ));
        }
        fs::write(self.folder.join("evals/retrieval.jsonl"), questions)?;
        Ok(())
    }

    fn shrink_training(&self) -> Result<()> {
        const SMALL: &[(&str, &str, i64)] = &[
            ("model", "hidden", 32),
            ("model", "layers", 1),
            ("model", "heads", 2),
            ("model", "vocab", 400),
            ("model", "max_tokens", 32),
            ("train", "steps", 24),
            ("train", "batch", 4),
            ("train", "warmup", 2),
            ("train", "checkpoint_every", 6),
        ];
        self.edit_toml("train", |table| {
            // A held model would be the model of older pages; here every change trains again.
            table.insert("refresh".to_owned(), "auto".into());
            for (section, key, value) in SMALL {
                let inner =
                    table.entry(*section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                if let Some(inner) = inner.as_table_mut() {
                    inner.insert((*key).to_owned(), (*value).into());
                }
            }
        })
    }

    /// Another seed for every training job.
    pub fn reseed(&self, seed: i64) -> Result<()> {
        self.edit_toml("train", |table| {
            if let Some(train) = table.get_mut("train").and_then(toml::Value::as_table_mut) {
                train.insert("seed".to_owned(), seed.into());
            }
        })
    }

    fn edit_toml(&self, folder: &str, edit: impl Fn(&mut toml::Table)) -> Result<()> {
        for entry in
            fs::read_dir(self.folder.join(folder)).with_context(|| format!("read {folder}/"))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let mut table: toml::Table = fs::read_to_string(&path)?.parse()?;
                edit(&mut table);
                fs::write(&path, toml::to_string(&table)?)?;
            }
        }
        Ok(())
    }

    /// Writes a page.
    pub fn write_page(&self, name: &str, heading: &str, text: &str) -> Result<()> {
        let path = self.folder.join("docs").join(format!("{name}.md"));
        fs::write(&path, page(heading, text)).with_context(|| path.display().to_string())
    }

    /// Deletes a page that is there.
    pub fn remove_page(&self, name: &str) -> Result<()> {
        let path = self.folder.join("docs").join(format!("{name}.md"));
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }

    /// A copy of what a user wrote, modification times kept, without the data folder.
    pub fn copy_sources(&self, to: &Path) -> Result<Self> {
        copy_folder(&self.folder, to)?;
        Ok(Self { binary: self.binary.clone(), folder: to.to_owned(), scratch: None })
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join(".sextant")
    }

    /// Starts a command, by way of a wrapper such as `strace` when one is given.
    pub fn start(
        &self,
        arguments: &[&str],
        wrapper: &[String],
        environment: &[(&str, &str)],
    ) -> Result<Running> {
        let scratch = self.scratch.clone().unwrap_or_else(|| self.folder.with_extension("out"));
        fs::create_dir_all(&scratch)?;
        let stamp = format!("{}-{}", arguments.first().unwrap_or(&""), std::process::id());
        let stdout = scratch.join(format!("{stamp}.stdout"));
        let stderr = scratch.join(format!("{stamp}.stderr"));
        let mut command = match wrapper.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("NO_COLOR", "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?);
        let child = command.spawn().with_context(|| format!("start {}", self.binary.display()))?;
        Ok(Running { child, stdout, stderr, since: Instant::now() })
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut running = self.start(arguments, &[], &[])?;
        if !running.wait(Duration::from_secs(COMMAND_SECONDS_MAX))? {
            running.kill()?;
            let outcome = running.outcome()?;
            bail!(
                "`sextant {}` did not end in {COMMAND_SECONDS_MAX} s: {}",
                arguments.join(" "),
                clip(&outcome.stderr)
            );
        }
        running.outcome()
    }

    /// Runs a command that must succeed and gives its JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut words = arguments.to_vec();
        words.push("--json");
        let outcome = self.run(&words)?;
        if !outcome.ok() {
            bail!(
                "`sextant {}` exited with {:?}: {}",
                words.join(" "),
                outcome.code,
                clip(&outcome.stderr)
            );
        }
        outcome.json()
    }

    /// Starts the server on a free port and waits for its address.
    pub fn serve(&self) -> Result<(Running, String)> {
        let note = self.data().join("server.json");
        // A server that was killed left its note behind.
        let _ = fs::remove_file(&note);
        let mut running = self.start(&["serve", "--port", "0"], &[], &[])?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if let Some(address) = fs::read_to_string(&note).ok().and_then(|text| address_in(&text))
            {
                return Ok((running, address));
            }
            if running.ended()? {
                bail!("the server did not start: {}", clip(&running.outcome()?.stderr));
            }
            std::thread::sleep(POLL);
        }
        running.kill()?;
        bail!("the server wrote no address in 30 s")
    }
}

/// `127.0.0.1:4711` out of the server's note, whatever its fields are called.
fn address_in(note: &str) -> Option<String> {
    let value: Value = serde_json::from_str(note).ok()?;
    let texts = value.as_object()?.values().filter_map(Value::as_str);
    let plain = texts.map(|text| text.trim_start_matches("http://").trim_end_matches('/'));
    plain.filter(|text| text.parse::<std::net::SocketAddr>().is_ok()).map(str::to_owned).next()
}

fn page(heading: &str, text: &str) -> String {
    format!(
        "# {heading}\n\n{text}\n\n## More about {heading}\n\n{text} That is all there is to say.\n"
    )
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != ".sextant" {
                copy_folder(&entry.path(), &target)?;
            }
        } else {
            fs::copy(entry.path(), &target)?;
            let times = entry.metadata()?.modified()?;
            File::options().write(true).open(&target)?.set_modified(times)?;
        }
    }
    Ok(())
}

/// One HTTP request with a JSON body; the status and the whole response, headers included.
pub fn post(address: &str, path: &str, body: &Value) -> Result<(u16, String)> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = Vec::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut response)?;
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("no HTTP status")?, response))
}

/// A value of a response's headers.
pub fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = response.split_once("\r\n\r\n")?;
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_note() {
        let note = r#"{"pid": 7, "url": "http://127.0.0.1:4711/", "started": "now"}"#;
        assert_eq!(address_in(note).as_deref(), Some("127.0.0.1:4711"));
        assert_eq!(address_in("{"), None);
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let response = "HTTP/1.1 200 OK\r\nX-Sextant-Answer: abc\r\n\r\nX-Other: no";
        assert_eq!(header(response, "x-sextant-answer"), Some("abc"));
        assert_eq!(header(response, "x-other"), None);
    }
}
