//! Are artifacts whole or not there, and only where they may be?

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Cursor, Read};

use serde_json::{Value, json};

use crate::{Found, Reply, find, tests::Bench};

const SERVED: &str = "2.0/mlflow-artifacts/artifacts";

impl Bench {
    /// A call outside of `2.0/mlflow/`, with a body. A file is its name, type and text; a body that was
    /// taken is its digest.
    fn ask(&self, method: &str, path: &str, fields: Value, body: &mut dyn Read) -> (u16, Value) {
        let Found::Call(call, places) = find(method, path) else {
            panic!("there is no {method} {path}");
        };
        match call.answer(&self.mlflow, fields.as_object().unwrap(), &places, body) {
            Ok(Reply::Said(body)) => (200, body),
            Ok(Reply::Taken(digest)) => (200, digest.hex().into()),
            Ok(Reply::File(mut file)) => {
                let mut text = String::new();
                file.content.read_to_string(&mut text).unwrap();
                (200, json!([file.name, file.media_type, text]))
            }
            Err(refusal) => (refusal.status(), refusal.body()["message"].clone()),
        }
    }

    fn put(&self, path: &str, text: &str) -> (u16, Value) {
        let path = format!("{SERVED}/{path}");
        self.ask("PUT", &path, json!({}), &mut Cursor::new(text.as_bytes().to_vec()))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", &format!("{SERVED}/{path}"), json!({}), &mut std::io::empty())
    }

    fn remove(&self, path: &str) -> u16 {
        self.ask("DELETE", &format!("{SERVED}/{path}"), json!({}), &mut std::io::empty()).0
    }

    /// What is in a folder, folders with a slash and files with their sizes.
    fn list(&self, path: &str) -> String {
        let (_, said) = self.ask("GET", SERVED, json!({ "path": path }), &mut std::io::empty());
        let shown = |file: &Value| match file["is_dir"].as_bool() {
            Some(true) => format!("{}/", file["path"].as_str().unwrap()),
            _ => format!("{}={}", file["path"].as_str().unwrap(), file["file_size"]),
        };
        let files = said["files"].as_array().cloned().unwrap_or_default();
        files.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// Files that are being written, and blobs.
    fn on_disk(&self) -> (usize, u64) {
        let files = std::fs::read_dir(self.folder.path().join("tmp")).unwrap().count();
        let report = self.mlflow.store().fsck(false).unwrap();
        assert_eq!(report.problems, []);
        (files, report.blobs + report.orphans)
    }
}

/// A body that breaks off.
struct Broken(Cursor<&'static [u8]>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::other("the caller went away")),
            count => Ok(count),
        }
    }
}

#[test]
fn files_are_stored_listed_replaced_and_deleted() {
    let bench = Bench::new();
    for (path, status) in [
        ("1/r/note.txt", 200),
        ("1/r/a/b/c.json", 200),
        ("1/r/a0", 200),
        ("1/r/a b/größe", 200),
        ("1/r/a", 400),
        ("1/r/note.txt/x", 400),
        ("1/r/note.txt/x/y", 400),
        ("1/r/", 400),
        ("", 400),
        ("../x", 400),
    ] {
        assert_eq!(bench.put(path, "hello").0, status, "{path}");
    }
    assert_eq!(bench.list("1/r"), "a/ a b/ a0=5 note.txt=5");
    assert_eq!(bench.get("1/r/note.txt").1, json!(["note.txt", "text/plain", "hello"]));
    assert_eq!(bench.get("1//r/./a/b/c.json").1[2], "hello");
    assert_eq!(
        bench.get("1/r/a"),
        (400, json!("Artifact path refers to a directory, not a file: '1/r/a'"))
    );
    assert_eq!(bench.get("1/r/none"), (404, json!("No such artifact: '1/r/none'")));
    assert_eq!((bench.list("1/r/note.txt"), bench.list("none")), (String::new(), String::new()));
    assert_eq!(bench.put("1/r/note.txt", "hello again").0, 200);
    assert_eq!(bench.get("1/r/note.txt").1[2], "hello again");
    for (path, status, left) in [
        ("1/r/note.txt", 200, "a/ a b/ a0=5"),
        ("1/r/note.txt", 200, "a/ a b/ a0=5"),
        ("1/r/a", 200, "a b/ a0=5"),
        ("", 400, "a b/ a0=5"),
        ("..", 400, "a b/ a0=5"),
    ] {
        assert_eq!((bench.remove(path), bench.list("1/r").as_str()), (status, left), "{path}");
    }
    let bench = bench.again();
    assert_eq!((bench.list("1/r/a").as_str(), bench.get("1/r/a0").0), ("", 200));
}

