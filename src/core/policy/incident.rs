//! When an incident opens, what belongs to it, and when it is over.
//!
//! An incident opens with a critical finding, or when a person opens it. Critical findings that appear while it is open
//! belong to it. It has recovered when all of its findings have been gone for [`RECOVERED_AFTER_MS`], or are mere
//! information, such as a dead node that is out of service; the recovery is the moment when the last one was gone. If
//! one of its findings returns soon after the end, the incident opens again.

use std::sync::Arc;

use crate::domain::cause::{Cause, FindingCode, ServiceHit, Severity};
use crate::domain::id::{Kind, Name, ObjectRef};
use crate::domain::incident::{
    BudgetUse, Diagnosis, Incident, IncidentFinding, OpenedBy, Remark, RemarkKind,
};
use crate::domain::time::Stamp;
use crate::facts::world::SloRow;

/// How long all findings have to be gone before an incident has recovered.
pub const RECOVERED_AFTER_MS: u64 = 120_000;
/// If a finding of an incident returns within this time after the end, it is the same incident.
pub const SAME_WITHIN_MS: u64 = 600_000;
/// The number of incidents of a cluster that are kept.
pub const INCIDENTS: usize = 20;
/// The largest number of findings, Services and actions of an incident.
const MOST: usize = 100;

/// The incidents of one cluster, the newest first.
#[derive(Debug, Default)]
pub struct Incidents {
    list: Vec<Incident>,
    opened: u32,
    /// Findings that were there when a person closed their incident. They open no other one while they last.
    closed_over: Vec<(FindingCode, Option<ObjectRef>)>,
    changed: bool,
}

impl Incidents {
    /// Follows the findings of NOW. `read`: the cluster was read completely, so that the absence of a finding means
    /// something.
    pub fn follow(&mut self, causes: &[Arc<Cause>], read: bool, now: Stamp) {
        if !read {
            return;
        }
        let there = |code: FindingCode, object: &Option<ObjectRef>| is_there(causes, code, object.as_ref());
        self.closed_over.retain(|(code, object)| there(*code, object));
        let critical = || causes.iter().filter(|cause| cause.severity == Severity::Critical);
        let is_new = |cause: &&Arc<Cause>, over: &[(FindingCode, Option<ObjectRef>)]| {
            !over.iter().any(|(code, on)| *code == cause.code() && on.as_ref() == cause.object())
        };
        if !self.is_open() {
            let over = &self.closed_over;
            let Some(first) = critical().find(|cause| is_new(cause, over)) else { return };
            if self.list.first().is_some_and(|last| returns_to(last, first, now)) {
                self.reopen(now);
            } else {
                self.open(OpenedBy::Rule, now);
            }
        }
        let Some(open) = self.list.first_mut() else { return };
        for finding in &mut open.findings {
            // one that returns before the incident is over has not ended, even if it is no longer critical
            let is_there = there(finding.code, &finding.object);
            if is_there == finding.ended.is_some() {
                finding.ended = (!is_there).then_some(now);
                self.changed = true;
            }
        }
        for cause in critical() {
            self.changed |= take_in(open, cause, now);
        }
        if open.findings.len() >= MOST {
            let left_out = critical().filter(|cause| !open.has(cause.code(), cause.object())).count();
            self.changed |= left_out > open.left_out;
            open.left_out = open.left_out.max(left_out);
        }
        if open.findings.is_empty() {
            return;
        }
        if open.lasting().next().is_some() {
            return;
        }
        let gone = open.findings.iter().filter_map(|finding| finding.ended).max().unwrap_or(now);
        // one that a person opens again stays open for as long
        let gone = gone.max(open.reopened.unwrap_or(gone));
        if now.since(gone) >= RECOVERED_AFTER_MS {
            (open.recovered, open.closed) = (Some(gone), Some(now));
            self.changed = true;
        }
    }

