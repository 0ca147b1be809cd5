//! Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs, decoded into one slim form.

use pilothouse_core::domain::id::Kind;
use pilothouse_core::domain::workload::{ManagedBy, Strategy, Tool, Workload};
use serde::Deserialize;

use super::{ConditionDoc, Decode, Decoder, Labels, Meta, Pools, SelectorDoc, Text, int, read, single};
use crate::clock::Clock;
use crate::wire::list_watch::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkloadDoc<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Option<WorkloadSpec<'a>>,
    #[serde(borrow)]
    status: Option<Counts<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadSpec<'a> {
    replicas: Option<i64>,
    parallelism: Option<i64>,
    completions: Option<i64>,
    paused: Option<bool>,
    /// A Job's `paused`.
    suspend: Option<bool>,
    #[serde(borrow)]
    strategy: Option<StrategyDoc<'a>>,
    #[serde(borrow)]
    update_strategy: Option<StrategyDoc<'a>>,
    #[serde(borrow)]
    selector: Option<SelectorDoc<'a>>,
    #[serde(borrow)]
    template: Option<Template<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StrategyDoc<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    rolling_update: Option<Rolling>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rolling {
    partition: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template<'a> {
    #[serde(borrow)]
    metadata: Option<TemplateMeta<'a>>,
    #[serde(borrow)]
    spec: Option<TemplateSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateMeta<'a> {
    #[serde(borrow)]
    labels: Labels<'a>,
    #[serde(borrow)]
    annotations: Labels<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TemplateSpec<'a> {
    #[serde(borrow)]
    containers: Option<Vec<Container<'a>>>,
    #[serde(borrow)]
    init_containers: Option<Vec<Container<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container<'a> {
    #[serde(borrow)]
    image: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Counts<'a> {
    observed_generation: Option<i64>,
    replicas: Option<i64>,
    updated_replicas: Option<i64>,
    ready_replicas: Option<i64>,
    available_replicas: Option<i64>,
    #[serde(borrow)]
    current_revision: Text<'a>,
    #[serde(borrow)]
    update_revision: Text<'a>,
    desired_number_scheduled: Option<i64>,
    current_number_scheduled: Option<i64>,
    updated_number_scheduled: Option<i64>,
    number_ready: Option<i64>,
    number_available: Option<i64>,
    active: Option<i64>,
    ready: Option<i64>,
    succeeded: Option<i64>,
    failed: Option<i64>,
    #[serde(borrow)]
    conditions: Option<Vec<ConditionDoc<'a>>>,
}

impl Decode for Workload {
    fn decoder(kind: &Kind, _: &Clock) -> Decoder<Self> {
        let (mut pools, kind) = (Pools::default(), kind.clone());
        Box::new(move |json| workload(&mut pools, &kind, json).map(Some))
    }
}

/// A workload of this kind from its JSON.
pub fn workload(pools: &mut Pools, kind: &Kind, json: &[u8]) -> Result<Workload, DecodeError> {
    let doc: WorkloadDoc<'_> = read(json)?;
    let meta = &doc.metadata;
    meta.check(kind.as_str())?;
    let spec = doc.spec.unwrap_or_default();
    let status = doc.status.unwrap_or_default();
    let template = spec.template.unwrap_or_default();
    let pod_meta = template.metadata.unwrap_or_default();
    let pod_spec = template.spec.unwrap_or_default();
    let strategy = spec.update_strategy.or(spec.strategy).unwrap_or_default();
    let mut out = Workload {
        kind: kind.clone(),
        uid: meta.uid(),
        version: meta.version(),
        namespace: pools.name(&meta.namespace),
        name: single(&meta.name),
        created: meta.created(),
        generation: meta.generation.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        replicas: int(Some(spec.replicas.unwrap_or(1))),
        desired: int(Some(spec.replicas.unwrap_or(1))),
        current: int(status.replicas),
        updated: int(status.updated_replicas),
        ready: int(status.ready_replicas),
        available: int(status.available_replicas),
        succeeded: int(status.succeeded),
        failed: int(status.failed),
        paused: spec.paused.or(spec.suspend).unwrap_or(false),
        strategy: match &*strategy.kind {
            "Recreate" => Strategy::Recreate,
            "OnDelete" => Strategy::OnDelete,
            _ => Strategy::RollingUpdate,
        },
        partition: None,
        current_revision: pools.name(&status.current_revision),
        update_revision: pools.name(&status.update_revision),
        revision: meta.annotations.get("deployment.kubernetes.io/revision").and_then(|r| r.parse().ok()),
        conditions: pools.conditions(status.conditions.as_deref().unwrap_or_default()),
        selector: pools.selector(spec.selector.as_ref()),
        images: pod_spec
            .containers
            .iter()
            .flatten()
            .chain(pod_spec.init_containers.iter().flatten())
            .filter(|c| !c.image.is_empty())
            .map(|c| pools.name(&c.image))
            .collect(),
        template_labels: pools.pairs(&pod_meta.labels).into(),
        owner: pools.owner(meta),
        managed_by: managed_by(pools, meta),
        changed: pools.changed(meta, &["\"f:spec\""]),
        rolled_out: pools.changed(meta, &["\"f:template\""]),
        restarted_at: pod_meta.annotations.get("kubectl.kubernetes.io/restartedAt").map(single),
    };
    match kind {
        Kind::StatefulSet => {
            out.partition = strategy.rolling_update.map(|r| int(r.partition));
        }
        Kind::DaemonSet => {
            out.replicas = 0;
            out.desired = int(status.desired_number_scheduled);
            out.current = int(status.current_number_scheduled);
            out.updated = int(status.updated_number_scheduled);
            out.ready = int(status.number_ready);
            out.available = int(status.number_available);
        }
        Kind::Job => {
            out.replicas = int(Some(spec.parallelism.unwrap_or(1)));
            out.desired = int(Some(spec.completions.or(spec.parallelism).unwrap_or(1)));
            out.current = int(status.active);
            out.ready = int(status.ready);
            out.available = out.ready;
        }
        _ => {}
    }
    Ok(out)
}

