#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// What the scripted server does with one connection.
#[derive(Clone)]
enum Act {
    Send(String),
    Pause(u64),
}

struct Server {
    base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
    hung_up: Arc<AtomicUsize>,
}

/// A server that plays one script per connection, in order; the last one again and again.
async fn server(scripts: Vec<Vec<Act>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let hung_up = Arc::new(AtomicUsize::new(0));
    let (seen, gone) = (requests.clone(), hung_up.clone());
    tokio::spawn(async move {
        for index in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let script = scripts[index.min(scripts.len() - 1)].clone();
            tokio::spawn(play(stream, script, seen.clone(), gone.clone()));
        }
    });
    Server { base_url, requests, hung_up }
}

async fn play(
    mut stream: TcpStream,
    script: Vec<Act>,
    seen: Arc<Mutex<Vec<String>>>,
    gone: Arc<AtomicUsize>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&request).contains("\"stream\":") {
        let count = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..count]);
    }
    seen.lock().unwrap().push(String::from_utf8(request).unwrap());
    for act in script {
        match act {
            Act::Send(text) => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    gone.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
            Act::Pause(millis) => {
                let pause = tokio::time::sleep(Duration::from_millis(millis));
                tokio::select! {
                    () = pause => {}
                    read = stream.read(&mut buffer) => {
                        if matches!(read, Ok(0) | Err(_)) {
                            gone.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn reply(status: &str, headers: &str, body: &str) -> Vec<Act> {
    let length = body.len();
    vec![Act::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    ))]
}

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn chunk(text: &str) -> Act {
    let body = json!({"model": "real-model", "choices": [{"delta": {"content": text}}]});
    Act::Send(format!("data: {body}\n\n"))
}

fn upstream(server: &Server) -> Upstream {
    Upstream::new(UpstreamOptions {
        base_url: server.base_url.clone(),
        model: "asked-model".into(),
        api_key: ApiKey::Text("sk-secret".into()),
        temperature: 0.0,
        max_tokens: 50,
        timeouts: Timeouts {
            silence: Duration::from_millis(300),
            total: Duration::from_secs(5),
            ..Timeouts::default()
        },
    })
    .unwrap()
}

async fn ask(server: &Server, stream: bool) -> (Result<UpstreamCompletion, ServeError>, String) {
    let mut heard = String::new();
    let message = ChatMessage { role: "user".into(), content: "hello".into() };
    let result = upstream(server)
        .complete(&[message], stream, &mut |delta: &str| heard.push_str(delta))
        .await;
    (result, heard)
}

const GOOD: &str = r#"{"model":"real-model","choices":[{"message":{"role":"assistant","content":"hi"}}],
    "usage":{"prompt_tokens":3,"completion_tokens":1}}"#;

#[tokio::test]
async fn a_plain_reply() {
    let server = server(vec![reply("200 OK", "", GOOD)]).await;
    let (result, heard) = ask(&server, false).await;
    let completion = result.unwrap();
    assert_eq!((completion.text.as_str(), heard.as_str()), ("hi", "hi"));
    assert_eq!(completion.model, "real-model");
    assert_eq!(completion.prompt_tokens, Some(3));
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1"), "{request}");
    assert!(request.contains("Bearer sk-secret") && request.contains("\"asked-model\""));
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece() {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}});
    let script = vec![
        Act::Send(STREAM_HEAD.into()),
        chunk("one "),
        Act::Pause(20),
        chunk("twö"),
        Act::Send(format!("data: {usage}\n\ndata: [DONE]\n\n")),
    ];
    let server = server(vec![script]).await;
    let (result, heard) = ask(&server, true).await;
    let completion = result.unwrap();
    assert_eq!((completion.text.as_str(), heard.as_str()), ("one twö", "one twö"));
    assert_eq!((completion.prompt_tokens, completion.completion_tokens), (Some(9), Some(2)));
}

#[tokio::test]
async fn a_broken_stream_is_told_and_never_sent_again() {
    let script = vec![Act::Send(STREAM_HEAD.into()), chunk("half of")];
    let server = server(vec![script]).await;
    let (result, heard) = ask(&server, true).await;
    assert!(matches!(result, Err(ServeError::BrokeOff { bytes: 7, .. })), "{result:?}");
    assert_eq!(heard, "half of");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_error_in_the_stream_is_told() {
    let error = Act::Send("data: {\"error\":{\"message\":\"out of memory\"}}\n\n".into());
    let server = server(vec![vec![Act::Send(STREAM_HEAD.into()), chunk("a"), error]]).await;
    let (result, _) = ask(&server, true).await;
    assert!(result.unwrap_err().to_string().contains("out of memory"));
}

#[tokio::test]
async fn refusals_carry_the_upstreams_words() {
    for (status, transient) in [("500 No", false), ("401 No", false), ("404 No", false)] {
        let body = r#"{"error":{"message":"the model\nis gone","type":"x"}}"#;
        let server = server(vec![reply(status, "", body)]).await;
        let error = ask(&server, true).await.0.unwrap_err();
        assert!(error.to_string().contains("the model is gone"), "{error}");
        assert_eq!(error.is_transient(), transient);
        assert_eq!(sextant_core::Explain::code(&error).kind.exit_code(), 6);
        assert_eq!(server.requests.lock().unwrap().len(), 1);
        assert!(!format!("{error:?} {:?}", upstream(&server)).contains("sk-secret"));
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let scripts =
        vec![reply("503 Busy", "", "{}"), reply("429 Busy", "", ""), reply("200 OK", "", GOOD)];
    let server = server(scripts).await;
    assert_eq!(ask(&server, false).await.0.unwrap().text, "hi");
    assert_eq!(server.requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_long_retry_after_is_passed_on() {
    let server = server(vec![reply("429 Busy", "retry-after: 77\r\n", "{}")]).await;
    let error = ask(&server, false).await.0.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(77)));
}

#[tokio::test]
async fn silence_is_an_error() {
    let quiet = server(vec![vec![Act::Pause(3000)]]).await;
    assert!(matches!(ask(&quiet, true).await.0, Err(ServeError::Slow { .. })));
    let stalls = vec![Act::Send(STREAM_HEAD.into()), chunk("a"), Act::Pause(3000)];
    let (result, heard) = ask(&server(vec![stalls]).await, true).await;
    assert!(matches!(result, Err(ServeError::Slow { .. })), "{result:?}");
    assert_eq!(heard, "a");
}

#[tokio::test]
async fn dropping_the_future_hangs_up() {
    let mut script = vec![Act::Send(STREAM_HEAD.into()), chunk("a")];
    script.extend([Act::Pause(250), chunk("b"), Act::Pause(5000)]);
    let server = server(vec![script]).await;
    let asked = tokio::time::timeout(Duration::from_millis(150), ask(&server, true)).await;
    assert!(asked.is_err());
    for _ in 0..100 {
        if server.hung_up.load(Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the upstream still waits");
}

#[test]
fn a_blocking_caller_can_stop() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(server(vec![vec![Act::Pause(5000)]]));
    let cancel = Cancel::new();
    cancel.cancel();
    let message = ChatMessage { role: "user".into(), content: "hello".into() };
    let result =
        upstream(&server).complete_blocking(runtime.handle(), &[message], &cancel, &mut |_| {});
    assert!(matches!(result, Err(ServeError::Cancelled)));
}

#[test]
fn whoever_takes_the_pieces_may_block() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let script = vec![
        Act::Send(STREAM_HEAD.into()),
        chunk("one "),
        chunk("two"),
        Act::Send("data: [DONE]\n\n".into()),
    ];
    let server = runtime.block_on(server(vec![script]));
    let message = ChatMessage { role: "user".into(), content: "hello".into() };
    let (sender, mut receiver) = tokio::sync::mpsc::channel(8);
    let mut pass_on = |delta: &str| sender.blocking_send(delta.to_owned()).unwrap();
    let done = upstream(&server)
        .complete_blocking(runtime.handle(), &[message], &Cancel::new(), &mut pass_on)
        .unwrap();
    drop(sender);
    let mut heard = String::new();
    while let Some(piece) = receiver.blocking_recv() {
        heard.push_str(&piece);
    }
    assert_eq!((heard.as_str(), done.text.as_str()), ("one two", "one two"));
}

#[test]
fn settings_are_checked() {
    let options = |base_url: &str| UpstreamOptions {
        base_url: base_url.into(),
        model: "m".into(),
        api_key: ApiKey::None,
        temperature: 0.0,
        max_tokens: 1,
        timeouts: Timeouts::default(),
    };
    for bad in ["", "nonsense", "ftp://x/v1", "http://a:b@x/v1"] {
        assert!(Upstream::new(options(bad)).is_err(), "{bad}");
    }
    assert!(Upstream::new(options("http://127.0.0.1:1/v1")).is_ok());
}