    /// Takes what a person says.
    pub fn remark(&mut self, remark: &Remark, causes: &[Arc<Cause>], now: Stamp) {
        match &remark.kind {
            RemarkKind::Open if !self.is_open() => {
                self.open(OpenedBy::Person, now);
                if let Some(open) = self.list.first_mut() {
                    // a person who opens one means what NOW shows, except for information
                    for cause in causes.iter().filter(|cause| cause.severity >= Severity::Warning) {
                        take_in(open, cause, now);
                    }
                    acknowledge(open, remark, now);
                }
            }
            RemarkKind::Reopen if !self.is_open() && !self.list.is_empty() => self.reopen(now),
            RemarkKind::Close => {
                if let Some(open) = self.open_mut() {
                    let lasting: Vec<_> = open.lasting().map(|f| (f.code, f.object.clone())).collect();
                    open.closed = Some(now);
                    if lasting.is_empty() {
                        open.recovered = open.findings.iter().filter_map(|f| f.ended).max();
                    }
                    self.closed_over = lasting;
                    self.changed = true;
                }
            }
            RemarkKind::Acknowledge => {
                if let Some(open) = self.open_mut() {
                    acknowledge(open, remark, now);
                    self.changed = true;
                }
            }
            RemarkKind::Cause { rule, line } => {
                if let Some(open) = self.open_mut() {
                    acknowledge(open, remark, now);
                    // a mark of a person is worth more than the first action
                    let at = open.diagnosed.as_ref().map_or(now, |(at, _)| *at);
                    let how = Diagnosis::Marked { rule: rule.clone(), line: line.clone() };
                    open.diagnosed = Some((at, how));
                    self.changed = true;
                }
            }
            _ => {}
        }
    }

    /// An action was started in this cluster.
    pub fn action(&mut self, id: &Name, title: &Name, by: &Name, started: Stamp) {
        let Some(open) = self.open_mut().filter(|open| started >= open.detected) else { return };
        if open.actions.contains(id) || open.actions.len() >= MOST {
            return;
        }
        open.actions.push(id.clone());
        // whoever acts has seen it
        open.acknowledged.get_or_insert_with(|| (started, by.clone()));
        open.diagnosed.get_or_insert_with(|| (started, Diagnosis::Action(title.clone())));
        self.changed = true;
    }

    /// Follows the error budgets of the affected Services.
    pub fn budgets(&mut self, slos: &[Arc<SloRow>]) {
        let Some(open) = self.open_mut() else { return };
        let mut changed = false;
        for row in slos {
            let Some(left) = row.verdict.budget_left else { continue };
            let is_of = |o: &ObjectRef| o.namespace == row.namespace && o.name == row.service;
            if !open.services.iter().any(is_of) {
                continue;
            }
            let objective = &row.measured.objective.name;
            let has_room = open.budgets.len() < MOST;
            let held = open.budgets.iter_mut().find(|held| {
                held.namespace == row.namespace && held.service == row.service && held.objective == *objective
            });
            match held {
                Some(held) => {
                    changed |= (held.after - left).abs() > 0.000_5;
                    held.after = left;
                }
                None if has_room => {
                    changed = true;
                    open.budgets.push(BudgetUse {
                        namespace: row.namespace.clone(),
                        service: row.service.clone(),
                        objective: objective.clone(),
                        before: left,
                        after: left,
                    });
                }
                None => {}
            }
        }
        self.changed |= changed;
    }

    /// Returns the list if it has changed since the last call.
    pub fn take(&mut self) -> Option<Arc<[Arc<Incident>]>> {
        let list = || self.list.iter().cloned().map(Arc::new).collect();
        std::mem::take(&mut self.changed).then(list)
    }

    fn is_open(&self) -> bool {
        self.list.first().is_some_and(Incident::is_open)
    }

    fn open_mut(&mut self) -> Option<&mut Incident> {
        self.list.first_mut().filter(|incident| incident.is_open())
    }

    fn open(&mut self, by: OpenedBy, now: Stamp) {
        self.opened += 1;
        let incident = Incident {
            id: self.opened,
            by,
            began: now,
            detected: now,
            acknowledged: None,
            diagnosed: None,
            recovered: None,
            closed: None,
            reopened: None,
            findings: Vec::new(),
            left_out: 0,
            services: Vec::new(),
            actions: Vec::new(),
            budgets: Vec::new(),
        };
        self.list.insert(0, incident);
        self.list.truncate(INCIDENTS);
        self.changed = true;
    }

