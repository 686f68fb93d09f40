//! How is a body read? With a bound on its size and on its depth, and only after the caller was
//! let in.

use axum::{body::Body, extract::FromRequest, extract::Request, http::header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sextant_core::limits::REQUEST_BODY_BYTES_MAX;

use crate::{error::ServerError, limits, reply::Refusal};

/// A JSON body.
pub(crate) struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        // A form or plain text can be sent by any web page without asking; JSON cannot.
        if !kind.is_some_and(|kind| kind.trim_start().starts_with("application/json")) {
            let reason = "the body must be sent as `Content-Type: application/json`";
            return Err(ServerError::field("content-type", reason).into());
        }
        let bytes = read(request, REQUEST_BODY_BYTES_MAX).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// The fields of an HTML form.
pub(crate) struct FormBody(pub Vec<(String, String)>);

impl FormBody {
    /// One field, empty when it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

impl<S: Sync + Send> FromRequest<S> for FormBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let bytes = read(Request::new(body), limits::FORM_BYTES_MAX).await?;
        let request = Request::from_parts(parts, Body::from(bytes));
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, state).await;
        let axum::Form(fields) = form.map_err(|error| ServerError::BadRequest {
            field: None,
            reason: format!("not a form: {error}"),
        })?;
        Ok(Self(fields))
    }
}

/// A body as bytes, decompressed as its Content-Encoding says. Both sizes are bounded.
pub(crate) struct PackedBody(pub Vec<u8>);

impl<S: Sync> FromRequest<S> for PackedBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let coding = request.headers().get(header::CONTENT_ENCODING).map_or("identity", |value| {
            // What is not text is no coding that we know either.
            value.to_str().unwrap_or("?")
        });
        let coding = coding.trim().to_ascii_lowercase();
        let bytes = read(request, REQUEST_BODY_BYTES_MAX).await?;
        Ok(Self(unpacked(coding, bytes, limits::UNPACKED_BYTES_MAX).await?))
    }
}

/// Bytes, decompressed as a coding says.
pub(crate) async fn unpacked(
    coding: String,
    bytes: Bytes,
    limit: usize,
) -> Result<Vec<u8>, ServerError> {
    let unpacked = tokio::task::spawn_blocking(move || unpack(&coding, &bytes, limit)).await;
    unpacked.unwrap_or_else(|_| Err(crate::jobs::defect()))
}

fn unpack(coding: &str, bytes: &[u8], limit: usize) -> Result<Vec<u8>, ServerError> {
    use std::io::Read as _;
    let broken = |error: std::io::Error| {
        ServerError::field("content-encoding", format!("the body is not {coding}: {error}"))
    };
    let mut unpacked = Vec::new();
    match coding {
        "identity" | "" => return Ok(bytes.to_vec()),
        "gzip" => {
            let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(limit as u64 + 1);
            reader.read_to_end(&mut unpacked).map_err(broken)?;
        }
        "deflate" => {
            // With the head of zlib, or without, as some have it.
            let mut reader = flate2::read::ZlibDecoder::new(bytes).take(limit as u64 + 1);
            if reader.read_to_end(&mut unpacked).is_err() {
                unpacked.clear();
                let mut reader = flate2::read::DeflateDecoder::new(bytes).take(limit as u64 + 1);
                reader.read_to_end(&mut unpacked).map_err(broken)?;
            }
        }
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::new(bytes).map_err(broken)?;
            decoder.take(limit as u64 + 1).read_to_end(&mut unpacked).map_err(broken)?;
        }
        _ => {
            let reason = "`Content-Encoding` must be gzip, deflate or zstd, or left out";
            return Err(ServerError::field("content-encoding", reason));
        }
    }
    if unpacked.len() > limit {
        return Err(ServerError::TooLarge { what: "decompressed body", limit });
    }
    Ok(unpacked)
}

/// The bytes of a body.
pub(crate) async fn read(request: Request, limit: usize) -> Result<Bytes, ServerError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ServerError::TooLarge { what: "body", limit });
    }
    axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
        if std::error::Error::source(&error)
            .is_some_and(|cause| cause.to_string().contains("length limit"))
        {
            return ServerError::TooLarge { what: "body", limit };
        }
        let reason = format!("the body could not be read: {error}");
        ServerError::BadRequest { field: None, reason }
    })
}

/// A JSON object, whatever its type is said to be. An empty body and `null` are an empty one.
pub(crate) async fn object(request: Request) -> Result<Map<String, Value>, ServerError> {
    let bytes = read(request, REQUEST_BODY_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    Ok(parse::<Option<Map<String, Value>>>(&bytes)?.unwrap_or_default())
}

/// JSON that is not nested too deep.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ServerError> {
    if deeper_than(bytes, limits::JSON_DEPTH_MAX) {
        let reason = format!("the JSON is nested deeper than {}", limits::JSON_DEPTH_MAX);
        return Err(ServerError::BadRequest { field: None, reason });
    }
    serde_json::from_slice(bytes).map_err(|error| ServerError::BadRequest {
        field: None,
        reason: format!("the body is not the JSON expected here: {error}"),
    })
}

/// Whether brackets outside strings nest deeper than `limit`.
fn deeper_than(bytes: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bodies_are_unpacked_up_to_a_bound() {
        use std::io::Write as _;
        let gzip = |bytes: &[u8]| {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 1).unwrap();
        let zlib = |bytes: &[u8]| {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let bare = zlib(b"{}")[2..].to_vec();
        let most = limits::UNPACKED_BYTES_MAX;
        for (coding, packed) in [
            ("gzip", gzip(b"{}")),
            ("zstd", zstd(b"{}")),
            ("deflate", zlib(b"{}")),
            ("deflate", bare),
            ("identity", b"{}".to_vec()),
        ] {
            assert_eq!(unpack(coding, &packed, most).unwrap(), b"{}", "{coding}");
        }
        let bomb = vec![b' '; limits::UNPACKED_BYTES_MAX + 1];
        for (coding, packed) in
            [("gzip", gzip(&bomb)), ("deflate", zlib(&bomb)), ("zstd", zstd(&bomb))]
        {
            assert!(packed.len() < 100_000);
            let error = unpack(coding, &packed, most).unwrap_err();
            assert!(matches!(error, ServerError::TooLarge { .. }), "{error}");
        }
        for (coding, packed) in [("gzip", b"no".to_vec()), ("zstd", b"no".to_vec()), ("br", vec![])]
        {
            let error = unpack(coding, &packed, most).unwrap_err();
            assert!(matches!(error, ServerError::BadRequest { .. }), "{error}");
        }
        let cut = gzip(b"{\"a\": 1}");
        assert!(unpack("gzip", &cut[..cut.len() - 9], most).is_err());
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, expected) in [
            ("[[1]]", false),
            ("[[[1]]]", true),
            (r#"["[[[["]"#, false),
            (r#"["\"[[[["]"#, false),
            (r#"["\\",[[1]]]"#, true),
            ("[1],[2],[3],[4]", false),
        ] {
            assert_eq!(deeper_than(text.as_bytes(), 2), expected, "{text}");
        }
    }
}
