//! Records sent to a server that is killed again and again: each is there once.

use serde_json::json;

use crate::{processes::Server, project::Project};

/// How often the server is killed.
const KILLS: u32 = 5;

#[test]
fn a_server_that_is_killed_loses_nothing_and_doubles_nothing() {
    let project = Project::built();
    let toml = "type = \"push\"\nflush_seconds = 1\nflush_rows = 3\n[schema]\nn = \"bigint\"\n";
    project.write("sources/orders.toml", toml);
    let mut server = Server::start(&project);
    let mut first_answers = Vec::new();
    for round in 0..KILLS {
        for request in 0..4 {
            let n = round * 10 + request * 2;
            let body = json!([{ "n": n }, { "n": n + 1 }, { "n": "bad" }]).to_string();
            let key = format!("{round}-{request}");
            let answer = server.post("/ingest/orders", &key, &body).unwrap();
            assert_eq!(answer.0, 200, "{answer:?}");
            first_answers.push((key, body, answer));
        }
        // Somewhere within a landing, at another place in each round.
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round) * 170));
        server.stop("KILL");
        server = Server::start(&project);
        for (key, body, answer) in &first_answers {
            let again = server.post("/ingest/orders", key, body);
            assert_eq!(again.as_ref(), Some(answer), "a client that had no answer sends again");
        }
    }
    drop(server);
    let built = project.json(&["build", "sources/orders"]);
    assert_eq!(built["failed"], 0, "{built}");
    let rows = project.json(&["data", "query", "select n from orders order by n"]);
    let expected: Vec<_> =
        (0..KILLS).flat_map(|round| (0..8).map(move |n| json!([round * 10 + n]))).collect();
    assert_eq!(rows["rows"], json!(expected));
    let held = project.json(&["data", "quarantine", "sources/orders", "--limit", "1"]);
    assert_eq!(held["waiting"], KILLS * 4, "{held}");
    assert_eq!(project.json(&["fsck"])["problems"], json!([]));
}
