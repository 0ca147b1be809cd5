//! The parts that all decoders share: tolerant field types that borrow from the JSON, the used part of `metadata`, and
//! the pools that keep one copy of repeated texts.

pub mod claim;
pub mod cronjob;
pub mod event;
pub mod network;
pub mod node;
pub mod pod;
pub mod policy;
pub mod route;
pub mod workload;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use pilothouse_core::domain::id::{Kind, Name, Owner, Uid, Version};
use pilothouse_core::domain::node::{ChangedBy, Condition, Status};
use pilothouse_core::domain::pod::{PodOwn, PodShape};
use pilothouse_core::domain::quantity::{self, Resources};
use pilothouse_core::domain::scheduling::Scheduling;
use pilothouse_core::domain::selector::{Operator, Requirement, Selector};
use pilothouse_core::domain::text;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::intern::{Names, Shared};
use pilothouse_core::facts::table::Row;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

/// Reads one object from its JSON. None: the object is left out.
pub type Decoder<T> = Box<dyn FnMut(&[u8]) -> Result<Option<T>, DecodeError> + Send + Sync>;

/// A row of a watched kind: how it is read, and what is particular about its list and watch.
pub trait Decode: Row + Sized + Send + Sync + 'static {
    /// Query parameters of the list and the watch.
    const QUERY: &'static str = "";
    /// If there are more rows than this, they are listed every so often instead of watched.
    const POLL_ABOVE: Option<(u64, Duration)> = None;

    /// A decoder for one list and watch of `kind`, with pools of its own.
    fn decoder(kind: &Kind, clock: &Clock) -> Decoder<Self>;
}

/// The decoder of a kind that needs its pools only.
fn pooled<T: 'static>(read: fn(&mut Pools, &[u8]) -> Result<T, DecodeError>) -> Decoder<T> {
    let mut pools = Pools::default();
    Box::new(move |json| read(&mut pools, json).map(Some))
}

/// Longer messages say no more.
const MESSAGE_CAP: usize = 1024;

/// The pools of one task.
#[derive(Debug, Default)]
pub struct Pools {
    names: Names,
    pub(super) shapes: Shared<PodShape>,
    pub(super) own: Shared<PodOwn>,
    pub(super) scheduling: Shared<Scheduling>,
    owners: Shared<Owner>,
    selectors: Shared<Selector>,
}

impl Pools {
    /// A text that many objects share.
    pub fn name(&mut self, text: &str) -> Name {
        self.names.get(&text::clean(text))
    }

    /// None for an empty text.
    pub fn some(&mut self, text: &str) -> Option<Name> {
        (!text.is_empty()).then(|| self.name(text))
    }

    pub fn pairs(&mut self, labels: &Labels<'_>) -> Vec<(Name, Name)> {
        labels.0.iter().map(|(k, v)| (self.name(k), self.name(v))).collect()
    }

    /// The controlling owner.
    pub fn owner(&mut self, meta: &Meta<'_>) -> Option<Arc<Owner>> {
        let found = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
        let group = group_of(&found.api_version);
        let kind = kind_of(&found.kind, group);
        let owner = Owner {
            kind,
            name: self.name(&found.name),
            uid: Uid::parse(&found.uid),
            group: self.name(group),
        };
        Some(self.owners.get(owner))
    }

    pub fn selector(&mut self, selector: Option<&SelectorDoc<'_>>) -> Arc<Selector> {
        let value = match selector {
            None => Selector::nothing(),
            Some(doc) => Selector {
                labels: self.pairs(&doc.match_labels).into(),
                expressions: doc
                    .match_expressions
                    .iter()
                    .flatten()
                    .map(|e| Requirement {
                        key: self.name(&e.key),
                        operator: match &*e.operator {
                            "In" => Operator::In,
                            "NotIn" => Operator::NotIn,
                            "Exists" => Operator::Exists,
                            "DoesNotExist" => Operator::DoesNotExist,
                            _ => Operator::Unsupported,
                        },
                        values: e.values.iter().flatten().map(|v| self.name(v)).collect(),
                    })
                    .collect(),
                nothing: false,
            },
        };
        self.selectors.get(value)
    }

    pub fn share_selector(&mut self, selector: Selector) -> Arc<Selector> {
        self.selectors.get(selector)
    }

