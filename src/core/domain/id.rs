//! Identity: names, UIDs, kinds, and the key that identifies one object of one cluster.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::kinds::Kind;

/// A short shared text (a namespace, an object's name, an image). A clone only increments a reference count.
///
/// Sources intern repeated names. Names are compared by their text, so a name that was not interned also compares
/// correctly.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For serde, which cannot use the deref.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of owners of this allocation, for the interner's sweep.
    pub fn owners(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `metadata.uid`. API servers use RFC 4122 UUIDs, which are stored in 16 bytes. Any other text is stored unchanged,
/// because the API promises only an opaque string, and the precondition of an eviction must have exactly this text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Uid {
    Uuid(u128),
    Text(Name),
}

impl Uid {
    pub fn parse(text: &str) -> Self {
        match parse_uuid(text) {
            Some(value) => Self::Uuid(value),
            None => Self::Text(Name::from(text)),
        }
    }
}

/// Parses the canonical lower-case form only. Any other spelling would be printed differently than it was read.
fn parse_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut value = 0u128;
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(v) => write!(
                f,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                (v >> 96) as u32,
                (v >> 80) as u16,
                (v >> 64) as u16,
                (v >> 48) as u16,
                v & 0xffff_ffff_ffff
            ),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Default for Uid {
    fn default() -> Self {
        Self::Text(Name::default())
    }
}

impl Serialize for Uid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Ok(Self::parse(&text))
    }
}

/// `metadata.resourceVersion` as a number. Numbers can be compared on every API server since 1.35, and in practice on
/// earlier ones. 0 means unknown (the server uses another format); it never counts as newer than a known one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    pub fn parse(text: &str) -> Self {
        Self(text.parse().unwrap_or(0))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one of the console's clusters: an index into `World::clusters` that stays the same while the process
/// runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u16);

/// An object of a cluster as people name it, with the UID when it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The console's cluster that has the object. Journals before this field do not have it; in every journal, it is
    /// the number in the process that wrote it, so a reader sets its own ([`crate::domain::plan::Plan::set_cluster`]).
    #[serde(default)]
    pub cluster: ClusterId,
    pub kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: Name,
    pub name: Name,
    #[serde(default)]
    pub uid: Uid,
}

impl ObjectRef {
    pub fn new(cluster: ClusterId, kind: Kind, namespace: &Name, name: &Name, uid: &Uid) -> Self {
        Self { cluster, kind, namespace: namespace.clone(), name: name.clone(), uid: uid.clone() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_object(f, &self.kind, &self.namespace, &self.name)
    }
}

/// Writes `deploy/checkout`, or `shop/deploy/checkout` if the object has a namespace.
pub(super) fn write_object(
    f: &mut fmt::Formatter<'_>,
    kind: &Kind,
    namespace: &Name,
    name: &Name,
) -> fmt::Result {
    if !namespace.is_empty() {
        write!(f, "{namespace}/")?;
    }
    write!(f, "{}/{name}", kind.short())
}

/// The controlling owner of an object (`metadata.ownerReferences[]` with `controller: true`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    pub kind: Kind,
    pub name: Name,
    pub uid: Uid,
    /// The API group, "" for core. It tells a Karpenter or Argo kind from a built-in kind of the same name.
    pub group: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_prints_back_the_very_text() {
        for text in
            ["c0ffee00-1234-4abc-8def-0123456789ab", "C0FFEE00-1234-4abc-8def-0123456789ab", "", "mirror"]
        {
            assert_eq!(Uid::parse(text).to_string(), text);
        }
        assert!(matches!(Uid::parse("c0ffee00-1234-4abc-8def-0123456789ab"), Uid::Uuid(_)));
    }
}
