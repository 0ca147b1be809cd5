//! The commands that change the cluster: id, title, documentation, contexts, default keys, and what each acts on.

use pilothouse_core::domain::id::{Kind, ObjectRef};
use pilothouse_core::domain::kinds::Purpose;
use pilothouse_core::domain::plan::{Act, DrainOptions, EvictOptions};
use pilothouse_core::facts::event::Right;

use super::{Command, Context, Fits, act, asks, on};
use Context::{
    Actions, Alerts, Autoscalers, Backends, Everywhere, Nodes, Now, Pods, Text, Traffic, Workloads,
};

/// Identifies a command that changes the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeCmd {
    Drain,
    Cordon,
    OutOfService,
    Restart,
    Rollback,
    PauseRollout,
    Scale,
    Bounds,
    PauseAutoscaler,
    Evict,
    Rotation,
    Weight,
    Failover,
    SilenceAlerts,
    Undo,
    UndoThis,
    PauseAction,
    ResumeAction,
}

/// All of them.
pub(super) const CHANGES: &[Command] = &[
    act(
        ChangeCmd::Drain,
        "drain",
        "drain",
        "cordon a node and evict its pods; confirm by typing the last letters of its name; undo uncordons the node, but evicted pods do not move back",
        &[Nodes, Now, Text],
        &["D"],
        on("a node", Fits::Purpose(Purpose::Cordon), &[Right::Nodes, Right::Evictions], |_, _| {
            Act::Drain(DrainOptions { ignore_daemonsets: true, ..DrainOptions::default() })
        }),
    ),
    act(
        ChangeCmd::Cordon,
        "cordon",
        "cordon",
        "cordon or uncordon a node; confirm with y; undo restores the former state",
        &[Nodes, Now, Text],
        &["C"],
        on("a node", Fits::Purpose(Purpose::Cordon), &[Right::Nodes], |cluster, nodes| {
            let cordoned = |o: &ObjectRef| cluster.nodes.by_uid(&o.uid).is_some_and(|node| node.cordoned);
            if nodes.iter().all(cordoned) { Act::Uncordon } else { Act::Cordon }
        }),
    ),
    act(
        ChangeCmd::OutOfService,
        "out-of-service",
        "out of service",
        "add the out-of-service taint to a powered-off node, so that its pods are deleted and its volumes are detached, or remove the taint; confirm by typing the context's name; undo restores the former state",
        &[Nodes, Now, Text],
        &["O"],
        on("a node", Fits::Purpose(Purpose::Cordon), &[Right::Nodes], |cluster, nodes| {
            let off = |o: &ObjectRef| {
                cluster.nodes.by_uid(&o.uid).is_some_and(|node| node.has_out_of_service_taint())
            };
            if nodes.iter().all(off) { Act::InService } else { Act::OutOfService }
        }),
    ),
    act(
        ChangeCmd::Restart,
        "restart",
        "restart",
        "restart the workload's pods, like kubectl rollout restart; confirm with y, or with the last letters of the name if the workload is not healthy; cannot be undone",
        &[Workloads, Now, Text],
        &["R"],
        on("a workload", Fits::Purpose(Purpose::Restart), &[Right::Workloads], |_, _| Act::Restart),
    ),
    act(
        ChangeCmd::Rollback,
        "rollback",
        "roll back",
        "roll back to an earlier revision (o lists the revisions); confirm by typing the last letters of the name; undo restores the newer revision",
        &[Workloads, Now, Text],
        &["B"],
        on("a workload", Fits::Purpose(Purpose::Restart), &[Right::Workloads], |_, _| Act::Rollback {
            to_revision: None,
        }),
    ),
    act(
        ChangeCmd::Scale,
        "scale",
        "scale",
        "change the number of replicas; to raise it, confirm with y; to lower it, with the last letters of the name; for 0, with the context's name; undo restores the former number",
        &[Workloads, Now, Text],
        &["S"],
        asks("a workload", Fits::Purpose(Purpose::Scale), &[Right::Scales]),
    ),
    Command {
        hint: 0,
        ..act(
            ChangeCmd::PauseRollout,
            "pause-rollout",
            "pause",
            "pause or resume a Deployment's rollout; confirm with y; undo restores the former state",
            &[Workloads, Text],
            &["P"],
            on("a Deployment", Fits::Kind(&Kind::Deployment), &[Right::Workloads], |cluster, objects| {
                let paused = |o: &ObjectRef| {
                    cluster.workload(&o.kind, &o.namespace, &o.name).is_some_and(|workload| workload.paused)
                };
                if objects.iter().all(paused) { Act::ResumeRollout } else { Act::PauseRollout }
            }),
        )
    },
    act(
        ChangeCmd::Bounds,
        "bounds",
        "bounds",
        "change minReplicas and maxReplicas; confirm with y, or, if one of them becomes lower, with the last letters of the name; undo restores both",
        &[Autoscalers],
        &["S"],
        asks("an autoscaler", Fits::Purpose(Purpose::Bounds), &[Right::Autoscalers]),
    ),
    act(
        ChangeCmd::PauseAutoscaler,
        "pause-autoscaler",
        "pause",
        "pause or resume an autoscaler (a pause sets selectPolicy to Disabled for scaleUp and scaleDown); confirm with y; undo restores the former state",
        &[Autoscalers],
        &["P"],
        on("an autoscaler", Fits::Purpose(Purpose::Bounds), &[Right::Autoscalers], |cluster, hpas| {
            let paused = |o: &ObjectRef| cluster.hpas.by_uid(&o.uid).is_some_and(|hpa| hpa.paused);
            if hpas.iter().all(paused) { Act::ResumeAutoscaler } else { Act::PauseAutoscaler }
        }),
    ),
    act(
        ChangeCmd::Evict,
        "evict",
        "evict",
        "evict pods, or delete them with the option in o; confirm by typing the last letters of the name; cannot be undone",
        &[Pods, Backends, Now, Text],
        &["K"],
        on("a pod", Fits::Purpose(Purpose::Evict), &[Right::Evictions], |_, _| {
            Act::Evict(EvictOptions::default())
        }),
    ),
    act(
        ChangeCmd::Rotation,
        "rotation",
        "out/in rotation",
        "take a pod out of its Service by removing the labels that the Service selects (the pod keeps running), or put it back; drain a server of a HAProxy or make it ready (o: maintenance); confirm by typing the last letters of the name, or the context's name for the last ready pod; undo restores the labels",
        &[Backends, Pods, Now, Text],
        &["X"],
        asks("a pod", Fits::Purpose(Purpose::Rotation), &[Right::Pods]),
    ),
    act(
        ChangeCmd::Failover,
        "failover",
        "failover",
        "run a failover plan from the config, or one that is suggested for this cluster; confirm by typing the context's name; undo reverts the completed steps",
        &[Traffic, Backends, Nodes, Now],
        &["F"],
        asks("a service", Fits::Anything, &[]),
    ),
    Command {
        hint: 0,
        ..act(
            ChangeCmd::Weight,
            "weight",
            "weight",
            "change the weights of a route's backends, confirm by typing the context's name; or the weight of the selected server of a HAProxy, confirm by typing the last letters of its name; undo restores them",
            &[Now, Traffic, Backends, Text],
            &["W"],
            asks("a service", Fits::Anything, &[]),
        )
    },
    act(
        ChangeCmd::SilenceAlerts,
        "silence-alerts",
        "silence",
        "silence alerts in the Alertmanager: asks for the matchers, how long and why, then shows what it hides; or end the silence of the selected alert; confirm with y, with the last letters of the alert's name if it hides several, or with the context's name if it hides all; undo ends the silence, or makes it again",
        &[Alerts, Text],
        &["M"],
        asks("an alert", Fits::Nothing, &[]),
    ),
    act(
        ChangeCmd::UndoThis,
        "undo",
        "undo",
        "undo this action; refused if an object was changed after the action; confirm with y for a cordon, with the context's name for a failover, otherwise with the last letters of the name",
        &[Actions],
        &["U"],
        asks("an action", Fits::Nothing, &[]),
    ),
    Command {
        hint: 0,
        ..act(
            ChangeCmd::Undo,
            "undo-list",
            "undo",
            "open the list of actions, to select the one to undo",
            &[Everywhere],
            &["U"],
            asks("an action", Fits::Anything, &[]),
        )
    },
    act(
        ChangeCmd::ResumeAction,
        "resume-action",
        "resume",
        "resume an action whose process ended, or a drain that stopped; confirm in the same way as the action",
        &[Actions],
        &["R"],
        asks("an action", Fits::Nothing, &[]),
    ),
    act(
        ChangeCmd::PauseAction,
        "pause-action",
        "pause",
        "pause or continue this action; evictions that were already sent still finish; needs no confirmation",
        &[Actions],
        &["P"],
        asks("an action", Fits::Nothing, &[]),
    ),
];
