//! Claims of pods: where their volumes can be used, and the volumes that are created when the first pod is scheduled.

use std::sync::Arc;

use serde_json::{Value, json};

use super::doc::{change, list, put, text};
use super::events::Recorder;
use super::scheduler::ZONE;
use crate::resources::Res;
use crate::store::{Object, Store, Write};

const NAME: &str = "persistentvolume-controller";

/// The claims that a pod mounts, or the first missing one.
pub(super) fn claims(store: &Store, pod: &Object) -> Result<Vec<Arc<Object>>, String> {
    let names = list(&pod.value, "/spec/volumes").iter();
    let names = names.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
    names
        .map(|name| {
            store
                .get(Res::PersistentVolumeClaims, pod.namespace(), name)
                .ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found"))
        })
        .collect()
}

/// The node affinity of the volumes that claims are bound to.
pub(super) fn affinities(store: &Store, claims: &[Arc<Object>]) -> Vec<Value> {
    let bound = claims.iter().map(|claim| claim.text("/spec/volumeName")).filter(|name| !name.is_empty());
    let volumes = bound.filter_map(|name| store.get(Res::PersistentVolumes, "", name));
    volumes
        .map(|volume| volume.at("/spec/nodeAffinity/required/nodeSelectorTerms").clone())
        .filter(|terms| !terms.is_null())
        .collect()
}

/// Creates a volume for every claim without one, usable in the zone of the node.
pub(super) fn bind(store: &Store, recorder: &Recorder, claims: &[Arc<Object>], node: &Object) {
    for claim in claims.iter().filter(|claim| claim.text("/spec/volumeName").is_empty()) {
        let name = format!("pvc-{}", claim.uid());
        let class = claim.text("/spec/storageClassName");
        let size = claim.at("/spec/resources/requests/storage").clone();
        let modes = claim.at("/spec/accessModes").clone();
        let mut volume = json!({"metadata": {"name": name,
                "annotations": {"pv.kubernetes.io/provisioned-by": "sim.pilothouse/disk"}},
            "spec": {"capacity": {"storage": size}, "accessModes": modes, "storageClassName": class,
                "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Filesystem",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(),
                    "name": claim.name(), "uid": claim.uid()},
                "csi": {"driver": "sim.pilothouse", "volumeHandle": name}},
            "status": {"phase": "Bound"}});
        if let Some(zone) = node.label(ZONE) {
            let terms = json!([{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}]);
            put(&mut volume, &["spec", "nodeAffinity", "required", "nodeSelectorTerms"], terms);
        }
        // A volume with this name exists already and is the right one.
        drop(store.create(Res::PersistentVolumes, volume, &Write::by(NAME)));
        let bound = change(store, claim, NAME, |value| {
            put(value, &["spec", "volumeName"], json!(name));
            put(
                value,
                &["status"],
                json!({"phase": "Bound", "accessModes": modes, "capacity": {"storage": size}}),
            );
        });
        if bound.is_ok() {
            let message = format!("Successfully provisioned volume {name}");
            recorder.normal(claim, "sim.pilothouse/disk", "ProvisioningSucceeded", &message);
        }
    }
}

/// Deletes a volume whose claim was deleted.
pub(super) fn release(store: &Store, claim: &Object) {
    let name = claim.text("/spec/volumeName");
    let Some(volume) = store.get(Res::PersistentVolumes, "", name) else { return };
    if text(volume.at("/spec/claimRef"), "uid") == claim.uid() {
        drop(store.delete(Res::PersistentVolumes, "", name, &crate::store::Delete::now()));
    }
}
