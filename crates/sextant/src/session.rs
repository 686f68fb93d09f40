//! Who does the work? A running server where one holds the data folder, this process where none
//! does: the same operation either way.

use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use serde_json::Value;
use sextant_app::{App, Op, OpenProject, find_project};
use sextant_core::{Cancel, Event, Events, ExitKind, limits};

use crate::{cli::Global, trouble::Trouble};

/// A way to run operations.
pub enum Session {
    /// In this process.
    Local(Box<App>),
    /// In the server that holds the data folder.
    Remote(Remote),
}

/// A running server.
pub struct Remote {
    address: String,
    key: Option<String>,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Session {
    /// Finds the project and whoever holds its data folder.
    pub fn open(global: &Global) -> Result<Self, Trouble> {
        let root = project_root(global)?;
        let options = OpenProject { profile: global.profile.clone() };
        if let Some(remote) = Remote::find(&sextant_app::data_dir(&root, &options)?)? {
            return Ok(Self::Remote(remote));
        }
        Ok(Self::Local(Box::new(App::open(&root, &options)?)))
    }

    /// Runs an operation to its end.
    pub fn run(&self, op: &Op, events: &dyn Events, cancel: &Cancel) -> Result<Value, Trouble> {
        match self {
            Self::Local(app) => Ok(app.run(op.clone(), events, cancel)?),
            Self::Remote(remote) => remote.run(op, events, cancel),
        }
    }
}

/// The project's folder: as given, or found upwards from here.
pub fn project_root(global: &Global) -> Result<PathBuf, Trouble> {
    let start = match &global.project {
        Some(dir) => dir.clone(),
        None => std::env::current_dir().map_err(|error| io_trouble("find this folder", &error))?,
    };
    Ok(find_project(&start, global.project.is_some())?)
}

/// A failure of the operating system.
pub fn io_trouble(action: &str, error: &std::io::Error) -> Trouble {
    Trouble::new("SXT-8001", ExitKind::Failure, format!("cannot {action}: {error}"))
}

impl Remote {
    /// The server that wrote `server.json`, if it lives. One that was killed left its note behind,
    /// and who listens at that address now may be a stranger: without a holder of the data folder,
    /// nobody is asked.
    fn find(data_dir: &Path) -> Result<Option<Self>, Trouble> {
        if !sextant_app::is_held(data_dir) {
            return Ok(None);
        }
        let Ok(text) = std::fs::read_to_string(data_dir.join("server.json")) else {
            return Ok(None);
        };
        let Ok(record) = serde_json::from_str::<Value>(&text) else { return Ok(None) };
        let Some(address) = record["addr"].as_str() else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| io_trouble("start the client", &error))?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| unreachable(address, &error.to_string()))?;
        let key = std::fs::read_to_string(data_dir.join("admin.key")).ok();
        let key = key.map(|key| key.trim().to_owned());
        let remote = Self { address: address.to_owned(), key, runtime, client };
        Ok(remote.lives().then_some(remote))
    }

    fn lives(&self) -> bool {
        self.runtime.block_on(async {
            let request = self
                .client
                .get(format!("http://{}/livez", self.address))
                .timeout(std::time::Duration::from_secs(5));
            request.send().await.is_ok_and(|response| response.status().is_success())
        })
    }

    fn run(&self, op: &Op, events: &dyn Events, cancel: &Cancel) -> Result<Value, Trouble> {
        self.runtime.block_on(async {
            let mut request =
                self.client.post(format!("http://{}/api/v1/ops", self.address)).json(op);
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            let response = request
                .send()
                .await
                .map_err(|error| unreachable(&self.address, &error.to_string()))?;
            if !response.status().is_success() {
                let status = response.status();
                let body: Value = response.json().await.unwrap_or_default();
                return Err(refused(status, &body["error"]));
            }
            self.follow(response, events, cancel).await
        })
    }

    /// Reads the server's lines: events as they come, then the result or the error.
    async fn follow(
        &self,
        response: reqwest::Response,
        events: &dyn Events,
        cancel: &Cancel,
    ) -> Result<Value, Trouble> {
        let mut stream = response.bytes_stream();
        let mut buffer = Vec::new();
        loop {
            let chunk = tokio::select! {
                chunk = stream.next() => chunk,
                () = raised(cancel) => {
                    anstream::eprintln!(
                        "the server goes on with what it began; `sextant status` shows the result"
                    );
                    return Err(Trouble::new("SXT-8002", ExitKind::Failure, "cancelled"));
                }
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|error| unreachable(&self.address, &error.to_string()))?;
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if let Some(outcome) = take_line(&line, events) {
                    return outcome;
                }
            }
            if buffer.len() > limits::LOG_RECORD_BYTES_MAX * 16 {
                return Err(unreachable(&self.address, "it sent a line without end"));
            }
        }
        take_line(&buffer, events)
            .unwrap_or_else(|| Err(unreachable(&self.address, "it closed the connection")))
    }
}

async fn raised(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn take_line(line: &[u8], events: &dyn Events) -> Option<Result<Value, Trouble>> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    if let Ok(event) = serde_json::from_value::<Event>(value.clone()) {
        events.emit(event);
        return None;
    }
    if value.get("error").is_some() {
        let error = value["error"].take();
        return Some(Err(serde_json::from_value(error.clone())
            .unwrap_or_else(|_| Trouble::new("SXT-8003", ExitKind::Failure, error.to_string()))));
    }
    value.get_mut("result").map(|result| Ok(result.take()))
}

fn unreachable(address: &str, why: &str) -> Trouble {
    Trouble::new(
        "SXT-8004",
        ExitKind::Unavailable,
        format!("the server at {address} did not answer: {why}"),
    )
}

fn refused(status: reqwest::StatusCode, error: &Value) -> Trouble {
    let kind = match status.as_u16() {
        400 | 413 | 422 => ExitKind::Usage,
        401 | 403 => ExitKind::Auth,
        404 => ExitKind::NotFound,
        409 => ExitKind::Conflict,
        412 => ExitKind::GateRefused,
        429 | 503 => ExitKind::Unavailable,
        _ => ExitKind::Failure,
    };
    let code = error["code"].as_str().unwrap_or("SXT-8003");
    let message = error["message"].as_str().unwrap_or("the server refused");
    let mut trouble = Trouble::new(code, kind, message);
    trouble.hint = error["hint"].as_str().map(str::to_owned);
    trouble.place = error["place"].as_str().map(str::to_owned);
    trouble
}
