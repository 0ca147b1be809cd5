//! PersistentVolumeClaims.

use pilothouse_core::domain::claim::{Claim, ClaimPhase};
use pilothouse_core::domain::id::Kind;
use serde::Deserialize;

use super::{Decode, Decoder, Meta, Pools, Text, pooled, read, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Doc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<Spec<'a>>,
    #[serde(borrow)]
    status: Option<StatusDoc<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec<'a> {
    #[serde(borrow)]
    storage_class_name: Text<'a>,
    #[serde(borrow)]
    volume_name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusDoc<'a> {
    #[serde(borrow)]
    phase: Text<'a>,
}

impl Decode for Claim {
    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(claim)
    }
}

/// A claim from its JSON.
pub fn claim(pools: &mut Pools, json: &[u8]) -> Result<Claim, DecodeError> {
    let doc: Doc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("persistentvolumeclaim")?;
    let spec = doc.spec.unwrap_or_default();
    Ok(Claim {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        created: meta.created(),
        phase: ClaimPhase::parse(&doc.status.unwrap_or_default().phase),
        class: pools.some(&spec.storage_class_name),
        volume: (!spec.volume_name.is_empty()).then(|| single(&spec.volume_name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_judged() {
        let read = |spec: &str, status: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"data-db-0","namespace":"shop","uid":"u"}},"spec":{spec},"status":{status}}}"#
            );
            claim(&mut Pools::default(), json.as_bytes()).unwrap()
        };
        let bound = read(r#"{"storageClassName":"fast","volumeName":"pv-1"}"#, r#"{"phase":"Bound"}"#);
        assert_eq!((bound.phase, bound.class.as_deref()), (ClaimPhase::Bound, Some("fast")));
        assert_eq!(bound.volume.as_deref(), Some("pv-1"));
        for (spec, status, phase) in [
            ("{}", r#"{"phase":"Pending"}"#, ClaimPhase::Pending),
            (r#"{"storageClassName":""}"#, "{}", ClaimPhase::Pending),
            ("{}", r#"{"phase":"Lost"}"#, ClaimPhase::Lost),
            ("null", r#"{"phase":"Whatever"}"#, ClaimPhase::Unknown),
        ] {
            let claim = read(spec, status);
            assert_eq!((claim.phase, claim.class, claim.volume), (phase, None, None), "{spec} {status}");
        }
        assert!(claim(&mut Pools::default(), br#"{"metadata":{"name":"c"}}"#).is_err(), "no uid");
    }
}
