//! Reads the frames of a watch and gathers them until a batch is sent.

use std::borrow::Cow;

use pilothouse_core::domain::id::{Uid, Version};
use pilothouse_core::facts::event::Gone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::DecodeError;
use crate::wire::error::ApiError;

/// Objects that could not be decoded since the last list.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub count: u64,
    /// The error of the first one.
    pub first: Option<String>,
}

impl Unread {
    pub(super) fn add(&mut self, words: String) {
        self.count += 1;
        self.first.get_or_insert(words);
    }

    /// The text for the source's status.
    pub(super) fn words(&self) -> Option<String> {
        let first = self.first.as_deref().unwrap_or("too large");
        (self.count > 0).then(|| format!("{} objects could not be read (the first: {first})", self.count))
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Option<FrameMeta<'a>>,
    code: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FrameMeta<'a> {
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource_version: Option<Cow<'a, str>>,
}

/// The changes of a watch since the last batch.
pub(super) struct Seen<T> {
    pub rows: Vec<T>,
    pub gone: Vec<Gone>,
    /// The version to continue from.
    pub version: Option<String>,
    /// The server's ERROR event.
    pub ended: Option<ApiError>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), gone: Vec::new(), version: None, ended: None }
    }
}

impl<T> Seen<T> {
    /// Takes one frame. A frame that cannot be decoded is counted and does not end the stream.
    pub(super) fn line<D>(&mut self, line: &[u8], decode: &mut D, unread: &mut Unread)
    where
        D: FnMut(&[u8]) -> Result<Option<T>, DecodeError>,
    {
        if line.iter().all(u8::is_ascii_whitespace) || self.ended.is_some() {
            return;
        }
        let frame: Frame<'_> = match serde_json::from_slice(line) {
            Ok(frame) => frame,
            Err(error) => return unread.add(error.to_string()),
        };
        let object = frame.object.get().as_bytes();
        let head: Head<'_> = serde_json::from_slice(object).unwrap_or_default();
        if frame.kind == "ERROR" {
            self.ended = Some(ApiError::from_answer(head.code.unwrap_or(500), None, object));
            return;
        }
        let meta = head.metadata.unwrap_or_default();
        let version = meta.resource_version.as_deref().unwrap_or_default();
        match &*frame.kind {
            "ADDED" | "MODIFIED" => match decode(object) {
                Ok(Some(row)) => self.rows.push(row),
                Ok(None) => {}
                Err(error) => unread.add(error.0),
            },
            "DELETED" => match meta.uid {
                Some(uid) => self.gone.push(Gone { uid: Uid::parse(&uid), version: Version::parse(version) }),
                None => unread.add("a deleted object without uid".into()),
            },
            // for BOOKMARK and unknown types only the version counts
            _ => {}
        }
        if !version.is_empty() {
            self.version = Some(version.to_owned());
        }
    }
}
