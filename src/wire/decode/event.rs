//! Kubernetes Events (core v1), old style and new.

use pilothouse_core::domain::event::{InvolvedObject, KubeEvent};
use pilothouse_core::domain::id::{Kind, Uid};
use serde::Deserialize;

use super::{Decode, Decoder, Meta, Pools, Text, group_of, kind_of, message, pooled, read, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EventDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    involved_object: Option<About<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    count: Option<u32>,
    #[serde(borrow)]
    first_timestamp: Text<'a>,
    #[serde(borrow)]
    last_timestamp: Text<'a>,
    #[serde(borrow)]
    event_time: Text<'a>,
    #[serde(borrow)]
    series: Option<Series<'a>>,
    #[serde(borrow)]
    source: Option<EventSource<'a>>,
    #[serde(borrow)]
    reporting_component: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct About<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    uid: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series<'a> {
    count: Option<u32>,
    #[serde(borrow)]
    last_observed_time: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EventSource<'a> {
    #[serde(borrow)]
    component: Text<'a>,
}

impl Decode for KubeEvent {
    /// The steps of every pod's normal life are left out: nine of ten events, and nobody asks for them. The pull of an image
    /// is kept: a pod that only waits for its image has no other event that explains it.
    const QUERY: &'static str = "fieldSelector=reason%21%3DScheduled%2Creason%21%3DPulled%2Creason%21%3DCreated%2Creason%21%3DStarted";

    fn decoder(_: &Kind, _: &Clock) -> Decoder<Self> {
        pooled(event)
    }
}

/// An event from its JSON.
pub fn event(pools: &mut Pools, json: &[u8]) -> Result<KubeEvent, DecodeError> {
    let doc: EventDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check("event")?;
    let about = doc.involved_object.unwrap_or_default();
    let series = doc.series.unwrap_or_default();
    let component =
        doc.source.map(|s| s.component).filter(|c| !c.is_empty()).unwrap_or(doc.reporting_component);
    // the scheduler writes new-style events, which have neither `firstTimestamp` nor `lastTimestamp`
    let event_time = doc.event_time.stamp();
    Ok(KubeEvent {
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        about: InvolvedObject {
            kind: kind_of(&about.kind, group_of(&about.api_version)),
            namespace: pools.name(&about.namespace),
            name: pools.name(&about.name),
            uid: Uid::parse(&about.uid),
        },
        warning: &*doc.kind == "Warning",
        reason: pools.name(&doc.reason),
        message: message(&doc.message),
        count: doc.count.or(series.count).unwrap_or(1).max(1),
        first: doc.first_timestamp.stamp().or(event_time),
        last: series
            .last_observed_time
            .stamp()
            .or(doc.last_timestamp.stamp())
            .or(event_time)
            .or(meta.creation_timestamp.stamp()),
        component: pools.name(&component),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilothouse_core::domain::time::Stamp;

    #[test]
    fn old_and_new_style() {
        let of = |rest: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"e","namespace":"n","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z"}},"involvedObject":{{"kind":"Node","name":"n1","uid":"n1"}}{rest}}}"#
            );
            event(&mut Pools::default(), json.as_bytes()).unwrap()
        };
        let new = of(
            r#","type":"Warning","reason":"FailedScheduling","eventTime":"2026-01-01T00:00:05.5Z","firstTimestamp":null,"lastTimestamp":null,"reportingComponent":"default-scheduler""#,
        );
        assert!(new.warning && new.count == 1 && new.component == "default-scheduler");
        assert_eq!(new.last, Stamp::parse("2026-01-01T00:00:05.5Z"));
        let old = of(
            r#","type":"Normal","count":4,"firstTimestamp":"2026-01-01T00:00:01Z","lastTimestamp":"2026-01-01T00:00:09Z","source":{"component":"kubelet"},"message":"a\u001bb""#,
        );
        assert_eq!((old.count, old.message.as_str(), old.component.as_str()), (4, "a␛b", "kubelet"));
        assert_eq!((&old.about.kind, old.about.name.as_str()), (&Kind::Node, "n1"));
    }
}
