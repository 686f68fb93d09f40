//! More than one process, a signal in the middle, and a server beside the command line.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::project::{Ended, Project, QUESTION};

/// A model that takes longer than any test waits.
const SLOW: &str = "select count(*) as n from generate_series(1, 3000000) as a, \
                    generate_series(1, 300000) as b where a.value % 7 = b.value % 11";

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A build that is busy with the slow model.
fn busy(project: &Project) -> Child {
    project.write("models/slow.sql", SLOW);
    let child = project.spawn(&["build", "models/slow", "--json"]);
    let compiled = project.data("compiled/models/slow.sql");
    until("the slow build", || compiled.exists());
    std::thread::sleep(Duration::from_millis(100));
    child
}

fn ended(child: Child) -> Ended {
    Ended::of(child.wait_with_output().unwrap())
}

#[test]
fn ctrl_c_stops_a_build_with_130_and_the_next_one_goes_on() {
    let project = Project::built();
    let build = busy(&project);
    signal(&build, "INT");
    let stopped = ended(build);
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    assert_eq!(stopped.json()["assets"][0]["outcome"], "cancelled", "{stopped:?}");
    project.write("models/slow.sql", "select 1 as n");
    assert_eq!(project.json(&["build"])["failed"], 0);
    project.still_answers();
}

#[test]
fn two_ctrl_c_end_a_build_at_once() {
    let project = Project::built();
    let build = busy(&project);
    signal(&build, "INT");
    signal(&build, "INT");
    assert_eq!(ended(build).code, Some(130));
    fs::remove_file(project.folder.join("models/slow.sql")).unwrap();
    project.still_answers();
}

#[test]
fn a_killed_build_leaves_the_folder_sound() {
    let project = Project::built();
    let build = busy(&project);
    signal(&build, "KILL");
    assert_eq!(ended(build).code, None);
    fs::remove_file(project.folder.join("models/slow.sql")).unwrap();
    project.still_answers();
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let project = Project::built();
    let build = busy(&project);
    let pid = build.id().to_string();
    for command in [&["build"][..], &["status"], &["ask", QUESTION], &["fsck"]] {
        let error = project.refuses(command, 5, "SXT-1004");
        assert!(error["message"].as_str().unwrap().contains(&pid), "{error}");
    }
    signal(&build, "KILL");
    ended(build);
}

#[test]
fn builds_at_once_take_turns_or_are_refused() {
    let project = Project::built();
    project.append("docs/knots.md", "\nTwo builds at once want this sentence.\n");
    let builds: Vec<Child> = (0..4).map(|_| project.spawn(&["build", "--json"])).collect();
    let codes: Vec<_> = builds.into_iter().map(|child| ended(child).code).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}");
    project.still_answers();
}

#[test]
fn a_lock_file_without_a_holder_locks_nobody_out() {
    let project = Project::built();
    fs::write(project.data("LOCK"), "1").unwrap();
    project.still_answers();
}

/// A server that is stopped when the test ends.
pub struct Server(Option<Child>, String);

impl Server {
    pub fn start(project: &Project) -> Self {
        let note = project.data("server.json");
        let child = project.spawn(&["serve", "--port", "0"]);
        let mut address = String::new();
        until("the server", || {
            let text = fs::read_to_string(&note).unwrap_or_default();
            let note: Value = serde_json::from_str(&text).unwrap_or_default();
            note["addr"].as_str().unwrap_or_default().clone_into(&mut address);
            note["pid"] == child.id() && !address.is_empty()
        });
        Self(Some(child), address)
    }

    fn get(&self, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(&self.1).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Sends a body; the status and the body of the answer. `None` when the server went away.
    pub fn post(&self, path: &str, key: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.1).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let (host, length) = (&self.1, body.len());
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        let status = response.split(' ').nth(1)?.parse().ok()?;
        Some((status, response.split_once("\r\n\r\n")?.1.to_owned()))
    }

