//! The state of a node that its kubelet reports: Lease, conditions, and the pod addresses that it assigns.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::doc::{Condition, after, list, put, set_condition, text};
use super::super::events::{Recorder, Tale};
use crate::clock::stamp;
use crate::resources::Res;
use crate::store::{Object, Store, Write};
use crate::world::NodeTrouble;

pub(super) const NAME: &str = "kubelet";
/// How long a pressure is still reported after it has ended.
const TRANSITION: TimeDelta = TimeDelta::minutes(5);
/// How often the status is written if nothing changes.
const REPORT: TimeDelta = TimeDelta::minutes(5);

/// A kubelet's memory of its node.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub trouble: NodeTrouble,
    pub images: BTreeSet<String>,
    /// Until when each pressure is still reported after it has ended.
    linger: [Option<DateTime<Utc>>; 3],
    reported: Option<DateTime<Utc>>,
    /// The position of the last pod's address in the node's range.
    cursor: u32,
}

struct Pressure {
    kind: &'static str,
    bad: (&'static str, &'static str),
    good: (&'static str, &'static str),
    event: (&'static str, &'static str),
}

const PRESSURES: [Pressure; 3] = [
    Pressure {
        kind: "MemoryPressure",
        bad: ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        good: ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        event: ("NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    },
    Pressure {
        kind: "DiskPressure",
        bad: ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        good: ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        event: ("NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    },
    Pressure {
        kind: "PIDPressure",
        bad: ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        good: ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        event: ("NodeHasInsufficientPID", "NodeHasSufficientPID"),
    },
];

impl Machine {
    pub(super) fn is_silent(&self) -> bool {
        self.trouble.off || self.trouble.silent
    }

    fn pressures(trouble: &NodeTrouble) -> [bool; 3] {
        [trouble.memory_pressure, trouble.disk_pressure, trouble.pid_pressure]
    }

    /// Updates the faults of the node.
    pub(super) fn now_has(&mut self, trouble: NodeTrouble, at: DateTime<Utc>) {
        let (before, now) = (Self::pressures(&self.trouble), Self::pressures(&trouble));
        for ((linger, before), now) in self.linger.iter_mut().zip(before).zip(now) {
            if before && !now {
                *linger = Some(after(at, TRANSITION));
            }
        }
        self.trouble = trouble;
    }

    /// When its conditions change by themselves.
    pub(super) fn next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.linger.iter().flatten().copied().filter(|due| *due > at).min()
    }

    /// Renews its Lease; if that is not possible, the status has to show that the node is alive.
    pub(super) fn beat(&mut self, store: &Store, node: &Object) {
        let now = store.clock().micro();
        let how = Write::by(NAME);
        let renewed = store.write(Res::Leases, "kube-node-lease", node.name(), &how, |value| {
            put(value, &["spec", "renewTime"], json!(now));
            Ok(())
        });
        if renewed.is_err() {
            let lease = json!({"metadata": {"name": node.name(), "namespace": "kube-node-lease",
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node.name(), "uid": node.uid()}]},
                "spec": {"holderIdentity": node.name(), "leaseDurationSeconds": 40, "renewTime": now}});
            if store.create(Res::Leases, lease, &how).is_err() {
                self.reported = None;
            }
        }
    }

    /// Writes the node's conditions if they differ from the last ones, or if a report is due.
    pub(super) fn report(&mut self, store: &Store, recorder: &Recorder, node: &Object, at: DateTime<Utc>) {
        let mut conditions = list(&node.value, "/status/conditions").to_vec();
        let mut told = Vec::new();
        let mut changed = false;
        let pressures = Self::pressures(&self.trouble);
        for ((pressure, is), linger) in PRESSURES.iter().zip(pressures).zip(self.linger) {
            let on = is || linger.is_some_and(|until| until > at);
            let (status, (reason, message)) =
                if on { ("True", pressure.bad) } else { ("False", pressure.good) };
            let was =
                crate::store::condition(&node.value, pressure.kind).map(|one| text(one, "status").to_owned());
            let new = Condition::new(pressure.kind, status, reason, message);
            if set_condition(&mut conditions, new, at) {
                changed = true;
                if was.is_some_and(|was| was != status) {
                    told.push(if on { pressure.event.0 } else { pressure.event.1 });
                }
            }
        }
        let (status, reason, message) = match &self.trouble.not_ready {
            Some(why) => ("False", "KubeletNotReady", why.as_str()),
            None => ("True", "KubeletReady", "kubelet is posting ready status"),
        };
        let was = node.condition("Ready").map(str::to_owned);
        if set_condition(&mut conditions, Condition::new("Ready", status, reason, message), at) {
            changed = true;
            if was.as_deref() != Some(status) {
                told.push(if status == "True" { "NodeReady" } else { "NodeNotReady" });
            }
        }
        let due = self.reported.is_none_or(|last| at - last >= REPORT && !store.is_past());
        if !changed && !due {
            return;
        }
        self.reported = Some(at);
        for one in &mut conditions {
            if matches!(text(one, "type"), "MemoryPressure" | "DiskPressure" | "PIDPressure" | "Ready") {
                put(one, &["lastHeartbeatTime"], json!(stamp(at)));
            }
        }
        let info = crate::scenario::cast::node_info(store, node.name());
        let mut place = store.random().keyed(&["address", node.name()]);
        let ip = format!("10.2.{}.{}", place.u8(..), place.u8(1..255));
        let addresses =
            json!([{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": node.name()}]);
        let how = Write::by(NAME).status().if_uid(Some(node.uid()));
        let written = store.write(Res::Nodes, "", node.name(), &how, |value| {
            put(value, &["status", "conditions"], json!(conditions));
            if value.pointer("/status/allocatable").is_none()
                && let Some(capacity) = value.pointer("/status/capacity").cloned()
            {
                put(value, &["status", "allocatable"], capacity);
            }
            // A node that another client has registered lacks the facts of its machine.
            if value.pointer("/status/nodeInfo").is_none() {
                put(value, &["status", "nodeInfo"], info);
            }
            if value.pointer("/status/addresses").is_none() {
                put(value, &["status", "addresses"], addresses);
            }
            Ok(())
        });
        if written.is_ok() {
            for reason in told {
                let message = format!("Node {} status is now: {reason}", node.name());
                let host = node.name();
                recorder.tell(
                    node,
                    Tale { kind: "Normal", reason, message: &message, from: NAME, host, field: "" },
                );
            }
        }
    }

    /// The machine was restarted.
    pub(super) fn rebooted(store: &Store, node: &Object) {
        let how = Write::by(NAME).status().if_uid(Some(node.uid()));
        let id = store.random().uid();
        // A node that was deleted meanwhile has no boot id.
        drop(store.write(Res::Nodes, "", node.name(), &how, |value| {
            put(value, &["status", "nodeInfo", "bootID"], json!(id));
            Ok(())
        }));
    }

    /// The next free address of its range.
    pub(super) fn address(&mut self, node: &Object, used: &mut HashSet<u32>) -> u32 {
        let range = node.text("/spec/podCIDR").split('/').next().and_then(|ip| ip.parse::<Ipv4Addr>().ok());
        let base = range.map_or(0x0AF4_0000, u32::from);
        loop {
            self.cursor += 1;
            // Beyond its 253 hosts a range continues in the next one; nothing is routed here, so this does no harm.
            let at = base + (self.cursor / 253) * 256 + self.cursor % 253 + 2;
            if used.insert(at) {
                return at;
            }
        }
    }
}

/// The address of a node.
pub(super) fn host_ip(node: &Object) -> &str {
    list(&node.value, "/status/addresses")
        .iter()
        .find(|one: &&Value| text(one, "type") == "InternalIP")
        .map_or("", |one| text(one, "address"))
}