#[test]
fn a_file_is_whole_or_not_there_and_its_bytes_are_cleared_when_no_path_has_them() {
    let bench = Bench::new();
    let acts = |bench: &Bench| bench.mlflow.store().read().unwrap().audit(99).unwrap().len();
    let broken = &mut Broken(Cursor::new(b"half of it"));
    let (status, told) = bench.ask("PUT", &format!("{SERVED}/a"), json!({}), broken);
    assert!(status == 400 && told.as_str().unwrap().ends_with("the caller went away"), "{told}");
    assert_eq!((bench.get("a").0, bench.on_disk()), (404, (0, 0)));
    bench.put("a", "one");
    bench.put("b", "one");
    bench.put("c", "two");
    let before = acts(&bench);
    bench.put("c", "two");
    assert_eq!((acts(&bench), bench.on_disk()), (before, (0, 2)), "the same again is no act");
    bench.put("a", "three");
    bench.remove("c");
    let cleared = |bench: Bench| {
        for entry in std::fs::read_dir(bench.folder.path().join("blobs")).unwrap() {
            for blob in std::fs::read_dir(entry.unwrap().path()).unwrap() {
                let file = std::fs::File::options().write(true).open(blob.unwrap().path());
                file.unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            }
        }
        let bench = bench.again();
        (bench.mlflow.store().fsck(true).unwrap().orphans_removed, bench)
    };
    let (removed, bench) = cleared(bench);
    assert_eq!((removed, bench.get("b").1[2].as_str()), (1, Some("one")), "only `two` is unused");
    bench.remove("b");
    let (removed, bench) = cleared(bench);
    assert_eq!((removed, bench.get("a").1[2].as_str()), (1, Some("three")));
}