    fn reopen(&mut self, now: Stamp) {
        if let Some(last) = self.list.first_mut() {
            (last.closed, last.recovered, last.reopened) = (None, None, Some(now));
        }
        self.closed_over.clear();
        self.changed = true;
    }
}

fn acknowledge(open: &mut Incident, remark: &Remark, now: Stamp) {
    open.acknowledged.get_or_insert_with(|| (now, remark.by.clone()));
}

/// True if a finding is shown as a problem, on a line of its own or inside another line.
fn is_there(causes: &[Arc<Cause>], code: FindingCode, object: Option<&ObjectRef>) -> bool {
    causes.iter().filter(|cause| cause.severity >= Severity::Warning).any(|cause| {
        cause.code() == code && cause.object() == object
            || cause.includes.iter().any(|(included, on)| *included == code && Some(on) == object)
    })
}

/// True if a finding of a closed incident came back soon.
fn returns_to(last: &Incident, cause: &Cause, now: Stamp) -> bool {
    let soon = last.closed.is_some_and(|closed| now.since(closed) <= SAME_WITHIN_MS);
    let same = |f: &IncidentFinding| f.code == cause.code() && f.object.as_ref() == cause.object();
    soon && last.recovered.is_some() && last.findings.iter().any(same)
}

/// Adds a finding to an incident, or updates it. Returns true if something changed that is shown.
fn take_in(open: &mut Incident, cause: &Cause, now: Stamp) -> bool {
    let mut changed = false;
    for service in services_of(cause) {
        // one finding knows the UID of the Service, and another one its name only
        let is_same = |held: &ObjectRef| held.namespace == service.namespace && held.name == service.name;
        if !open.services.iter().any(is_same) && open.services.len() < MOST {
            open.services.push(service);
            changed = true;
        }
    }
    let same = |f: &&mut IncidentFinding| f.code == cause.code() && f.object.as_ref() == cause.object();
    if let Some(held) = open.findings.iter_mut().find(same) {
        if held.ended.take().is_some() || held.severity != cause.severity {
            held.severity = held.severity.max(cause.severity);
            changed = true;
        }
        return changed;
    }
    if open.findings.len() >= MOST {
        return changed;
    }
    let began = cause.since.unwrap_or(now).min(now);
    open.began = open.began.min(began);
    open.findings.push(IncidentFinding {
        code: cause.code(),
        object: cause.object().cloned(),
        severity: cause.severity,
        line: cause.to_string().into(),
        began,
        detected: now,
        ended: None,
    });
    true
}

