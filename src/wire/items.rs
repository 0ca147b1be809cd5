//! Reads a Kubernetes List while its body arrives. Each element of `items` is passed on when its last byte has arrived,
//! however the body is split into chunks. A truncated body is never treated as a complete list, and an answer that is
//! not a list is never treated as an empty one: [`Items::finish`] returns which it was.

use memchr::memchr2;
use serde::Deserialize;

use super::error::ApiError;

/// Larger objects are counted and skipped (etcd refuses objects above 1.5 MiB by default).
pub const ITEM_CAP: usize = 4 << 20;
/// The size limit of the list's own metadata and of other keys, which are small.
const META_CAP: usize = 64 << 10;
/// This much of the body's start is kept until `items` was seen, to tell what else it is (a Status, a page).
const HEAD_CAP: usize = 8 << 10;

/// The list's own metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    pub resource_version: Option<String>,
    pub remaining_item_count: Option<u64>,
    #[serde(rename = "continue")]
    pub continue_token: Option<String>,
}

/// The body is not a JSON object. [`Items::finish`] returns what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list is not valid JSON")]
pub struct Malformed;

/// The value of the key `items`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ItemsValue {
    Nothing,
    /// An array, or null, which is how a Go server writes a nil slice.
    List,
    /// A text, a number or an object.
    Other,
}

/// The incremental decoder. Pass every chunk to it; when the body has ended, check [`Items::is_complete`].
#[derive(Debug)]
pub struct Items {
    state: ParserState,
    nest: Nest,
    /// Bytes of the current token from earlier chunks.
    buf: Vec<u8>,
    /// The current token is too large and is skipped.
    over: bool,
    cap: usize,
    key: String,
    meta: ListMeta,
    kind: Option<String>,
    held: ItemsValue,
    /// The start of the body, until `items` was seen.
    head: Vec<u8>,
    items: u64,
    oversized: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParserState {
    Start,
    BeforeKey,
    Key,
    Colon,
    BeforeValue,
    Value,
    BetweenItems,
    Item,
    Done,
    Bad,
}

/// Finds the end of one JSON value.
#[derive(Clone, Copy, Debug, Default)]
struct Nest {
    depth: u32,
    string: bool,
    escape: bool,
    /// A number or a word, which ends before the next delimiter.
    scalar: bool,
}

impl Nest {
    fn begin(first: u8) -> Self {
        Self { scalar: !matches!(first, b'{' | b'[' | b'"'), ..Self::default() }
    }

