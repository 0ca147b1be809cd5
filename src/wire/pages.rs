//! Reads a whole list once, page by page until the server returns no continue token. Each item is decoded when it
//! arrives.

use super::client::{ReadClient, escape};
use super::error::ApiError;
use super::items::Items;
use super::list_watch::DecodeError;

/// Maximum number of pages of one list, because a server could return continue tokens without end.
pub const PAGES: u32 = 10_000;
/// How often a list is started again because its continue token has expired.
const RESTARTS: u32 = 2;

/// A whole list.
#[derive(Debug)]
pub struct Whole<T> {
    pub rows: Vec<T>,
    /// The version to watch from. It is the first page's, so that a watch repeats the changes made while the others
    /// were read.
    pub version: String,
    /// The error of the first item that could not be decoded.
    pub unread: Option<DecodeError>,
    /// The number of items that were too large.
    pub oversized: u64,
}

/// The query of the next page, after a page with the continue token `token` whose query was `asked`.
pub fn next(path: &str, token: &str, asked: Option<&str>, pages: u32) -> Result<String, ApiError> {
    if asked == Some(token) || pages >= PAGES {
        return Err(ApiError::Decode(format!("the list does not end (page {pages})")));
    }
    let sign = if path.contains('?') { '&' } else { '?' };
    Ok(format!("{path}{sign}continue={}", escape(token)))
}

/// Reads the list at `path` (with its selectors, without a version), at most `cap` bytes per page. `kind`: the kind
/// that the answer must have (`PodList`); "": any list.
pub async fn whole<T>(
    client: &ReadClient,
    path: &str,
    kind: &str,
    cap: usize,
    mut read: impl FnMut(&[u8]) -> Result<T, DecodeError>,
) -> Result<Whole<T>, ApiError> {
    let mut restarts = 0;
    loop {
        match once(client, path, kind, cap, &mut read).await {
            // the continue token has expired
            Err(ApiError::Gone { .. }) if restarts < RESTARTS => restarts += 1,
            ended => return ended,
        }
    }
}

async fn once<T>(
    client: &ReadClient,
    path: &str,
    kind: &str,
    cap: usize,
    read: &mut impl FnMut(&[u8]) -> Result<T, DecodeError>,
) -> Result<Whole<T>, ApiError> {
    let mut list = Whole { rows: Vec::new(), version: String::new(), unread: None, oversized: 0 };
    let mut token: Option<String> = None;
    let mut asks = path.to_owned();
    let mut pages = 0;
    loop {
        pages += 1;
        let body = client.get(&asks, "application/json", cap).await?.body;
        let mut items = Items::default();
        let fed = items.feed(&body, |json| match read(json) {
            Ok(row) => list.rows.push(row),
            Err(error) => {
                list.unread.get_or_insert(error);
            }
        });
        let meta = items.finish(kind)?;
        fed.map_err(|e| ApiError::Decode(e.to_string()))?;
        list.oversized += items.oversized();
        if list.version.is_empty() {
            list.version = meta.resource_version.clone().unwrap_or_default();
        }
        let Some(more) = meta.continue_token.clone().filter(|t| !t.is_empty()) else { return Ok(list) };
        asks = next(path, &more, token.as_deref(), pages)?;
        token = Some(more);
    }
}

/// The list as JSON values.
pub async fn values(client: &ReadClient, path: &str, cap: usize) -> Result<Vec<serde_json::Value>, ApiError> {
    let read = |json: &[u8]| serde_json::from_slice(json).map_err(|e| DecodeError(e.to_string()));
    let list = whole(client, path, "", cap, read).await?;
    match list.unread {
        None if list.oversized == 0 => Ok(list.rows),
        None => Err(ApiError::Decode("an object is too large".into())),
        Some(error) => Err(ApiError::Decode(error.0)),
    }
}