/// The Services that a finding is about, or that it affects.
fn services_of(cause: &Cause) -> Vec<ObjectRef> {
    let hit = |hit: &ServiceHit| match hit {
        ServiceHit::NoEndpoints { service } | ServiceHit::Errors { service, .. } => service.clone(),
    };
    let own = cause.objects.iter().filter(|o| o.kind == Kind::Service).cloned();
    let included = cause.includes.iter().map(|(_, o)| o).filter(|o| o.kind == Kind::Service).cloned();
    own.chain(cause.hits.iter().map(hit)).chain(included).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cause::Finding;
    use crate::domain::id::{ClusterId, Uid};

    fn cause(name: &str, severity: Severity, since: i64) -> Arc<Cause> {
        let object =
            ObjectRef::new(ClusterId(0), Kind::Deployment, &"shop".into(), &name.into(), &Uid::default());
        let service = ObjectRef { kind: Kind::Service, ..object.clone() };
        Arc::new(Cause {
            since: Some(Stamp::from_secs(since)),
            ..Cause::new(Finding::Evicted { pods: 1 }, severity, vec![object, service])
        })
    }

    fn critical(name: &str, since: i64) -> Arc<Cause> {
        cause(name, Severity::Critical, since)
    }

    fn says(kind: RemarkKind, secs: i64) -> Remark {
        Remark { at: Stamp::from_secs(secs), by: "ann".into(), kind, object: None }
    }

    /// One row: at this second NOW shows these findings.
    fn follow(incidents: &mut Incidents, table: &[(i64, &[Arc<Cause>])]) {
        for (secs, causes) in table {
            incidents.follow(causes, true, Stamp::from_secs(*secs));
        }
    }

    fn secs(at: Option<Stamp>) -> Option<i64> {
        at.map(|at| at.0 / 1000)
    }

    #[test]
    fn it_opens_with_a_critical_finding_and_recovers_when_the_last_one_stays_away() {
        let (a, b, warns) = (critical("a", 90), critical("b", 130), cause("c", Severity::Warning, 80));
        let mut incidents = Incidents::default();
        follow(&mut incidents, &[(99, std::slice::from_ref(&warns))]);
        assert!(incidents.list.is_empty(), "a warning opens none");
        follow(
            &mut incidents,
            &[
                (100, &[a.clone(), warns.clone()]),
                (140, &[a.clone(), b.clone()]),
                (200, std::slice::from_ref(&b)),
                (260, &[]),
                // it returns once
                (300, std::slice::from_ref(&b)),
                (330, &[]),
                (449, &[]),
            ],
        );
        let open = &incidents.list[0];
        assert!(open.is_open() && open.lasting().next().is_none());
        assert_eq!((secs(Some(open.began)), secs(Some(open.detected))), (Some(90), Some(100)));
        follow(&mut incidents, &[(450, &[])]);
        let over = &incidents.list[0];
        assert_eq!((secs(over.recovered), secs(over.closed)), (Some(330), Some(450)));
        assert_eq!((over.to_detect(), over.to_recover()), (10_000, Some(240_000)));
        assert_eq!(over.to_acknowledge(), None);
        let names: Vec<_> = over.findings.iter().map(|f| f.object.as_ref().unwrap().name.as_str()).collect();
        assert_eq!((names, over.services.len()), (vec!["a", "b"], 2));
        assert!(incidents.take().is_some() && incidents.take().is_none());
    }

    #[test]
    fn a_finding_that_returns_soon_opens_it_again_and_a_late_or_another_one_does_not() {
        for (name, secs, again) in [("a", 400, true), ("a", 2_000, false), ("z", 400, false)] {
            let mut incidents = Incidents::default();
            follow(
                &mut incidents,
                &[(100, &[critical("a", 90)]), (110, &[]), (230, &[]), (secs, &[critical(name, secs)])],
            );
            assert_eq!(incidents.list.len(), if again { 1 } else { 2 }, "{name} {secs}");
            assert_eq!(incidents.list[0].reopened.is_some(), again);
            assert!(incidents.list[0].is_open());
        }
    }

    #[test]
    fn a_person_opens_acknowledges_names_the_cause_and_closes() {
        let mut incidents = Incidents::default();
        let warns = [cause("c", Severity::Warning, 80)];
        let at = Stamp::from_secs;
        incidents.remark(&says(RemarkKind::Close, 90), &warns, at(90));
        incidents.remark(&says(RemarkKind::Open, 100), &warns, at(100));
        let open = &incidents.list[0];
        assert_eq!((open.by, open.findings.len(), secs(Some(open.began))), (OpenedBy::Person, 1, Some(80)));
        assert_eq!(open.acknowledged.as_ref().map(|(at, by)| (at.0, by.as_str())), Some((100_000, "ann")));
        let marked = RemarkKind::Cause { rule: "evicted".into(), line: "why".into() };
        incidents.remark(&says(marked.clone(), 120), &warns, at(120));
        assert!(matches!(incidents.list[0].diagnosed, Some((Stamp(120_000), Diagnosis::Marked { .. }))));
        incidents.remark(&says(RemarkKind::Close, 130), &warns, at(130));
        let closed = &incidents.list[0];
        assert_eq!((secs(closed.closed), closed.recovered), (Some(130), None), "its finding lasts");
        incidents.remark(&says(RemarkKind::Reopen, 140), &warns, at(140));
        assert!(incidents.is_open());
    }

    #[test]
    fn an_incident_that_is_opened_again_stays_open_for_a_while() {
        let mut incidents = Incidents::default();
        follow(&mut incidents, &[(100, &[critical("a", 90)]), (110, &[]), (240, &[])]);
        assert!(!incidents.is_open(), "it has recovered");
        incidents.remark(&says(RemarkKind::Reopen, 300), &[], Stamp::from_secs(300));
        follow(&mut incidents, &[(301, &[]), (419, &[])]);
        assert!(incidents.is_open());
        follow(&mut incidents, &[(421, &[])]);
        assert!(!incidents.is_open());
    }

    #[test]
    fn what_a_person_closed_does_not_open_by_itself_while_it_lasts() {
        let mut incidents = Incidents::default();
        let (a, b) = (critical("a", 90), critical("b", 150));
        follow(&mut incidents, &[(100, std::slice::from_ref(&a))]);
        incidents.remark(&says(RemarkKind::Close, 110), &[], Stamp::from_secs(110));
        follow(&mut incidents, &[(120, std::slice::from_ref(&a))]);
        assert!(!incidents.is_open());
        follow(&mut incidents, &[(150, &[a.clone(), b])]);
        assert_eq!(incidents.list.len(), 2, "another finding opens the next one");
        let mut incidents = Incidents::default();
        follow(&mut incidents, &[(100, std::slice::from_ref(&a))]);
        incidents.remark(&says(RemarkKind::Close, 110), &[], Stamp::from_secs(110));
        follow(&mut incidents, &[(120, &[]), (130, &[a])]);
        assert!(incidents.is_open(), "it was gone and came back");
    }

    #[test]
    fn the_first_action_acknowledges_and_diagnoses_and_a_mark_is_worth_more() {
        let mut incidents = Incidents::default();
        let act = |incidents: &mut Incidents, id: &str, secs| {
            incidents.action(&id.into(), &"drain n1".into(), &"ann".into(), Stamp::from_secs(secs));
        };
        act(&mut incidents, "0", 90);
        follow(&mut incidents, &[(100, &[critical("a", 90)])]);
        act(&mut incidents, "before", 95);
        assert!(incidents.list[0].actions.is_empty());
        act(&mut incidents, "1", 120);
        act(&mut incidents, "2", 130);
        act(&mut incidents, "1", 140);
        let open = &incidents.list[0];
        assert_eq!((open.to_acknowledge(), open.actions.len()), (Some(20_000), 2));
        assert_eq!(open.diagnosed, Some((Stamp::from_secs(120), Diagnosis::Action("drain n1".into()))));
        let marked = RemarkKind::Cause { rule: "r".into(), line: "l".into() };
        incidents.remark(&says(marked, 150), &[], Stamp::from_secs(150));
        assert!(matches!(incidents.list[0].diagnosed, Some((Stamp(120_000), Diagnosis::Marked { .. }))));
    }

    #[test]
    fn a_finding_inside_another_line_has_not_ended_and_what_is_not_read_says_nothing() {
        let mut incidents = Incidents::default();
        let a = critical("a", 90);
        let inside = Cause {
            includes: vec![(a.code(), a.object().unwrap().clone())],
            ..Cause::clone(&critical("n", 95))
        };
        follow(&mut incidents, &[(100, &[a]), (110, &[Arc::new(inside)])]);
        assert_eq!(incidents.list[0].lasting().count(), 2);
        incidents.follow(&[], false, Stamp::from_secs(120));
        assert_eq!(incidents.list[0].lasting().count(), 2);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut incidents = Incidents::default();
        for n in 0..50 {
            incidents.remark(&says(RemarkKind::Open, n), &[], Stamp::from_secs(n));
            incidents.remark(&says(RemarkKind::Close, n), &[], Stamp::from_secs(n));
        }
        assert_eq!((incidents.list.len(), incidents.list[0].id), (INCIDENTS, 50));
    }

    #[test]
    fn a_finding_that_returns_before_the_end_prolongs_the_incident() {
        let mut incidents = Incidents::default();
        let secs = Stamp::from_secs;
        incidents.follow(&[cause("a", Severity::Critical, 90)], true, secs(100));
        incidents.follow(&[], true, secs(130));
        incidents.follow(&[cause("a", Severity::Warning, 90)], true, secs(200));
        incidents.follow(&[], true, secs(230));
        incidents.follow(&[], true, secs(300));
        assert!(incidents.is_open(), "it was gone for two minutes, but not without a break");
        incidents.follow(&[], true, secs(350));
        let list = incidents.take().unwrap();
        assert_eq!((list[0].recovered, list[0].closed), (Some(secs(230)), Some(secs(350))));
    }
}
