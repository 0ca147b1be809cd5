//! Tests of the panels: their queries, and what the cluster says without a Prometheus.

use super::*;
use crate::domain::autoscaler::{Hpa, HpaVerdict, Metric, Target};
use crate::domain::id::{ClusterId, Uid};
use crate::domain::preset;
use crate::domain::traffic::ServiceTraffic;
use crate::facts::table::Rows;
use crate::facts::world::TrafficRow;

fn object(kind: Kind, name: &str) -> Subject {
    Subject::of(ObjectRef::new(ClusterId(0), kind, &"shop".into(), &name.into(), &Uid::default()))
}

fn all(cluster: &Cluster) -> Vec<Panel> {
    let presets = preset::all(&[]);
    let kinds = [
        Kind::Node,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::ReplicaSet,
        Kind::Job,
        Kind::Service,
        Kind::HorizontalPodAutoscaler,
    ];
    kinds.into_iter().flat_map(|kind| panels(cluster, &presets, &object(kind, "w\"e.b"), 15)).collect()
}

fn measured(preset: &str) -> Cluster {
    let traffic = ServiceTraffic {
        namespace: "shop".into(),
        name: "w\"e.b".into(),
        preset: preset.into(),
        window_secs: 60,
        selector: "namespace=\"shop\",service=\"w\\\"e.b\"".into(),
        ..ServiceTraffic::default()
    };
    let row = TrafficRow { traffic: Arc::new(traffic), ..TrafficRow::default() };
    let mut cluster = Cluster::default();
    cluster.derived.traffic = vec![Arc::new(row)].into();
    cluster
}

/// The table is data, so what a compiler would find is found here.
#[test]
fn every_template_is_filled_in_and_its_values_are_escaped() {
    for panel in all(&measured("http_requests_total")) {
        assert!(!panel.title.is_empty() && !panel.lines.is_empty() && !panel.source.is_empty(), "{panel:?}");
        for line in &panel.lines {
            let query = &line.promql;
            // no metric has what the metrics of an autoscaler ask for
            assert!(!query.is_empty() || line.name == "asked for by the metrics", "{panel:?}");
            assert!(!query.contains('$'), "{query}");
            for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                // a name can have brackets only within quotes, and this one has none
                assert_eq!(query.matches(open).count(), query.matches(close).count(), "{query}");
            }
            assert_eq!(query.replace("\\\"", "").matches('"').count() % 2, 0, "{query}");
            assert!(!query.contains("w\"e"), "{query}");
        }
    }
}

#[test]
fn the_pods_of_a_workload_are_named_as_kubernetes_names_them() {
    let query = |kind, name: &str| {
        let all = panels(&Cluster::default(), &[], &object(kind, name), 15);
        all[1].lines[0].promql.clone()
    };
    assert_eq!(
        query(Kind::Deployment, "web"),
        "sum(container_memory_working_set_bytes{namespace=\"shop\",pod=~\"web-[a-z0-9]+-[a-z0-9]{5}\",container!=\"\",container!=\"POD\"})"
    );
    assert!(
        query(Kind::StatefulSet, "a.b").contains("pod=~\"a\\\\.b-[0-9]+\""),
        "{}",
        query(Kind::StatefulSet, "a.b")
    );
    assert!(query(Kind::Pod, "web-0").contains("pod=\"web-0\","));
}

#[test]
fn the_errors_of_a_service_are_known_although_none_failed() {
    let all =
        panels(&measured("http_requests_total"), &preset::all(&[]), &object(Kind::Service, "w\"e.b"), 15);
    let titles: Vec<&str> = all.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["Requests", "Errors", "Response time"]);
    assert!(all[1].lines[0].promql.contains(" or 0 * sum("), "{}", all[1].lines[0].promql);
    assert_eq!(all[2].lines.len(), 3);
    assert!(all[2].lines.iter().all(|line| (line.scale - 1_000.0).abs() < 1e-9), "from seconds");
    // a preset without quantiles has the mean
    let all = panels(&measured("haproxy"), &preset::all(&[]), &object(Kind::Service, "w\"e.b"), 15);
    assert!(all[2].lines.len() == 1 && all[2].lines[0].promql.starts_with("avg("), "{:?}", all[2]);
    // without metrics there is nothing to ask for, and the panels say so
    let all = panels(&Cluster::default(), &preset::all(&[]), &object(Kind::Service, "web"), 15);
    assert!(all.iter().flat_map(|panel| &panel.lines).all(|line| line.promql.is_empty()));
    assert_eq!(all[0].source, "no metrics of this Service are known");
}

#[test]
fn an_autoscaler_has_a_panel_for_each_metric() {
    let metric =
        |name: &str, target, current| Metric { kind: "Resource".into(), name: name.into(), target, current };
    let hpa = Hpa {
        namespace: "shop".into(),
        name: "web".into(),
        target_kind: Kind::Deployment,
        target_name: "api".into(),
        min: 2,
        max: 9,
        metrics: vec![
            metric("cpu", Target::Utilization(60), Some(92)),
            metric("queue", Target::AverageValue(20_000), None),
        ]
        .into(),
        ..Hpa::default()
    };
    let mut rows = Rows::default();
    rows.upsert(HpaRow { hpa: Arc::new(hpa), verdict: HpaVerdict::default(), past: Arc::default() });
    let mut cluster = Cluster::default();
    cluster.derived.hpas = rows.table().clone();
    let all = panels(&cluster, &[], &object(Kind::HorizontalPodAutoscaler, "web"), 15);
    let titles: Vec<&str> = all.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["Replicas", "Metric cpu", "Metric queue", "CPU", "Memory, working set"]);
    let now: Vec<_> = all[0].lines.iter().map(|line| line.now).collect();
    assert_eq!(now, [None, None, None, Some(2.0), Some(9.0)]);
    assert_eq!((all[1].lines[0].now, all[1].lines[1].now), (Some(92.0), Some(60.0)));
    assert_eq!(all[2].lines[1].now, Some(20.0));
    assert!(all[3].lines[0].promql.contains("pod=~\"api-"), "the pods of its target");
}
