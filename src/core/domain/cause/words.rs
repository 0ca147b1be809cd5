//! The words of findings, for NOW, `why` and the documents.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{
    Cause, ClaimState, Culprit, Effect, Finding, Group, Heartbeats, NodeLoss, Remedy, ServiceHit, Shared,
    UnboundClaim,
};
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::slo;
use crate::domain::text::{brief, count};
use crate::domain::time::age;

/// The maximum number of names in the line of a group.
const NAMED: usize = 3;

/// Returns `shop/checkout`, or the name alone for an object without a namespace.
pub(super) fn place(object: &ObjectRef) -> String {
    if object.namespace.is_empty() {
        object.name.to_string()
    } else {
        format!("{}/{}", object.namespace, object.name)
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(noun) = self.noun() {
            write!(f, "{noun} ")?;
        }
        self.without_noun(f)
    }
}

impl Cause {
    /// Returns the noun that its line begins with: the kind of its object. `None` if the line says the kind
    /// elsewhere.
    pub fn noun(&self) -> Option<&'static str> {
        if self.group.is_some()
            || self.errors_of_remedy().is_some_and(|(remedy, _)| remedy.effect != Effect::None)
        {
            return None;
        }
        match &self.finding {
            Finding::HpaAtLimit { .. } | Finding::HpaFailing { .. } => Some("HPA"),
            Finding::PdbBlocks { .. } => Some("PDB"),
            Finding::NodeNotReady(NodeLoss::Node { .. })
            | Finding::NodePressure { .. }
            | Finding::NodeSuspect(Heartbeats::Node { .. }) => Some("node"),
            Finding::NoReadyEndpoints(_) => Some("service"),
            _ => None,
        }
    }

    /// Returns the line without its [`Self::noun`], for the list in a line that stands for several findings.
    pub fn in_list(&self) -> String {
        let mut words = String::new();
        let written = match self.finding {
            Finding::HpaAtLimit { max, wants } if self.group.is_none() => {
                let wants =
                    wants.map_or_else(|| format!(" {max}"), |wants| format!(" wants {wants} of {max}"));
                write!(words, "{}{wants}", self.about()).and_then(|()| self.remedy(&mut words))
            }
            _ => self.without_noun(&mut words),
        };
        // Writing to a `String` cannot fail.
        written.map_or_else(|_| String::new(), |()| words)
    }

    fn about(&self) -> String {
        self.object().map(place).unwrap_or_default()
    }

    fn without_noun(&self, f: &mut impl fmt::Write) -> fmt::Result {
        if let Some(group) = &self.group {
            return self.of_group(group, f);
        }
        match self.errors_of_remedy() {
            Some((remedy, errors)) if remedy.effect != Effect::None => {
                write!(f, "{} recovering: errors {errors}, {remedy}", self.about())?;
            }
            _ => {
                self.itself(f)?;
                self.remedy(f)?;
            }
        }
        for hit in &self.hits {
            match hit {
                ServiceHit::NoEndpoints { service } => {
                    write!(f, "; {} has no ready endpoints", place(service))?;
                }
                ServiceHit::Errors { service, ratio } => {
                    write!(f, "; {} {:.1}% errors", place(service), ratio * 100.0)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the remedy, and the change of the error ratio since it began. `None` if the finding is not about
    /// errors.
    fn errors_of_remedy(&self) -> Option<(&Remedy, String)> {
        let remedy = self.progress.remedy.as_ref()?;
        let (was, is) = (remedy.before?, self.impact.error_ratio?);
        let (shown_was, shown_is) = (format!("{:.1}", was * 100.0), format!("{:.1}", is * 100.0));
        let errors = match remedy.effect {
            // The errors have not decreased yet. An arrow to a higher number would contradict "recovering".
            Effect::Pending | Effect::Helps if shown_was == shown_is || is >= was => {
                format!("still {shown_is} %")
            }
            _ => format!("{shown_was} → {shown_is} %"),
        };
        Some((remedy, errors))
    }

    /// Writes the words that the remedy adds to the line.
    fn remedy(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match (self.progress.remedy.as_ref(), self.errors_of_remedy()) {
            (Some(remedy), Some((_, errors))) if remedy.effect == Effect::None => {
                write!(f, "; {remedy} did not help: {errors}")
            }
            // Without a measure, the finding may have another cause now, so its own words are enough.
            (Some(remedy), None) if remedy.effect != Effect::None => write!(f, "; recovering: {remedy}"),
            _ => Ok(()),
        }
    }

    fn of_group(&self, group: &Group, f: &mut impl fmt::Write) -> fmt::Result {
        let noun = match &self.finding {
            Finding::HpaFailing { .. } => "HPAs",
            Finding::ServiceSlow { .. } => "services",
            Finding::AlertFiring { .. } => "alerts",
            _ => "workloads",
        };
        write!(f, "{} {noun} ", group.count)?;
        let namespace = match &group.by {
            Shared::Message { namespace: Some(namespace), .. } => namespace.as_str(),
            _ => "",
        };
        if let Shared::Node { node, .. } = &group.by
            && !matches!(self.finding, Finding::Terminating { .. })
        {
            write!(f, "on {node} ")?;
        }
        match &self.finding {
            Finding::AlertFiring { name, .. } => f.write_str(name)?,
            Finding::NotCreated { refused, .. } => {
                write!(f, "of {namespace}: pods cannot be created: {}", brief(refused))?;
            }
            Finding::NotReady { probe: Some(probe), .. } => {
                write!(f, "of {namespace} not ready: {}", brief(probe))?;
            }
            Finding::NotStarting { reason, message, .. } => {
                write!(f, "cannot start: {reason}: {}", brief(message))?;
            }
            Finding::Terminating { held, .. } => {
                write!(f, "with pods Terminating past the grace period: {held}")?;
            }
            Finding::HpaFailing { why } => write!(f, "cannot act: {}", brief(&why.to_string()))?,
            Finding::ServiceSlow { .. } => f.write_str("slow")?,
            Finding::Unschedulable { volume: Some(volume), .. } => write!(f, "{volume}")?,
            Finding::VolumeNotBound {
                claim: UnboundClaim { event: Some((reason, message)), .. }, ..
            } => {
                write!(f, "wait for volumes: {reason}: {}", brief(message))?;
            }
            other => f.write_str(other.code().as_str())?,
        }
        let names: Vec<String> = group.first.iter().take(NAMED).map(place).collect();
        write!(f, ": {}", names.join(", "))?;
        match group.count {
            more if more > NAMED => write!(f, " and {} more", more - NAMED),
            _ => Ok(()),
        }
    }

    /// Writes the finding. The name of its object comes first.
    fn itself(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let about = self.about();
        match &self.finding {
            Finding::AlertFiring { name, summary, more } => {
                write!(f, "alert {name}")?;
                // what follows the sentence of the rule belongs to the same line
                match (about.as_str(), summary.trim_end_matches('.')) {
                    ("", "") => {}
                    ("", text) => write!(f, ": {text}")?,
                    (about, "") => write!(f, ": {about}")?,
                    (about, text) if text.contains(about) => write!(f, ": {text}")?,
                    (about, text) => write!(f, ": {about}: {text}")?,
                }
                match more {
                    0 => Ok(()),
                    more => write!(f, " (and {})", count(*more as u64, "more alert")),
                }
            }
            Finding::BadConfig { pods } => write!(f, "{about} container config error: {pods}"),
            Finding::CanaryWorse { canary, stable, by } => {
                write!(f, "{about}: {canary} is worse than {stable}: {by}")
            }
            Finding::CrashLoop { pods, exit: Some((code, reason)) } => {
                write!(f, "{about} crash loop, exit {code} ({reason}): {pods}")
            }
            Finding::CrashLoop { pods, exit: None } => write!(f, "{about} crash loop: {pods}"),
            Finding::CronJobMissed { last, why } => {
                let last = last.as_ref().map_or_else(|| "never run".into(), |at| format!("last run {at}"));
                write!(f, "CronJob {about} has missed its schedule, {last}: {why}")
            }
            Finding::ErrorsSinceRollout { after_secs, or_earlier, moved, template } => {
                let earlier = if *or_earlier { " or earlier" } else { "" };
                write!(f, "{about} error first seen {after_secs}s after rollout {moved}{earlier}: {template}")
            }
            Finding::Evicted { pods } => {
                write!(f, "{about}: {} left behind by evictions", count(*pods, "pod"))
            }
            Finding::HpaAtLimit { max, wants } => {
                let wants = wants.map_or_else(String::new, |wants| format!(", wants {wants}"));
                write!(f, "{about} at max {max}{wants}")
            }
            Finding::HpaFailing { why } => write!(f, "{about} cannot act: {why}"),
            Finding::ImagePull { pods, image: Some(image) } => {
                write!(f, "{about} cannot pull {image}: {pods}")
            }
            Finding::ImagePull { pods, image: None } => write!(f, "{about} image cannot be pulled: {pods}"),
            Finding::JobFailed { failed, newest, reason, message } => {
                match (self.object().map(|object| &object.kind), failed) {
                    (Some(Kind::CronJob), 1) => write!(f, "CronJob {about}: job {newest} failed")?,
                    (Some(Kind::CronJob), n) => write!(f, "CronJob {about}: its last {n} jobs failed")?,
                    _ => write!(f, "job {about} failed")?,
                }
                write!(f, ": {reason}: {}", brief(message))
            }
            Finding::NoReadyEndpoints(why) => write!(f, "{about} has no ready endpoints: {why}"),
            Finding::NodeNotReady(loss) => node_loss(f, &about, loss),
            Finding::NodePressure { problems, pods } => {
                write!(f, "{about} {}: {}", problems.join(", "), count(*pods, "pod"))
            }
            Finding::NodeSuspect(Heartbeats::Node { pods }) => write!(
                f,
                "{about} stopped its heartbeat, still Ready by the control plane: {}",
                count(*pods, "pod")
            ),
            Finding::NodeSuspect(Heartbeats::Most { silent, of }) => write!(
                f,
                "{silent} of {of} nodes stopped renewing their leases: look at the control plane or our own connection first"
            ),
            Finding::NotCreated { has, wants, refused } => {
                write!(f, "{about} has {has} of {wants} pods, pods cannot be created: {}", brief(refused))
            }
            Finding::NotReady { pods, probe: Some(probe) } => {
                write!(f, "{about} {pods} not ready: {}", brief(probe))
            }
            Finding::NotReady { pods, probe: None } => {
                write!(f, "{about} {pods} not ready, no event says why")
            }
            Finding::NotStarting { pods, reason, message } => {
                write!(f, "{about} cannot start: {reason}: {} ({pods})", brief(message))
            }
            Finding::OomKilled { pods, container: Some(name) } => {
                write!(f, "{about} OOMKilled ({name}): {pods}")
            }
            Finding::OomKilled { pods, container: None } => write!(f, "{about} OOMKilled: {pods}"),
            Finding::OutOfRotation { pods, service } => {
                let namespace = self.object().map_or("", |object| object.namespace.as_str());
                match pods {
                    1 => write!(f, "pod {about} is out of rotation")?,
                    n => write!(f, "{n} pods of {namespace} are out of rotation")?,
                }
                match service {
                    Some(service) => write!(f, " of service {namespace}/{service}"),
                    None => Ok(()),
                }
            }
            Finding::PdbBlocks { why, waiting } => {
                write!(f, "{about} allows no disruption: {why}")?;
                match waiting {
                    0 => Ok(()),
                    n => write!(f, "; {} on cordoned nodes cannot be evicted", count(*n, "pod")),
                }
            }
            Finding::PodFailed { status, exit } => {
                write!(f, "pod {about} failed: {status}")?;
                if let Some((container, code, reason)) = exit {
                    write!(f, ", {container} exited {code} ({reason})")?;
                }
                f.write_str("; no controller replaces it")
            }
            Finding::RolloutStuck { why } => write!(f, "{about} rollout stuck: {why}"),
            Finding::RolloutWaits { pod, state, more, updated, wanted } => {
                write!(f, "{about} rollout waits for {pod}")?;
                if *more > 0 {
                    write!(f, " and {}", count(*more as u64, "more pod"))?;
                }
                write!(f, " ({state}): {updated} of {wanted} pods updated")
            }
            Finding::ServiceErrors { ratio, rps, release, who } => {
                let recovering = if *who == Culprit::OutOfRotation { " recovering:" } else { "" };
                write!(f, "{about}{recovering} {:.1}% errors at {rps:.0} rps", ratio * 100.0)?;
                if let Some(release) = release {
                    write!(f, "{release}")?;
                }
                write!(f, ", {who}")
            }
            Finding::ServiceSlow { p95_ms, usual_ms } => {
                write!(f, "{about} slow: P95 {p95_ms:.0} ms, usually {usual_ms:.0} ms")
            }
            Finding::SloBurn { objective, burn, left, gone_in_secs } => {
                let rate = slo::rate(burn.long.zip(burn.short).map(|(long, short)| long.min(short)));
                write!(f, "{about} burns the error budget of {objective} at {rate}")?;
                match (left, gone_in_secs) {
                    (Some(left), _) if *left <= 0.0 => f.write_str(", nothing of it is left"),
                    (Some(left), Some(secs)) => {
                        let gone = age(secs.saturating_mul(1000));
                        write!(f, ", {:.0} % are left for {gone} at this rate", left * 100.0)
                    }
                    _ => Ok(()),
                }
            }
            Finding::Source { sources, why, denied, server } => match server {
                _ if *denied => write!(f, "no permission: {}", first_three(sources)),
                Some(server) => write!(f, "no answer from {server}: {why} ({} sources)", sources.len()),
                None => write!(f, "no fresh data from {}: {why}", first_three(sources)),
            },
            Finding::Terminating { pods, held } => {
                write!(f, "{about} {} Terminating past the grace period: {held}", count(*pods as u64, "pod"))
            }
            Finding::TrafficUneven { gains, expected, all_settled } => {
                let each = gains.iter().map(|one| format!("{} gets {:.0}%", one.backend, one.share * 100.0));
                let each = each.collect::<Vec<_>>().join(", ");
                let of = if *all_settled { "the requests" } else { "what it and the settled pods get" };
                write!(f, "{about} uneven: {each} of {of} instead of {:.0}%", expected * 100.0)
            }
            Finding::Unschedulable { pods, volume: Some(volume), .. } => {
                write!(f, "{about} {volume}: {pods}")
            }
            Finding::Unschedulable { pods, message, volume: None } => {
                write!(f, "{about} unschedulable: {pods}: {}", in_short(message))
            }
            Finding::VolumeNotBound { pods, claim } => {
                write!(f, "{about} volume not bound: {claim} ({pods})")
            }
        }
    }
}

impl fmt::Display for ClaimState {
    /// Writes `is Pending, storage class fast`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotExist => f.write_str("does not exist"),
            Self::Lost { volume } => {
                let volume = volume.as_ref().map_or("", |volume| volume.as_str());
                write!(f, "is Lost: its volume {volume} does not exist")
            }
            Self::Pending { class: Some(class) } => write!(f, "is Pending, storage class {class}"),
            Self::Pending { class: None } => f.write_str("is Pending"),
        }
    }
}

impl fmt::Display for UnboundClaim {
    /// Writes `claim data-db-0 is Pending: ProvisioningFailed: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "claim {} {}", self.name, self.state)?;
        match (&self.event, &self.state) {
            (Some((reason, message)), _) => write!(f, ": {reason}: {}", brief(message)),
            (None, ClaimState::Pending { .. }) => f.write_str(", no event says why"),
            (None, _) => Ok(()),
        }
    }
}