    pub fn stop(mut self, name: &str) -> Ended {
        let child = self.0.take().unwrap();
        signal(&child, name);
        ended(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_command_line_works_through_a_running_server() {
    let project = Project::built();
    let server = Server::start(&project);
    project.still_answers();
    assert_eq!(project.json(&["build"])["failed"], 0);
    let error = project.refuses(&["why", "nosuch"], 4, "SXT-8010");
    assert!(error["hint"].as_str().unwrap().contains("sextant answers"), "{error}");
    drop(server);
}

#[test]
fn a_question_through_the_server_is_recorded_once() {
    let project = Project::built();
    let server = Server::start(&project);
    let id = project.json(&["ask", QUESTION])["id"].clone();
    server.stop("TERM");
    let listed = project.json(&["answers"]);
    let rows = listed["answers"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| row["id"] == id).count(), 1, "{listed}");
}

#[test]
fn processes_that_write_one_table_at_once_lose_nothing() {
    let project = Project::built();
    project.json(&["sql", "create table counted (writer bigint)"]);
    let server = Server::start(&project);
    let writers: Vec<Child> = (0..8)
        .map(|writer| {
            let insert = format!("insert into counted values ({writer})");
            project.spawn(&["sql", &insert, "--json"])
        })
        .collect();
    for writer in writers {
        let ended = ended(writer);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let count = ["sql", "select count(*), count(distinct writer) from counted"];
    assert_eq!(project.json(&count)["rows"], serde_json::json!([[8, 8]]));
    server.stop("KILL");
    assert_eq!(project.json(&count)["rows"], serde_json::json!([[8, 8]]));
    assert_eq!(project.json(&["fsck"])["problems"], serde_json::json!([]));
}

#[test]
fn a_server_stops_at_sigterm_with_0() {
    let project = Project::built();
    let stopped = Server::start(&project).stop("TERM");
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(!project.data("server.json").exists());
}

#[test]
fn a_killed_server_stands_in_nobodys_way() {
    let project = Project::built();
    Server::start(&project).stop("KILL");
    assert!(project.data("server.json").exists());
    project.still_answers();
    drop(Server::start(&project));
}

#[test]
fn a_stranger_at_the_address_of_a_dead_server_is_not_asked() {
    let project = Project::built();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let address = stranger.local_addr().unwrap();
    fs::write(project.data("server.json"), format!("{{\"pid\":1,\"addr\":\"{address}\"}}"))
        .unwrap();
    fs::write(project.data("admin.key"), "secret").unwrap();
    project.still_answers();
    assert!(stranger.accept().is_err(), "somebody called at {address}");
}

#[test]
fn a_port_in_use_is_named_with_the_next_one() {
    let project = Project::built();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let error = project.refuses(&["serve", "--port", &port], 5, "SXT-7001");
    assert!(error["hint"].as_str().unwrap().contains("--port"), "{error}");
}

#[test]
fn an_open_address_without_keys_is_refused() {
    let ended = Project::built().run(&["serve", "--host", "0.0.0.0", "--port", "0", "--json"]);
    assert!(!matches!(ended.code, Some(0 | 101)), "{ended:?}");
    assert!(ended.error()["message"].as_str().unwrap().contains("0.0.0.0"), "{ended:?}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    Project::built().refuses(&["serve", "--host", "nowhere", "--port", "0"], 2, "SXT-8006");
}

#[test]
fn a_server_is_alive_and_ready() {
    let project = Project::built();
    let server = Server::start(&project);
    for path in ["/livez", "/readyz"] {
        assert!(server.get(path, &server.1).starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[test]
fn a_foreign_host_name_is_refused() {
    let project = Project::built();
    let server = Server::start(&project);
    let response = server.get("/api/v1/status", "evil.example");
    assert!(response.starts_with("HTTP/1.1 403"), "{response}");
    assert!(response.contains("SXT-7012"), "{response}");
}

#[test]
fn a_path_that_there_is_not_is_404() {
    let project = Project::built();
    let server = Server::start(&project);
    assert!(server.get("/nosuch", &server.1).starts_with("HTTP/1.1 404"));
}

#[test]
fn a_server_that_stops_stops_the_build_that_was_sent_to_it() {
    let project = Project::built();
    let server = Server::start(&project);
    let mut build = busy(&project);
    project.refuses(&["build"], 5, "SXT-2021");
    let begun = Instant::now();
    // Whoever sent it no longer looks at it.
    build.kill().unwrap();
    build.wait().unwrap();
    assert_eq!(server.stop("TERM").code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30));
    fs::remove_file(project.folder.join("models/slow.sql")).unwrap();
    project.still_answers();
}