/// The GitOps tool or operator that owns the object and may revert changes, as a short word.
fn managed_by(pools: &mut Pools, meta: &Meta<'_>) -> Option<ManagedBy> {
    let label = |key: &str| meta.labels.get(key).filter(|v| !v.is_empty());
    let annotation = |key: &str| meta.annotations.get(key).filter(|v| !v.is_empty());
    let (tool, name) = if let Some(id) = annotation("argocd.argoproj.io/tracking-id") {
        (Tool::ArgoCd, id.split(':').next())
    } else if let Some(name) = label("argocd.argoproj.io/instance") {
        (Tool::ArgoCd, Some(name))
    } else if meta
        .annotations
        .0
        .iter()
        .chain(&meta.labels.0)
        .any(|(k, _)| k.starts_with("argocd.argoproj.io/"))
    {
        (Tool::ArgoCd, label("app.kubernetes.io/instance"))
    } else if let Some(name) = label("kustomize.toolkit.fluxcd.io/name") {
        (Tool::Flux, Some(name))
    } else if let Some(name) = label("helm.toolkit.fluxcd.io/name") {
        (Tool::Flux, Some(name))
    } else if label("app.kubernetes.io/managed-by") == Some("Helm") {
        (Tool::Helm, annotation("meta.helm.sh/release-name").or_else(|| label("app.kubernetes.io/instance")))
    } else {
        return None;
    };
    Some(ManagedBy { tool, name: name.map(|name| pools.name(name)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &Kind, meta: &str, rest: &str) -> Workload {
        let json = format!(
            r#"{{"metadata":{{"name":"w","namespace":"shop","uid":"u","generation":2{meta}}}{rest}}}"#
        );
        workload(&mut Pools::default(), kind, json.as_bytes()).unwrap()
    }

    #[test]
    fn counts_by_kind() {
        let deploy = of(
            &Kind::Deployment,
            r#","annotations":{"deployment.kubernetes.io/revision":"7"}"#,
            r#","spec":{"replicas":3,"paused":true,"strategy":{"type":"Recreate"},"template":{"metadata":{"labels":{"app":"a"},"annotations":{"kubectl.kubernetes.io/restartedAt":"t"}},"spec":{"containers":[{"image":"i:1"}]}}},"status":{"observedGeneration":2,"replicas":4,"updatedReplicas":1}"#,
        );
        assert_eq!((deploy.desired, deploy.current, deploy.updated, deploy.revision), (3, 4, 1, Some(7)));
        assert!(deploy.paused && deploy.strategy == Strategy::Recreate && deploy.restarted_at.is_some());
        let sts = of(
            &Kind::StatefulSet,
            "",
            r#","spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}},"status":null"#,
        );
        assert_eq!((sts.replicas, sts.partition), (1, Some(2)));
        let ds = of(
            &Kind::DaemonSet,
            "",
            r#","status":{"desiredNumberScheduled":5,"numberReady":4,"currentNumberScheduled":5}"#,
        );
        assert_eq!((ds.replicas, ds.desired, ds.ready, ds.current), (0, 5, 4, 5));
        let job = of(
            &Kind::Job,
            "",
            r#","spec":{"parallelism":2,"completions":6},"status":{"active":2,"succeeded":3}"#,
        );
        assert_eq!((job.replicas, job.desired, job.current, job.succeeded), (2, 6, 2, 3));
    }

    #[test]
    fn who_reverts_changes() {
        let by = |meta: &str| of(&Kind::Deployment, meta, "").managed_by.map(|n| n.to_string());
        assert_eq!(
            by(r#","annotations":{"argocd.argoproj.io/tracking-id":"shop:apps/Deployment:shop/w"}"#)
                .as_deref(),
            Some("Argo CD shop")
        );
        assert_eq!(by(r#","labels":{"helm.toolkit.fluxcd.io/name":"w"}"#).as_deref(), Some("Flux w"));
        assert_eq!(by(r#","labels":{"app.kubernetes.io/managed-by":"Helm"}"#).as_deref(), Some("Helm"));
        assert_eq!(by(""), None);
    }
}
