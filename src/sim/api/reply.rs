//! Answers: JSON documents, Status, plain text, lists without copying, gzip for large bodies.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::status::Status;
use crate::store::Object;

/// As in the real server, larger bodies are compressed.
const LARGE: usize = 128 << 10;

fn with_type(code: u16, body: Body, kind: &'static str) -> Response {
    let mut out = Response::new(body);
    *out.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    out
}

pub(super) fn plain(code: u16, text: &str) -> Response {
    with_type(code, Body::from(text.to_owned()), "text/plain; charset=utf-8")
}

pub(super) fn json(code: u16, value: &Value) -> Response {
    with_type(code, Body::from(value.to_string()), "application/json")
}

pub(super) fn stream(body: Body, kind: &'static str) -> Response {
    with_type(200, body, kind)
}

pub(super) fn status(refused: &Status) -> Response {
    let mut out = json(refused.code, &refused.body());
    if let Some(seconds) = refused.retry_after {
        out.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    out
}

/// `{"kind":…,"apiVersion":…,` : the part before the cached rest of an object.
pub(super) fn head(object: &Object) -> String {
    let info = object.res.info();
    format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", info.kind, info.api_version())
}

/// The whole document, from the cached bytes.
pub(super) fn document(object: &Object) -> Vec<u8> {
    let mut out = head(object).into_bytes();
    let item = object.item();
    out.extend_from_slice(item.get(1..).unwrap_or(b"}"));
    out
}

pub(super) fn object(code: u16, object: &Object) -> Response {
    with_type(code, Body::from(document(object)), "application/json")
}

/// A body of many parts: sent as they are, or compressed if the client accepts it and the size is worth it.
pub(super) async fn parts(parts: Vec<Bytes>, gzip: bool) -> Response {
    let size: usize = parts.iter().map(Bytes::len).sum();
    if size <= LARGE {
        return with_type(200, Body::from(parts.concat()), "application/json");
    }
    if gzip {
        let packed = tokio::task::spawn_blocking(move || {
            let mut packer = GzEncoder::new(Vec::with_capacity(size / 8), Compression::fast());
            parts.iter().try_for_each(|part| packer.write_all(part))?;
            packer.finish()
        });
        let Ok(Ok(packed)) = packed.await else { return status(&Status::internal("compression failed")) };
        let mut out = with_type(200, Body::from(packed), "application/json");
        out.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return out;
    }
    let chunks = futures::stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>));
    with_type(200, Body::from_stream(chunks), "application/json")
}
