//! How do the files of MLflow's clients come in and go out? As a stream, so that a large one is never held
//! in memory. What they hold is the work of strangers: a browser is told to save it, never to show it.

use std::{
    io::{self, Read, SeekFrom},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension,
    body::Body,
    extract::{OriginalUri, Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Map;
use sextant_core::{Cancel, limits::ARTIFACT_BYTES_MAX};
use tokio::{sync::mpsc, time::timeout};

use super::mlflow;
use crate::{
    error::ServerError,
    guard::Caller,
    jobs::{blocking, defect},
    keys::Role,
    limits,
    port::{Content, MlflowFile, MlflowReply, MlflowRequest},
    reply::Refusal,
    state::{Shared, Slot},
};

/// Nothing in a file may act, also when a browser shows it all the same.
const CONTENT_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";
/// What an encoded name leaves as it is (RFC 5987).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// The name under which those who send parts share the places of requests.
const PART_SENDERS: &str = "parts of files";

/// Which bytes of a file are wanted.
#[derive(Debug, Default)]
pub(super) struct ByteRange {
    said: Option<String>,
    /// Only of the file that is called so; of another, all is sent.
    of: Option<String>,
}

impl ByteRange {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { said: text(header::RANGE), of: text(header::IF_RANGE) }
    }
}

/// `PUT /api/2.0/mlflow-artifacts/{*call}` and its like: the body is a file.
pub(crate) async fn take(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(slot): Extension<Arc<Slot>>,
    OriginalUri(uri): OriginalUri,
    Query(pairs): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Refusal> {
    let Some(path) = mlflow::their_path(&uri) else { return Ok(mlflow::not_found()) };
    let method = request.method().to_string();
    let fields = mlflow::in_address(pairs);
    let may_change = caller.role >= Role::Write;
    let asked = MlflowRequest { method, path, fields, may_change };
    let reply = stored(&shared, asked, request, Arc::clone(&slot)).await?;
    mlflow::rendered(reply, &caller, &ByteRange::default(), slot).await
}

/// `PUT /api/2.0/mlflow-artifacts/parts/{upload}/{number}`: who was told this address may send to it.
pub(crate) async fn take_part(
    State(shared): State<Arc<Shared>>,
    Path((upload, number)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let slot = shared.slots.take(PART_SENDERS)?;
    let asked = MlflowRequest {
        method: Method::PUT.to_string(),
        path: format!("2.0/mlflow-artifacts/parts/{upload}/{number}"),
        fields: Map::new(),
        may_change: true,
    };
    let caller = Caller { name: PART_SENDERS.to_owned(), role: Role::Write, by_cookie: false };
    let reply = stored(&shared, asked, request, Arc::clone(&slot)).await?;
    mlflow::rendered(reply, &caller, &ByteRange::default(), slot).await
}

/// `POST /api/2.0/mlflow-artifacts/mpu/create/{*path}`: the addresses of the parts are those of this
/// server as the caller called it.
pub(crate) async fn begin_parts(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(slot): Extension<Arc<Slot>>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<Response, Refusal> {
    let origin = origin(request.headers());
    let request = match mlflow::asked(&uri, Vec::new(), &caller, request).await? {
        Ok(request) => request,
        Err(response) => return Ok(response),
    };
    let mut reply = mlflow::answered(&shared, request, Arc::clone(&slot)).await?;
    if let MlflowReply::Said { status: 200, body } = &mut reply
        && let Some(credentials) = body["credentials"].as_array_mut()
    {
        for credential in credentials {
            let path = credential["url"].as_str().unwrap_or_default();
            credential["url"] = format!("{origin}{path}").into();
        }
    }
    mlflow::rendered(reply, &caller, &ByteRange::default(), slot).await
}

/// How the caller reaches this server: the guard knows the host; whoever adds TLS says so.
fn origin(headers: &HeaderMap) -> String {
    let said = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let scheme = match said(HeaderName::from_static("x-forwarded-proto")) {
        Some("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{}", said(header::HOST).unwrap_or_default())
}

/// Hands over a body as it arrives, and waits until it is stored.
async fn stored(
    shared: &Arc<Shared>,
    asked: MlflowRequest,
    request: Request,
    slot: Arc<Slot>,
) -> Result<MlflowReply, Refusal> {
    let too_large = ServerError::TooLarge {
        what: "body",
        limit: usize::try_from(ARTIFACT_BYTES_MAX).unwrap_or(usize::MAX),
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > ARTIFACT_BYTES_MAX) {
        return Err(too_large.into());
    }
    let (sender, receiver) = mpsc::channel(limits::FILE_PIECES_WAITING_MAX);
    let backend = Arc::clone(&shared.backend);
    let work = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        backend.mlflow(&asked, &mut Arriving { receiver, piece: Bytes::new(), whole: false })
    });
    let silence = Duration::from_secs(limits::FILE_SILENCE_SECONDS);
    let fed = feed(request.into_body(), silence, sender).await;
    let reply = work.await.map_err(|_| defect())?;
    fed?;
    Ok(reply?)
}

/// What the thread that stores a file is sent.
enum Piece {
    Bytes(Bytes),
    /// That this was all of it: without it the body broke off.
    End,
}

/// Passes a body on until it ends, breaks off, or is silent for too long.
async fn feed(
    body: Body,
    silence: Duration,
    sender: mpsc::Sender<Piece>,
) -> Result<(), ServerError> {
    let mut pieces = body.into_data_stream();
    let broken = |reason: String| ServerError::BadRequest { field: None, reason };
    loop {
        let next = timeout(silence, pieces.next()).await;
        let piece = match next {
            Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
            Ok(None) => Piece::End,
            Ok(Some(Err(error))) => {
                return Err(broken(format!("the body could not be read: {error}")));
            }
            Err(_) => return Err(broken(format!("nothing of the body came for {silence:?}"))),
        };
        let is_end = matches!(piece, Piece::End);
        // When nobody takes it, the call was refused before its body was read; its reply says why.
        if sender.send(piece).await.is_err() || is_end {
            return Ok(());
        }
    }
}

/// A body, for the thread that stores it.
struct Arriving {
    receiver: mpsc::Receiver<Piece>,
    piece: Bytes,
    whole: bool,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.whole {
            match self.receiver.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.piece = bytes,
                Some(Piece::End) => self.whole = true,
                None => {
                    let why = "the caller broke off";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// That a file is stored.
pub(super) fn taken(etag: &str) -> Response {
    ([(header::ETAG, format!("\"{etag}\""))], Body::empty()).into_response()
}

/// Sends a file, or the part of it that is wanted.
pub(super) async fn sent(
    file: MlflowFile,
    range: &ByteRange,
    slot: Arc<Slot>,
) -> Result<Response, Refusal> {
    let MlflowFile { name, media_type, etag, bytes, mut content } = file;
    let etag = format!("\"{etag}\"");
    let said = range.said.as_deref().filter(|_| range.of.as_deref().is_none_or(|of| of == etag));
    let (status, from, length) = match said.map_or(Wanted::All, |said| wanted(said, bytes)) {
        Wanted::All => (StatusCode::OK, 0, bytes),
        Wanted::Part { from, length } => (StatusCode::PARTIAL_CONTENT, from, length),
        Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    if from > 0 {
        content = blocking(move |_: &Cancel| {
            content.seek(SeekFrom::Start(from)).map_err(|source| broken(&source))?;
            Ok(content)
        })
        .await?;
    }
    let last = (from + length).saturating_sub(1);
    let mut headers = HeaderMap::new();
    let mut say = |name, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    };
    say(header::CONTENT_TYPE, media_type.to_owned());
    say(header::CONTENT_LENGTH, length.to_string());
    say(header::CONTENT_DISPOSITION, disposition(&name));
    say(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY.to_owned());
    say(header::ACCEPT_RANGES, "bytes".to_owned());
    say(header::ETAG, etag);
    match status {
        StatusCode::PARTIAL_CONTENT => {
            say(header::CONTENT_RANGE, format!("bytes {from}-{last}/{bytes}"));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => say(header::CONTENT_RANGE, format!("bytes */{bytes}")),
        _ => {}
    }
    Ok((status, headers, pieces(content, length, slot)).into_response())
}

/// That a file could not be read, without saying where it is.
fn broken(error: &io::Error) -> ServerError {
    ServerError::Internal { what: format!("a stored file cannot be read: {}", error.kind()) }
}

/// The bytes of a file, read as fast as the caller takes them. An error ends the connection before the
/// length that was announced, by which every caller sees that something is missing.
fn pieces(content: Box<dyn Content>, length: u64, slot: Arc<Slot>) -> Body {
    let next = |(mut content, left, slot): (Box<dyn Content>, u64, Arc<Slot>)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = move || -> io::Result<(Bytes, Box<dyn Content>)> {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(limits::FILE_PIECE_BYTES);
            let mut piece = vec![0; size];
            content.read_exact(&mut piece)?;
            Ok((piece.into(), content))
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
        let (piece, content) =
            read.inspect_err(|error| tracing::error!(%error, "a file broke off"))?;
        let left = left - piece.len() as u64;
        Ok::<_, io::Error>(Some((piece, (content, left, slot))))
    };
    Body::from_stream(futures::stream::try_unfold((content, length, slot), next))
}

/// What a header `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part { from: u64, length: u64 },
    Nothing,
}

/// Several ranges at once, and what cannot be read, are answered with all of it.
fn wanted(range: &str, bytes: u64) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Wanted::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| text.parse::<u64>().ok();
    let (from, to) = match (number(first), number(last)) {
        (Some(from), Some(last)) if from <= last => (from, last.saturating_add(1).min(bytes)),
        (Some(from), None) if last.is_empty() => (from, bytes),
        (None, Some(count)) if first.is_empty() => (bytes.saturating_sub(count), bytes),
        _ => return Wanted::All,
    };
    if from >= to { Wanted::Nothing } else { Wanted::Part { from, length: to - from } }
}

/// That a browser saves it, under this name.
fn disposition(name: &str) -> String {
    let plain: String = name.chars().filter(char::is_ascii).collect();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let quoted = match plain.as_str() {
        "" => "download".to_owned(),
        plain if plain.chars().all(token) => plain.to_owned(),
        plain => format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    if plain.len() == name.len() {
        return format!("attachment; filename={quoted}");
    }
    format!("attachment; filename={quoted}; filename*=UTF-8''{}", utf8_percent_encode(name, PLAIN))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_body_that_falls_silent_is_given_up_and_never_taken_for_whole() {
        let silence = Duration::from_millis(20);
        let first = || futures::stream::iter([io::Result::Ok(Bytes::from_static(b"ab"))]);
        for (body, is_whole) in [
            (Body::from_stream(first()), true),
            (Body::from_stream(first().chain(futures::stream::pending())), false),
            (
                Body::from_stream(
                    first().chain(futures::stream::iter([Err(io::Error::other("x"))])),
                ),
                false,
            ),
        ] {
            let (sender, receiver) = mpsc::channel(2);
            let mut arriving = Arriving { receiver, piece: Bytes::new(), whole: false };
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                (arriving.read_to_end(&mut bytes).is_ok(), bytes)
            });
            assert_eq!(feed(body, silence, sender).await.is_ok(), is_whole);
            assert_eq!(read.await.unwrap(), (is_whole, b"ab".to_vec()));
        }
    }

    #[test]
    fn ranges_are_of_what_there_is() {
        let part = |from, length| Wanted::Part { from, length };
        for (range, bytes, found) in [
            ("bytes=0-3", 10, part(0, 4)),
            ("bytes=8-99", 10, part(8, 2)),
            ("bytes=4-", 10, part(4, 6)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("bytes=10-", 10, Wanted::Nothing),
            ("bytes=0-", 0, Wanted::Nothing),
            ("bytes=-0", 10, Wanted::Nothing),
            ("bytes=5-4", 10, Wanted::All),
            ("bytes=0-1,3-4", 10, Wanted::All),
            ("bytes=-", 10, Wanted::All),
            ("lines=0-1", 10, Wanted::All),
            ("bytes=0-18446744073709551615", 10, part(0, 10)),
        ] {
            assert_eq!(wanted(range, bytes), found, "{range} of {bytes}");
        }
    }

    #[test]
    fn names_cannot_leave_their_header() {
        for (name, said) in [
            ("a.txt", "attachment; filename=a.txt"),
            ("a b.txt", "attachment; filename=\"a b.txt\""),
            ("a\"; x=\\", "attachment; filename=\"a\\\"; x=\\\\\""),
            ("ü b", "attachment; filename=\" b\"; filename*=UTF-8''%C3%BC%20b"),
            ("日本", "attachment; filename=download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
        ] {
            assert_eq!(disposition(name), said);
        }
    }
}