    /// How many of `bytes` belong to the value if it ends here; None if it continues.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.scalar {
            return bytes.iter().position(|b| matches!(b, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.escape {
                self.escape = false;
                at += 1;
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            if self.string {
                let found = memchr2(b'"', b'\\', rest)?;
                at += found + 1;
                if rest.get(found) == Some(&b'\\') {
                    self.escape = true;
                } else {
                    self.string = false;
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                continue;
            }
            let found = rest.iter().position(|b| matches!(b, b'"' | b'{' | b'}' | b'[' | b']'))?;
            at += found + 1;
            match rest.get(found) {
                Some(b'"') => self.string = true,
                Some(b'{' | b'[') => self.depth += 1,
                _ => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
            }
        }
        None
    }
}

impl Default for Items {
    fn default() -> Self {
        Self::with_cap(ITEM_CAP)
    }
}

impl Items {
    pub fn with_cap(cap: usize) -> Self {
        Self {
            state: ParserState::Start,
            nest: Nest::default(),
            buf: Vec::new(),
            over: false,
            cap,
            key: String::new(),
            meta: ListMeta::default(),
            kind: None,
            held: ItemsValue::Nothing,
            head: Vec::new(),
            items: 0,
            oversized: 0,
        }
    }

    /// The list's closing token was read, so nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.state == ParserState::Done
    }

    pub fn meta(&self) -> &ListMeta {
        &self.meta
    }

    /// Whether the body, which has ended, was a complete list of `kind` (`PodList`; "": any kind). If not, the error
    /// says what it was; it must never be treated as an empty list.
    pub fn finish(&self, kind: &str) -> Result<&ListMeta, ApiError> {
        if self.state == ParserState::Bad || (self.state == ParserState::Start && !self.head.is_empty()) {
            return Err(ApiError::not_json(&self.head));
        }
        if !self.is_complete() {
            return Err(ApiError::Unreachable("the list ended early".into()));
        }
        let actual_kind = self.kind.as_deref().unwrap_or_default();
        if actual_kind == "Status" {
            return Err(ApiError::from_status_in_success(&self.head));
        }
        let what = match (self.held, actual_kind) {
            // a client that knows what it asked for needs no kind, like client-go's typed clients
            (ItemsValue::List, "") => return Ok(&self.meta),
            (ItemsValue::List, actual_kind)
                if kind.is_empty() || actual_kind == kind || actual_kind == "List" =>
            {
                return Ok(&self.meta);
            }
            (ItemsValue::Other, _) => "an object whose `items` is not a list".to_owned(),
            (ItemsValue::Nothing, "") => ApiError::words_of(&self.head)
                .unwrap_or_else(|| "an object without kind and items".to_owned()),
            (_, actual_kind) => format!("of kind {}", pilothouse_core::domain::text::cap(actual_kind, 60)),
        };
        let what = pilothouse_core::domain::text::clean(&what).into_owned();
        let wanted = if kind.is_empty() { "a list" } else { kind };
        Err(ApiError::Decode(format!("it is {what}, not {wanted}")))
    }

    /// The number of items passed on so far.
    pub fn count(&self) -> u64 {
        self.items
    }

    /// The number of items skipped because they were too large.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Takes the next piece of the body and passes on the items that it completes.
    pub fn feed(&mut self, chunk: &[u8], mut item: impl FnMut(&[u8])) -> Result<(), Malformed> {
        if self.held == ItemsValue::Nothing {
            let room = HEAD_CAP.saturating_sub(self.head.len());
            self.head.extend_from_slice(chunk.get(..chunk.len().min(room)).unwrap_or_default());
        }
        let mut rest = chunk;
        while let Some(&byte) = rest.first() {
            let white = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
            let used = match self.state {
                ParserState::Done if white => 1,
                ParserState::Done | ParserState::Bad => return self.bad(),
                ParserState::Key | ParserState::Value | ParserState::Item => self.token(rest, &mut item)?,
                _ if white => 1,
                ParserState::Start if byte == b'{' => self.go(ParserState::BeforeKey),
                ParserState::BeforeKey if byte == b'"' => self.begin(ParserState::Key, byte),
                ParserState::BeforeKey if byte == b',' => 1,
                ParserState::BeforeKey if byte == b'}' => self.go(ParserState::Done),
                ParserState::Colon if byte == b':' => self.go(ParserState::BeforeValue),
                ParserState::BeforeValue if byte == b'[' && self.key == "items" => {
                    self.hold(ItemsValue::List);
                    self.go(ParserState::BetweenItems)
                }
                ParserState::BeforeValue if matches!(byte, b',' | b']' | b'}' | b':') => return self.bad(),
                ParserState::BeforeValue => self.begin(ParserState::Value, byte),
                ParserState::BetweenItems if byte == b',' => 1,
                ParserState::BetweenItems if byte == b']' => self.go(ParserState::BeforeKey),
                ParserState::BetweenItems if matches!(byte, b'}' | b':') => return self.bad(),
                ParserState::BetweenItems => self.begin(ParserState::Item, byte),
                _ => return self.bad(),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    fn bad(&mut self) -> Result<(), Malformed> {
        self.state = ParserState::Bad;
        Err(Malformed)
    }

    /// `items` was seen, so the start of the body is no longer needed; a list of many objects keeps none of it.
    fn hold(&mut self, held: ItemsValue) {
        self.held = held;
        self.head = Vec::new();
    }

    fn go(&mut self, state: ParserState) -> usize {
        self.state = state;
        1
    }

    fn begin(&mut self, state: ParserState, first: u8) -> usize {
        self.state = state;
        self.nest = Nest::begin(first);
        self.buf.clear();
        self.over = false;
        0
    }

    /// Continues the current key, value or item; returns how many bytes it took.
    fn token(&mut self, rest: &[u8], item: &mut impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let keep = matches!(self.state, ParserState::Item | ParserState::Key)
            || matches!(self.key.as_str(), "metadata" | "kind" | "items");
        let cap = if self.state == ParserState::Item { self.cap } else { META_CAP };
        let Some(end) = self.nest.end(rest) else {
            if keep && !self.over {
                if self.buf.len() + rest.len() > cap {
                    self.over = true;
                    self.buf = Vec::new();
                } else {
                    self.buf.extend_from_slice(rest);
                }
            }
            return Ok(rest.len());
        };
        let tail = rest.get(..end).unwrap_or_default();
        self.over |= self.buf.len() + tail.len() > cap;
        let whole = if !keep || self.over {
            None
        } else if self.buf.is_empty() {
            Some(tail)
        } else {
            self.buf.extend_from_slice(tail);
            Some(self.buf.as_slice())
        };
        self.state = match self.state {
            ParserState::Item => {
                match whole {
                    Some(bytes) => {
                        self.items += 1;
                        item(bytes);
                    }
                    None => self.oversized += 1,
                }
                ParserState::BetweenItems
            }
            ParserState::Key => {
                // an escaped key is the same key
                match whole.map(serde_json::from_slice::<String>) {
                    Some(Ok(key)) => self.key = key,
                    Some(Err(_)) => {
                        self.state = ParserState::Bad;
                        return Err(Malformed);
                    }
                    None => self.key.clear(),
                }
                ParserState::Colon
            }
            _ => {
                match (self.key.as_str(), whole) {
                    ("metadata", Some(bytes)) => {
                        self.meta = serde_json::from_slice::<Option<ListMeta>>(bytes)
                            .ok()
                            .flatten()
                            .unwrap_or_default();
                    }
                    ("kind", Some(bytes)) => {
                        self.kind = serde_json::from_slice::<Option<String>>(bytes).ok().flatten();
                    }
                    ("items", bytes) => {
                        self.held = if bytes == Some(b"null") { ItemsValue::List } else { ItemsValue::Other };
                    }
                    _ => {}
                }
                self.key.clear();
                ParserState::BeforeKey
            }
        };
        if self.state == ParserState::BetweenItems {
            self.buf.clear();
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(chunks: &[&[u8]]) -> (Vec<Value>, Items) {
        let mut items = Items::default();
        let mut out = Vec::new();
        for chunk in chunks {
            items.feed(chunk, |bytes| out.push(serde_json::from_slice(bytes).unwrap())).unwrap();
        }
        (out, items)
    }

    #[test]
    fn equals_serde_json_at_every_split_point() {
        let texts = [
            json!({"kind": "PodList", "metadata": {"resourceVersion": "42", "remainingItemCount": 7},
                   "items": [{"a": "x\"}]\\"}, {"b": [1, {"c": null}]}, {}, 3, "s", null]})
            .to_string(),
            r#" { "it\u0065ms" : [ {"a":1} , {"b":"\\\""} ] , "metadata" : { "resourceVersion":"42","remainingItemCount":7 } } "#.into(),
        ];
        for text in texts {
            let whole: Value = serde_json::from_str(&text).unwrap();
            let bytes = text.as_bytes();
            for split in 0..=bytes.len() {
                let (out, items) = read(&[&bytes[..split], &bytes[split..]]);
                assert_eq!(Value::Array(out), whole["items"], "split at {split}");
                assert!(items.is_complete());
                assert_eq!(items.meta().resource_version.as_deref(), Some("42"));
                assert_eq!(items.meta().remaining_item_count, Some(7));
            }
        }
    }

    #[test]
    fn only_a_list_is_an_empty_list() {
        for text in [
            r#"{"metadata":null,"items":null}"#,
            r#"{"items":[]}"#,
            r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items": null }"#,
        ] {
            for split in 0..text.len() {
                let (out, items) = read(&[&text.as_bytes()[..split], &text.as_bytes()[split..]]);
                assert!(out.is_empty() && items.finish("PodList").is_ok(), "{text} at {split}");
            }
        }
    }

    #[test]
    fn what_is_no_list_is_an_error_that_says_what_it_is() {
        for (text, expected) in [
            ("{}", "it is an object without kind and items, not PodList"),
            (r#"{"metadata":{}}"#, "it is an object without kind and items, not PodList"),
            (r#"{"error":{"code":"no_upstream","message":"no healthy upstream"}}"#, "no healthy upstream"),
            (r#"{"error":"upstream gone"}"#, "upstream gone"),
            (r#"{"kind":"Pod","metadata":{"name":"a"}}"#, "it is of kind Pod, not PodList"),
            (r#"{"kind":"ServiceList","items":[]}"#, "it is of kind ServiceList, not PodList"),
            (r#"{"kind":"PodList","items":{"a":1}}"#, "an object whose `items` is not a list"),
            (r#"{"kind":"PodList","items":"none"}"#, "an object whose `items` is not a list"),
            (r#"{"kind":"PodList","items":3}"#, "an object whose `items` is not a list"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            ("<!doctype html><title>Sign in</title><p>x</p>", "an HTML page"),
            ("upstream connect error", "upstream connect error"),
            ("", "the list ended early"),
            (r#"{"kind":"Status","code":403,"message":"pods is forbidden"}"#, "pods is forbidden"),
            (r#"{"kind":"Status","status":"Failure","message":"x","code":500,"items":null}"#, ""),
        ] {
            for split in 0..=text.len() {
                let mut items = Items::default();
                for part in [&text.as_bytes()[..split], &text.as_bytes()[split..]] {
                    // a malformed body stays malformed
                    let _fed = items.feed(part, |_| ());
                }
                let error = match items.finish("PodList") {
                    Err(error) => error.to_string(),
                    Ok(_) => panic!("{text} passes for a list"),
                };
                assert!(error.contains(expected) && !error.contains('<'), "{text} at {split}: {error}");
            }
        }
    }

    #[test]
    fn a_cut_list_never_says_complete() {
        let text = r#"{"metadata":{"resourceVersion":"1"},"items":[{"a":"}]}"},{"b":2}]}"#;
        for cut in 0..text.len() {
            assert!(!read(&[&text.as_bytes()[..cut]]).1.is_complete(), "cut at {cut}");
        }
    }

    #[test]
    fn too_large_items_are_counted_and_left_out() {
        let mut items = Items::with_cap(16);
        let text = br#"{"items":[{"a":"0123456789abcdef"},{"b":1}]}"#;
        for size in [1, 7, 100] {
            let mut seen = 0;
            items = Items::with_cap(16);
            for chunk in text.chunks(size) {
                items.feed(chunk, |_| seen += 1).unwrap();
            }
            assert_eq!((seen, items.oversized(), items.is_complete()), (1, 1, true));
        }
        assert_eq!(items.count(), 1);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let mut items = Items::with_cap(32);
            for chunk in &chunks {
                if items.feed(chunk, |_| ()).is_err() {
                    break;
                }
            }
        }

        #[test]
        fn json_like_bytes_never_panic(text in r#"[\{\}\[\]",:\\ a1items]{0,60}"#, at in 0usize..60) {
            let bytes = text.as_bytes();
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            let mut items = Items::default();
            if items.feed(a, |_| ()).is_ok() && items.feed(b, |_| ()).is_ok() && serde_json::from_str::<Value>(&text).is_ok_and(|v| v.is_object()) {
                prop_assert!(items.is_complete());
            }
        }
    }
}
