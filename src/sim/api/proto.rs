//! The few protobuf bodies that kubectl always sends, even to a server that prefers JSON: reviews, evictions, delete
//! options, scales. They are converted into JSON documents.

use serde_json::{Map, Value, json};

/// The prefix of every protobuf body.
const MAGIC: &[u8] = b"k8s\0";

/// A field of a message.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Number,
    Flag,
    Message(Schema),
}

type Schema = &'static [(u64, &'static str, Kind)];

const METADATA: Schema = &[
    (1, "name", Kind::Text),
    (3, "namespace", Kind::Text),
    (5, "uid", Kind::Text),
    (6, "resourceVersion", Kind::Text),
];
const OPTIONS: Schema = &[
    (1, "gracePeriodSeconds", Kind::Number),
    (2, "preconditions", Kind::Message(&[(1, "uid", Kind::Text), (2, "resourceVersion", Kind::Text)])),
    (3, "orphanDependents", Kind::Flag),
    (4, "propagationPolicy", Kind::Text),
    (5, "dryRun", Kind::Texts),
];
const EVICTION: Schema =
    &[(1, "metadata", Kind::Message(METADATA)), (2, "deleteOptions", Kind::Message(OPTIONS))];
const ACCESS: Schema = &[
    (1, "metadata", Kind::Message(METADATA)),
    (
        2,
        "spec",
        Kind::Message(&[
            (
                1,
                "resourceAttributes",
                Kind::Message(&[
                    (1, "namespace", Kind::Text),
                    (2, "verb", Kind::Text),
                    (3, "group", Kind::Text),
                    (4, "version", Kind::Text),
                    (5, "resource", Kind::Text),
                    (6, "subresource", Kind::Text),
                    (7, "name", Kind::Text),
                ]),
            ),
            (2, "nonResourceAttributes", Kind::Message(&[(1, "path", Kind::Text), (2, "verb", Kind::Text)])),
        ]),
    ),
];
const RULES: Schema =
    &[(1, "metadata", Kind::Message(METADATA)), (2, "spec", Kind::Message(&[(1, "namespace", Kind::Text)]))];
const SELF: Schema = &[(1, "metadata", Kind::Message(METADATA))];
const SCALE: Schema =
    &[(1, "metadata", Kind::Message(METADATA)), (2, "spec", Kind::Message(&[(1, "replicas", Kind::Number)]))];
/// `runtime.Unknown`, which wraps every body: the type, and the message as bytes (field 2, parsed separately).
const ENVELOPE: Schema =
    &[(1, "type", Kind::Message(&[(1, "apiVersion", Kind::Text), (2, "kind", Kind::Text)]))];

fn schema(kind: &str) -> Option<Schema> {
    Some(match kind {
        "DeleteOptions" => OPTIONS,
        "Eviction" => EVICTION,
        "SelfSubjectAccessReview" => ACCESS,
        "SelfSubjectRulesReview" => RULES,
        "SelfSubjectReview" => SELF,
        "Scale" => SCALE,
        _ => return None,
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut out = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        out |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(out);
        }
    }
    None
}

/// The next field: its number, and a number or bytes.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, u64, &'a [u8])> {
    let tag = varint(bytes)?;
    let number = tag >> 3;
    let mut take = |len: usize| {
        let (taken, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        Some(taken)
    };
    match tag & 7 {
        0 => Some((number, varint(bytes)?, &[])),
        1 => take(8).map(|taken| (number, 0, taken)),
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            let (taken, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Some((number, 0, taken))
        }
        5 => take(4).map(|taken| (number, 0, taken)),
        _ => None,
    }
}

fn message(mut bytes: &[u8], schema: Schema) -> Option<Value> {
    let mut out = Map::new();
    while !bytes.is_empty() {
        let (number, value, content) = field(&mut bytes)?;
        let Some((_, name, kind)) = schema.iter().find(|(known, ..)| *known == number) else { continue };
        let text = || String::from_utf8_lossy(content).into_owned();
        match kind {
            // Fields without a value are sent too.
            Kind::Text if content.is_empty() => {}
            Kind::Text => drop(out.insert((*name).to_owned(), json!(text()))),
            Kind::Texts => {
                if let Some(list) = out.entry(*name).or_insert_with(|| json!([])).as_array_mut() {
                    list.push(json!(text()));
                }
            }
            Kind::Number => drop(out.insert((*name).to_owned(), json!(value.cast_signed()))),
            Kind::Flag => drop(out.insert((*name).to_owned(), json!(value != 0))),
            Kind::Message(schema) => drop(out.insert((*name).to_owned(), message(content, schema)?)),
        }
    }
    Some(Value::Object(out))
}

/// The document of a protobuf body. `None`: it is not protobuf, or of an unknown kind.
pub(super) fn document(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(MAGIC)?;
    let envelope = message(body, ENVELOPE)?;
    let (mut rest, mut raw): (&[u8], &[u8]) = (body, &[]);
    while !rest.is_empty() {
        if let (2, _, content) = field(&mut rest)? {
            raw = content;
        }
    }
    let kind = envelope.pointer("/type/kind")?.as_str()?;
    let mut out = message(raw, schema(kind)?)?;
    if let Some(map) = out.as_object_mut() {
        map.insert("kind".into(), json!(kind));
        map.insert("apiVersion".into(), envelope.pointer("/type/apiVersion").cloned().unwrap_or_default());
    }
    Some(out)
}

/// Whether the body is protobuf, of a known kind or not.
pub(super) fn is_protobuf(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn an_eviction_as_kubectl_sends_it() {
        let kind = [text(1, b"policy/v1"), text(2, b"Eviction")].concat();
        let metadata = [text(1, b"p"), text(2, b""), text(3, b"shop")].concat();
        let options = [vec![1 << 3, 30], text(2, &text(1, b"u")), text(5, b"All")].concat();
        let raw = [text(1, &metadata), text(2, &options)].concat();
        let body = [MAGIC.to_vec(), text(1, &kind), text(2, &raw), text(3, b""), text(4, b"")].concat();
        assert_eq!(
            document(&body).unwrap(),
            json!({"kind": "Eviction", "apiVersion": "policy/v1",
            "metadata": {"name": "p", "namespace": "shop"},
            "deleteOptions": {"gracePeriodSeconds": 30, "preconditions": {"uid": "u"}, "dryRun": ["All"]}})
        );
        for end in 0..body.len() {
            drop(document(&body[..end]));
        }
        assert!(document(b"{}").is_none());
    }
}