    pub fn conditions(&mut self, conditions: &[ConditionDoc<'_>]) -> Arc<[Condition]> {
        conditions
            .iter()
            .map(|c| Condition {
                kind: self.name(&c.kind),
                status: Status::parse(&c.status),
                reason: self.name(&c.reason),
                message: self.name(&text::cap(&c.message, MESSAGE_CAP)),
                since: c.last_transition_time.stamp(),
            })
            .collect()
    }

    /// The newest entry of managedFields whose fields hold one of `fields` (`"f:spec"`, with the quotes).
    pub fn changed(&mut self, meta: &Meta<'_>, fields: &[&str]) -> Option<ChangedBy> {
        let newest = meta
            .managed_fields
            .iter()
            .flatten()
            .filter(|m| {
                m.fields_v1.is_some_and(|raw| {
                    fields.iter().any(|f| memmem::find(raw.get().as_bytes(), f.as_bytes()).is_some())
                })
            })
            .filter_map(|m| Some((m.time.stamp()?, m)))
            .max_by_key(|(at, _)| *at)?;
        Some(ChangedBy { manager: self.name(&newest.1.manager), at: newest.0 })
    }
}

/// A text that no other object shares (a pod's name, an event's message).
pub fn single(text: &str) -> Name {
    Name::from(&*text::clean(text))
}

/// A message of bounded length.
pub fn message(text: &str) -> Name {
    single(&text::cap(text, MESSAGE_CAP))
}

/// The group of an `apiVersion`: `apps` of `apps/v1`, "" of `v1`.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A kind of this group. The group counts, because `Job` or `Service` of another group is not the built-in kind.
pub fn kind_of(kind: &str, group: &str) -> Kind {
    match Kind::of(kind, group) {
        Kind::Other(_) => Kind::Other(single(kind)),
        known => known,
    }
}

/// Decodes one object. The error names the object as far as it can be read.
pub fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(json).map_err(|error| {
        #[derive(Default, Deserialize)]
        struct Named<'b> {
            #[serde(borrow, default)]
            metadata: Option<Meta<'b>>,
        }
        let named: Named<'_> = serde_json::from_slice(json).unwrap_or_default();
        let name = named.metadata.map(|m| format!("{}/{}: ", m.namespace, m.name)).unwrap_or_default();
        DecodeError(text::clean(&format!("{name}{error}")).into_owned())
    })
}

/// A text field. It borrows if the JSON has no escapes; null, absent and other scalars are no error.
#[derive(Clone, Debug, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl Text<'_> {
    pub fn stamp(&self) -> Option<Stamp> {
        if self.0.is_empty() { None } else { Stamp::parse(&self.0) }
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(v)))
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(v.to_owned())))
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }
    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(v.to_string())))
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(v.to_string())))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(v.to_string())))
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(v.to_string())))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A map of texts; null is empty.
#[derive(Clone, Debug, Default)]
pub struct Labels<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl Labels<'_> {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| **k == *key).map(|(_, v)| &**v)
    }
}

struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = Labels<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Labels::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(entry) = map.next_entry()? {
            out.push(entry);
        }
        Ok(Labels(out))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelsVisitor)
    }
}

/// The part of `metadata` that is used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub namespace: Text<'a>,
    #[serde(borrow)]
    pub uid: Text<'a>,
    #[serde(borrow)]
    pub resource_version: Text<'a>,
    #[serde(borrow)]
    pub creation_timestamp: Text<'a>,
    #[serde(borrow)]
    pub deletion_timestamp: Text<'a>,
    pub deletion_grace_period_seconds: Option<i64>,
    pub generation: Option<i64>,
    #[serde(borrow)]
    pub labels: Labels<'a>,
    #[serde(borrow)]
    pub annotations: Labels<'a>,
    #[serde(borrow)]
    pub finalizers: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub owner_references: Option<Vec<OwnerDoc<'a>>>,
    #[serde(borrow)]
    pub managed_fields: Option<Vec<ManagedDoc<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerDoc<'a> {
    #[serde(borrow)]
    pub api_version: Text<'a>,
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub uid: Text<'a>,
    pub controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedDoc<'a> {
    #[serde(borrow)]
    pub manager: Text<'a>,
    #[serde(borrow)]
    pub time: Text<'a>,
    #[serde(borrow, rename = "fieldsV1")]
    pub fields_v1: Option<&'a RawValue>,
}

impl Meta<'_> {
    /// An object without a name and a UID cannot be identified.
    pub fn check(&self, kind: &str) -> Result<(), DecodeError> {
        if self.name.is_empty() || self.uid.is_empty() {
            let name = text::clean(&self.name);
            return Err(DecodeError(format!("{kind} {}/{name} has no name or no uid", self.namespace)));
        }
        Ok(())
    }

    pub fn uid(&self) -> Uid {
        Uid::parse(&self.uid)
    }

    pub fn version(&self) -> Version {
        Version::parse(&self.resource_version)
    }

    pub fn created(&self) -> Stamp {
        self.creation_timestamp.stamp().unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConditionDoc<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub status: Text<'a>,
    #[serde(borrow)]
    pub reason: Text<'a>,
    #[serde(borrow)]
    pub message: Text<'a>,
    #[serde(borrow)]
    pub last_transition_time: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectorDoc<'a> {
    #[serde(borrow)]
    pub match_labels: Labels<'a>,
    #[serde(borrow)]
    pub match_expressions: Option<Vec<ExpressionDoc<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExpressionDoc<'a> {
    #[serde(borrow)]
    pub key: Text<'a>,
    #[serde(borrow)]
    pub operator: Text<'a>,
    #[serde(borrow)]
    pub values: Option<Vec<Text<'a>>>,
}

/// `{cpu: 100m, memory: 1Gi}` as exact numbers; an absent one is 0.
pub fn resources(list: &Labels<'_>) -> Resources {
    Resources {
        cpu_milli: list.get("cpu").and_then(quantity::milli).unwrap_or(0),
        memory_bytes: list.get("memory").and_then(quantity::whole).unwrap_or(0),
        ephemeral_bytes: list.get("ephemeral-storage").and_then(quantity::whole).unwrap_or(0),
    }
}

/// A count that the API keeps in 32 bits.
pub fn int(value: Option<i64>) -> i32 {
    i32::try_from(value.unwrap_or(0)).unwrap_or(i32::MAX)
}