#[test]
fn parts_are_put_together_once_all_are_there() {
    let bench = Bench::new();
    let none = || std::io::empty();
    let mpu = |call: &str, fields: Value| {
        bench.ask("POST", &format!("2.0/mlflow-artifacts/mpu/{call}/1/r"), fields, &mut none())
    };
    for (path, parts) in [("big.bin", 0), ("big.bin", 10_001), ("", 1), ("..", 1)] {
        assert_eq!(mpu("create", json!({ "path": path, "num_parts": parts })).0, 400, "{path}");
    }
    let begun = |parts: i64| mpu("create", json!({ "path": "/tmp/big.bin", "num_parts": parts })).1;
    let upload = begun(2);
    let send = |upload: &Value, number: usize, text: &'static str| {
        let url = upload["credentials"][number - 1]["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix("/api/").unwrap().to_owned();
        bench.ask("PUT", &path, json!({}), &mut Cursor::new(text.as_bytes())).1
    };
    let id = upload["upload_id"].as_str().unwrap();
    for (place, status) in [("x/1", 404), (&format!("{id}/3"), 404), (&format!("{id}/no"), 404)] {
        let path = format!("2.0/mlflow-artifacts/parts/{place}");
        assert_eq!(bench.ask("PUT", &path, json!({}), &mut none()).0, status, "{place}");
    }
    let second = send(&upload, 2, "end");
    let wrong = send(&upload, 1, "begone ");
    let first = send(&upload, 1, "begin ");
    assert_eq!((bench.get("1/r/big.bin").0, bench.on_disk().0), (404, 2));
    let part = |number: i64, etag: &Value| json!({ "part_number": number, "etag": format!("\"{}\"", etag.as_str().unwrap()) });
    let complete = |path: &str, parts: Value| {
        mpu("complete", json!({ "path": path, "upload_id": id, "parts": parts })).0
    };
    let whole = json!([part(1, &first), part(2, &second)]);
    for (path, parts, status) in [
        ("big.bin", json!([part(1, &first)]), 400),
        ("big.bin", json!([part(1, &wrong), part(2, &second)]), 400),
        ("big.bin", json!([part(2, &second), part(1, &first)]), 400),
        ("other.bin", whole.clone(), 404),
        ("big.bin", whole.clone(), 200),
        ("big.bin", whole, 200),
    ] {
        assert_eq!(complete(path, parts.clone()), status, "{path} {parts}");
    }
    assert_eq!(bench.get("1/r/big.bin").1[2], "begin end");
    assert_eq!(bench.on_disk(), (0, 1));
    let dropped = begun(1);
    send(&dropped, 1, "x");
    let named = json!({ "path": "big.bin", "upload_id": dropped["upload_id"] });
    assert_eq!((mpu("abort", named.clone()).0, mpu("abort", named).0), (200, 404));
    assert_eq!(bench.on_disk(), (0, 1));
    assert_eq!(bench.get("1/r/big.bin").1[2], "begin end");
}

#[test]
fn files_of_a_run_are_found_by_its_id() {
    let bench = Bench::new();
    let run = bench.run("one", 1);
    let upload = |path: &str, text: Vec<u8>| {
        let fields = json!({ "run_uuid": run, "path": path });
        bench.ask("POST", "2.0/mlflow/upload-artifact", fields, &mut Cursor::new(text))
    };
    let large = vec![b'x'; (10 << 20) + 1];
    for (path, text, status) in [
        ("a/up.txt", b"up".to_vec(), 200),
        ("../up.txt", b"up".to_vec(), 400),
        ("empty.txt", Vec::new(), 400),
        ("large.txt", large, 400),
    ] {
        assert_eq!(upload(path, text).0, status, "{path}");
    }
    let list =
        |path: &str| bench.good("GET", "artifacts/list", json!({ "run_id": run, "path": path }));
    let root = format!("mlflow-artifacts:/0/{run}/artifacts");
    let folder = json!([{ "path": "a", "is_dir": true }]);
    let file = json!([{ "path": "a/up.txt", "is_dir": false, "file_size": 2 }]);
    assert_eq!(list(""), json!({ "root_uri": root, "files": folder }));
    assert_eq!(list("a"), json!({ "root_uri": root, "files": file }));
    assert_eq!(list("none"), json!({ "root_uri": root }));
    let seen = |path: &str| {
        let fields = json!({ "run_uuid": run, "path": path });
        bench.ask("GET", "get-artifact", fields, &mut std::io::empty())
    };
    assert_eq!(seen("a/up.txt"), (200, json!(["up.txt", "text/plain", "up"])));
    assert_eq!((seen("a").0, seen("").0, seen("../x").0), (400, 400, 400));
    let elsewhere = json!({ "name": "far", "artifact_location": "s3://bucket/far" });
    let id = bench.good("POST", "experiments/create", elsewhere)["experiment_id"].clone();
    let far = bench.good("POST", "runs/create", json!({ "experiment_id": id }));
    let asked = json!({ "run_id": far["run"]["info"]["run_id"] });
    let (status, told) = bench.call("GET", "artifacts/list", asked);
    assert!(
        status == 400 && told["message"].as_str().unwrap().contains("s3://bucket/far/"),
        "{told}"
    );
}