fn node_loss(f: &mut impl fmt::Write, about: &str, loss: &NodeLoss) -> fmt::Result {
    match loss {
        NodeLoss::Node { state, zone, out_of_service, pods, terminating } => {
            write!(f, "{about} {}", state.as_str())?;
            if let Some(zone) = zone {
                write!(f, ", {zone}")?;
            }
            if *out_of_service {
                f.write_str(", out of service")?;
            }
            match pods {
                Some(pods) => write!(f, ": {} on it", count(*pods, "pod"))?,
                None => f.write_str(": its pods are not known")?,
            }
            match terminating {
                0 => Ok(()),
                n => write!(f, ", {n} stuck Terminating"),
            }
        }
        NodeLoss::Zone { zone, nodes, out_of_service, pods, ready_elsewhere } => write!(
            f,
            "{zone}: all {nodes} nodes down{}, {} on them; {ready_elsewhere} nodes Ready elsewhere",
            if *out_of_service { " and out of service" } else { "" },
            count(*pods, "pod")
        ),
    }
}

fn first_three(names: &[Name]) -> String {
    match names {
        [a, b, c, rest @ ..] if !rest.is_empty() => format!("{a}, {b}, {c} and {} more", rest.len()),
        some => some.join(", "),
    }
}

/// Returns `0/50 nodes are available: 50 Insufficient cpu`. The part about preemption is dropped, and the taints come
/// last because they explain the least.
fn in_short(message: &str) -> String {
    let short = message.split(". ").next().unwrap_or(message).trim_end_matches('.');
    let Some((nodes, parts)) = short.split_once(": ") else { return short.to_owned() };
    let mut parts: Vec<&str> = parts.split(", ").collect();
    parts.sort_by_key(|part| part.contains("taint"));
    format!("{nodes}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scheduler_says_in_short() {
        for (said, short) in [
            (
                "0/12 nodes are available: 4 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 8 Insufficient cpu. preemption: 0/12 nodes are available: 12 No preemption victims found.",
                "0/12 nodes are available: 8 Insufficient cpu, 4 node(s) had untolerated taint {node.kubernetes.io/unreachable: }",
            ),
            ("0/1 nodes are available: 1 Too many pods.", "0/1 nodes are available: 1 Too many pods"),
            ("no reason given", "no reason given"),
        ] {
            assert_eq!(in_short(said), short);
        }
    }
}
