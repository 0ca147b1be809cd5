//! The Traffic pane: Services with their requests, errors and balance.

use std::cmp::Ordering;

use pilothouse_core::domain::service::Endpoint;
use pilothouse_core::domain::slo::{SloReason, SloState};
use pilothouse_core::domain::source::Feed;
use pilothouse_core::domain::time::{Stamp, age};
use pilothouse_core::domain::traffic::{
    BAD_ERRORS, BackendTraffic, Balancing, GRAVE_ERRORS, Origin, ServiceTraffic,
};
use pilothouse_core::facts::past::Trend;
use pilothouse_core::facts::world::{Cluster, TrafficRow, World};

use super::super::app::{PastMetrics, Ui};
use super::super::cell::{self, Cell, Grade, RowView, cell, millis, plain, rate, ratio};
use super::super::list::{List, ListId, NO_MORE, Spec};
use super::super::rows::traffic::{Joined, join};
use super::super::theme::Role;
use super::super::widget::columns::{Column, METER};
use super::super::widget::{bar, text};
use super::Shown;
use super::orders::{Order, indexes, sort, texts};
use super::sources::{self, State};

/// The orders that `o` cycles through.
pub const ORDERS: [Order; 14] = [
    Order::worst("worst first"),
    Order::rises("by name", "SERVICE"),
    Order::falls("by requests", "RPS"),
    Order::falls("by p95", "P95"),
    Order::falls("by errors", "ERR%"),
    Order::falls("by backends that are not ready", "READY"),
    Order::rises("by policy", "POLICY"),
    Order::falls("by p50", "P50").wide(),
    Order::falls("by p99", "P99").wide(),
    Order::rises("by type", "TYPE").wide(),
    Order::falls("by active connections", "ACTIVE").wide(),
    Order::rises("by who measured", "MEASURED BY").wide(),
    Order::rises("youngest first", "AGE").wide(),
    Order::rises("by error budget", "SLO").wide(),
];

/// The columns.
pub const COLUMNS: [Column; 17] = [
    Column::name("SERVICE", 12, 48),
    Column::right("RPS", 4, 6, 0),
    Column::trend("TREND", 8, 30, 17).named("rps-trend"),
    Column::meter("of the most", "of most", 10, 12).named("rps-meter"),
    Column::right("ERR%", 4, 5, 0).named("errors"),
    Column::trend("TREND", 8, 30, 17).named("errors-trend"),
    Column::right("P50", 5, 6, 10),
    Column::right("P95", 5, 6, 3),
    Column::right("P99", 5, 6, 11),
    Column::left("SHARE", 11, 12, 5),
    Column::right("READY", 5, 7, 0),
    Column::left("POLICY", 11, 20, 9),
    Column::left("SLO", 9, 12, 10).whole(),
    Column::left("TYPE", 9, 14, 13),
    Column::right("ACTIVE", 6, 6, 14),
    Column::left("MEASURED BY", 11, 24, 15),
    Column::right("AGE", 4, 5, 16),
];

/// Whether the row matches the filter and the namespace. `more` returns the texts of the row's columns.
pub fn passes(joined: &Joined, spec: &Spec, more: impl Fn() -> Vec<String>) -> bool {
    let (ns, name) = joined.name();
    spec.namespace.as_ref().is_none_or(|wanted| ns.is_empty() || *wanted == ns)
        && (spec.filter.is_empty() || spec.filter.passes_or(&[ns, name], more))
}

/// Rounds a number, from 1 up, to steps of about two thirds. Rows whose numbers differ by less than a step do not
/// change places with every poll.
fn step(number: f64) -> f64 {
    (number.max(1.0).ln() * 2.0).round()
}

/// Compares two rows.
pub fn order(a: &Joined, b: &Joined, order: usize) -> Ordering {
    let rps = |j: &Joined| j.traffic.as_ref().and_then(|t| t.rps).unwrap_or(-1.0);
    let errors = |j: &Joined| j.traffic.as_ref().and_then(|t| t.error_ratio).unwrap_or(-1.0);
    let of = |j: &Joined, number: fn(&ServiceTraffic) -> Option<f64>| {
        j.traffic.as_deref().and_then(number).unwrap_or(-1.0)
    };
    let falls = |number| of(b, number).total_cmp(&of(a, number));
    let service = |j: &Joined| j.row.as_ref().map(|r| (r.service.kind.as_str(), r.service.created));
    let missing = |j: &Joined| j.row.as_ref().map(|r| r.total.saturating_sub(r.ready));
    let policy = |j: &Joined| j.measured.as_ref().map(|m| m.balancing.shown().as_str());
    let preset = |j: &Joined| j.traffic.as_ref().map(|t| t.preset.clone());
    let by = match order {
        1 => Ordering::Equal,
        2 => rps(b).total_cmp(&rps(a)),
        3 => falls(|t| t.p95_ms),
        4 => errors(b).total_cmp(&errors(a)),
        5 => missing(b).cmp(&missing(a)),
        6 => policy(a).cmp(&policy(b)),
        7 => falls(|t| t.p50_ms),
        8 => falls(|t| t.p99_ms),
        9 => service(a).map(|(kind, _)| kind).cmp(&service(b).map(|(kind, _)| kind)),
        10 => falls(active),
        11 => preset(a).cmp(&preset(b)),
        12 => service(b).map(|(_, created)| created).cmp(&service(a).map(|(_, created)| created)),
        // those without an objective come last
        13 => budget(a).total_cmp(&budget(b)),
        _ => b
            .grade()
            .cmp(&a.grade())
            .then_with(|| b.traffic.is_some().cmp(&a.traffic.is_some()))
            .then_with(|| step(errors(b) * 100.0).total_cmp(&step(errors(a) * 100.0)))
            .then_with(|| step(rps(b)).total_cmp(&step(rps(a)))),
    };
    by.then_with(|| a.name().cmp(&b.name()))
}

/// Describes the balance: `as expected`, `2 uneven`, `1 silent` or `–`.
fn balance(joined: &Joined) -> Cell {
    let Some(measured) = &joined.measured else { return cell(Role::Dim, "–") };
    let (traffic, shares) = (&measured.traffic, &measured.shares);
    let uneven = shares.backends.iter().filter(|s| s.marked).count();
    let judged = shares.backends.iter().any(|s| s.significant.is_some());
    match (uneven, judged) {
        _ if !shares.stray.is_empty() => cell(Role::Critical, format!("{} stray", shares.stray.len())),
        (0, _) if !shares.silent.is_empty() => cell(Role::Info, format!("{} silent", shares.silent.len())),
        _ if traffic.backends.len() < 2 => cell(Role::Dim, "–"),
        (0, true) => plain("as expected"),
        (0, false) => cell(Role::Dim, "no verdict"),
        (n, _) => cell(Role::Warning, format!("{n} uneven")),
    }
}

/// Draws the rate relative to the highest rate of all Services.
fn of_the_most(joined: &Joined) -> String {
    let Some(rps) = joined.traffic.as_ref().and_then(|t| t.rps).filter(|r| r.is_finite()) else {
        return String::new();
    };
    // the rates are compared in thousandths of a request
    text::meter((rps * 1000.0) as i64, 0, (joined.most_rps * 1000.0) as i64, METER)
}

/// Returns the current connections or requests: those of the service, or else of all backends.
fn active(traffic: &ServiceTraffic) -> Option<f64> {
    traffic.active.or_else(|| traffic.backends.iter().filter_map(|b| b.active).reduce(|a, b| a + b))
}

/// Returns the share of the error budget that is left, for the order.
fn budget(joined: &Joined) -> f64 {
    let Some(slo) = &joined.slo else { return f64::MAX };
    let burns = slo.verdict.state == SloState::BurningFast;
    if burns { f64::MIN } else { slo.verdict.budget_left.unwrap_or(f64::MAX / 2.0) }
}

/// Describes its worst objective: `budget 43 %`, `burn 14x`, `spent` or `–`.
fn slo(joined: &Joined) -> Cell {
    let Some(slo) = &joined.slo else { return cell(Role::Dim, "") };
    let verdict = &slo.verdict;
    let burn = || match &verdict.why {
        SloReason::Burning(burn) => {
            let both = burn.long.zip(burn.short).map(|(long, short)| long.min(short));
            both.map_or_else(|| "burns".into(), |rate| format!("burn {rate:.0}x"))
        }
        _ => "burns".into(),
    };
    match verdict.state {
        SloState::BurningFast => cell(Role::Critical, burn()),
        SloState::Spent => cell(Role::Warning, "spent"),
        SloState::BurningSlowly => cell(Role::Warning, burn()),
        SloState::Fine | SloState::Unknown => match verdict.budget_left {
            Some(left) => cell(Role::Text, format!("budget {:.0} %", left * 100.0)),
            None => cell(Role::Dim, "–"),
        },
    }
}

/// Describes the source of the measurement and its window.
pub fn measured(traffic: &ServiceTraffic) -> String {
    format!("{} over {}s", traffic.preset, traffic.window_secs)
}

/// Describes the backends that are not ready, and the backend with the most errors.
fn said(joined: &Joined) -> Vec<Cell> {
    let mut said = Vec::new();
    let slices = joined.row.iter().flat_map(|r| r.slices.iter());
    let out = slices.flat_map(|s| s.endpoints.iter()).filter(|e| !e.ready);
    let name = |e: &Endpoint| {
        let name = e.pod.as_ref().unwrap_or(&e.address);
        e.node.as_ref().map_or_else(|| name.to_string(), |node| format!("{name} on {node}"))
    };
    let out: Vec<String> = out.map(name).collect();
    if !out.is_empty() {
        said.push(cell(Role::Dim, format!("not ready: {}", out.join(", "))));
    }
    if let Some(share) = joined.measured.as_ref().and_then(|row| row.balancing.of_route.as_ref()) {
        said.push(cell(Role::Dim, share.to_string()));
    }
    for stray in joined.measured.iter().flat_map(|measured| &measured.shares.stray) {
        let words = format!("not ready, but gets {} rps: {}", rate(Some(stray.rps)), stray.backend);
        said.push(cell(Role::Critical, words));
    }
    let errors = |b: &BackendTraffic| b.error_ratio.unwrap_or(0.0);
    let worst = joined.traffic.iter().flat_map(|t| t.backends.iter());
    if let Some(worst) =
        worst.max_by(|a, b| errors(a).total_cmp(&errors(b))).filter(|b| errors(b) >= BAD_ERRORS)
    {
        let (share, rps) = (ratio(worst.error_ratio), rate(worst.rps));
        said.push(cell(Role::Dim, format!("most errors: {} {share}% of {rps} rps", worst.name)));
    }
    said
}

/// Returns the role of an error ratio, for Services and backends.
pub fn errors_role(errors: Option<f64>) -> Role {
    match errors {
        Some(e) if e >= GRAVE_ERRORS => Role::Critical,
        Some(e) if e >= BAD_ERRORS => Role::Warning,
        _ => Role::Text,
    }
}

/// Builds one row. `is_past`: it is of an earlier moment, whose policies are not kept.
pub fn row(joined: &Joined, several_namespaces: bool, is_past: bool, now: Stamp) -> RowView {
    let grade = joined.grade();
    let (ns, name) = joined.name();
    let name = if ns.is_empty() || !several_namespaces { name.to_string() } else { format!("{ns}/{name}") };
    let traffic = joined.traffic.as_ref();
    let service = joined.row.as_ref().map(|r| &r.service);
    let errors = traffic.and_then(|t| t.error_ratio);
    let trend = |of: &dyn Fn(&Trend) -> String| {
        joined.measured.as_ref().map_or_else(String::new, |measured| of(&measured.past.service))
    };
    let ready = joined.row.as_ref().map_or_else(
        // a row without a Service has no endpoints: the proxy measures its own traffic
        || cell(Role::Dim, "proxy"),
        |r| {
            if r.total == 0 && r.service.selector.is_empty() {
                // the endpoints of this Service are managed by hand, and none exist yet
                return cell(Role::Dim, "–");
            }
            let role = if r.ready == 0 && r.total > 0 {
                Role::Critical
            } else if r.ready < r.total {
                Role::Warning
            } else {
                Role::Text
            };
            cell(role, format!("{}/{}", r.ready, r.total))
        },
    );
    let policy = match &joined.measured {
        Some(_) if is_past => "–",
        Some(measured) => measured.balancing.shown().as_str(),
        None => "",
    };
    RowView {
        grade,
        cells: vec![
            cell(if grade >= Grade::Warning { Role::Strong } else { Role::Text }, name),
            plain(rate(traffic.and_then(|t| t.rps))),
            cell(Role::Trend, trend(&|t| bar::trend(t.rps(), 0.0))),
            cell(Role::Trend, of_the_most(joined)),
            cell(errors_role(errors), ratio(errors)),
            cell(Role::Trend, trend(&|t| bar::trend(t.errors_percent(), GRAVE_ERRORS * 100.0))),
            cell(Role::Dim, millis(traffic.and_then(|t| t.p50_ms))),
            plain(millis(traffic.and_then(|t| t.p95_ms))),
            cell(Role::Dim, millis(traffic.and_then(|t| t.p99_ms))),
            balance(joined),
            ready,
            cell(Role::Dim, policy),
            slo(joined),
            // traffic without a Service is the proxy's own
            cell(Role::Dim, service.map_or("proxy", |s| s.kind.as_str())),
            plain(rate(traffic.and_then(|t| active(t)))),
            cell(Role::Dim, traffic.map_or_else(String::new, |t| measured(t))),
            cell(Role::Dim, service.map_or_else(String::new, |s| age(now.since(s.created)))),
        ],
        below: said(joined),
        ..RowView::default()
    }
}

/// Returns the counts that follow the title, for the selected namespace.
pub fn counts(joined: &[Joined], spec: &Spec) -> Vec<Cell> {
    let here = || joined.iter().filter(|j| passes(j, spec, NO_MORE));
    cell::counts(here().map(Joined::grade))
}

/// Builds the footer: the policy of the selected Service, and the source of its numbers.
pub fn footer(s: &Shown<'_>) -> Vec<Cell> {
    if let Some(past) = &s.ui.past {
        return vec![cell(
            Role::Dim,
            match past.metrics {
                PastMetrics::Known => "requests, errors and response times of that time, from the Prometheus",
                PastMetrics::Asked(..) => {
                    "the Prometheus is asked for requests, errors and response times of that time"
                }
                PastMetrics::Unknown => "requests, errors and latency are not known at that time",
            },
        )];
    }
    let through = sources::through(s.cluster, Feed::Traffic);
    if s.cluster.derived.traffic.is_empty() {
        return metrics(s).why_empty.into_iter().chain(through).collect();
    }
    let selected = s.ui.list(ListId::Traffic).chosen();
    let row = s.ui.rows.joined.iter().find(|joined| Some(&joined.key()) == selected);
    let row = row.and_then(|joined| joined.measured.as_ref()).or(s.cluster.derived.traffic.first());
    let Some(row) = row else { return Vec::new() };
    let own = [
        cell(Role::Dim, format!("{}: {}", row.traffic.name, balancing(row))),
        cell(Role::Dim, format!("· {}", measured(&row.traffic))),
    ];
    own.into_iter().chain(through).collect()
}

/// Describes how the requests should be distributed, and where that was read.
pub fn balancing(row: &TrafficRow) -> String {
    let Balancing { origin, read_from, .. } = &row.balancing;
    let policy = row.balancing.shown().as_str();
    // the source of the numbers is told anyway
    if read_from.is_empty() || *read_from == row.traffic.preset {
        format!("{policy} ({})", origin.as_str())
    } else if *origin == Origin::Discovered {
        format!("{policy}, {read_from}")
    } else {
        format!("{policy}, {read_from} ({})", origin.as_str())
    }
}

/// Returns a row by its index.
pub fn at<'a>(s: &Shown<'a>, row: u32) -> Option<&'a Joined> {
    s.ui.rows.joined.get(row as usize)
}

/// Updates the rows.
pub fn refresh(ui: &mut Ui, _: &World, cluster: &Cluster, spec: &mut Spec, list: &mut List) {
    join(&mut ui.rows, cluster);
    let (joined, now, is_past) = (&ui.rows.joined, ui.now, ui.past.is_some());
    list.sorted = indexes(joined, |j| passes(j, spec, || texts(row(j, true, is_past, now))));
    sort(&mut list.sorted, joined, spec.reverse, |a, b| order(a, b, spec.order));
}

fn metrics(s: &Shown<'_>) -> State {
    sources::of_feed(s.cluster, Feed::Traffic, s.ui.now)
}

/// Returns the state of the sources: the Services and the sources of their traffic.
pub fn state(s: &Shown<'_>) -> State {
    let services = &s.cluster.services;
    let mut state = s.table("services", &services.cover, services.fresh);
    // one note about waiting is enough
    let told = |note: &Cell| note.role != Role::Dim || services.cover.is_complete();
    state.notes.extend(metrics(s).notes.into_iter().filter(told));
    state
}

/// Returns the state of the sources of a Service's backends: the EndpointSlices and the sources of the traffic.
pub fn state_of_backends(s: &Shown<'_>) -> State {
    let slices = &s.cluster.slices;
    let mut state = s.table("endpointslices", &slices.cover, slices.fresh);
    state.notes.extend(metrics(s).notes);
    state
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pilothouse_core::domain::traffic::{BackendTraffic, Shares};
    use pilothouse_core::facts::world::Severity;

    use super::super::super::rows::backends;
    use super::*;

    fn joined(name: &str, rps: f64, error_ratio: f64) -> Joined {
        let traffic = ServiceTraffic {
            namespace: "shop".into(),
            name: name.into(),
            rps: Some(rps),
            error_ratio: Some(error_ratio),
            ..ServiceTraffic::default()
        };
        Joined { traffic: Some(Arc::new(traffic)), ..Joined::default() }
    }

    fn sorted(mut rows: Vec<Joined>) -> Vec<String> {
        rows.sort_by(|a, b| order(a, b, 0));
        rows.iter().map(|j| j.name().1.to_owned()).collect()
    }

    #[test]
    fn rows_change_places_only_for_a_difference_that_matters() {
        let a_little = |more: f64| {
            vec![
                joined("b", 100.0 + more, 0.012),
                joined("a", 100.0, 0.012 + more / 1e4),
                joined("c", 90.0, 0.0),
            ]
        };
        assert_eq!(sorted(a_little(0.0)), ["a", "b", "c"]);
        assert_eq!(sorted(a_little(5.0)), ["a", "b", "c"]);
        assert_eq!(sorted(vec![joined("a", 100.0, 0.012), joined("b", 10.0, 0.04)]), ["b", "a"]);
        assert_eq!(sorted(vec![joined("a", 100.0, 0.0), joined("b", 900.0, 0.0)]), ["b", "a"]);
    }

    #[test]
    fn a_row_is_no_better_than_its_finding() {
        let mut row = joined("a", 40.0, 0.009);
        assert_eq!(row.grade(), Grade::Fine);
        row.found = Some(Severity::Warning);
        assert_eq!(row.grade(), Grade::Warning, "NOW keeps the finding while the ratio varies");
        row.found = Some(Severity::Info);
        assert_eq!(row.grade(), Grade::Fine);
    }

    #[test]
    fn a_ratio_of_errors_has_one_colour_wherever_it_is_shown() {
        for (ratio, role) in [
            (0.0099, Role::Text),
            (BAD_ERRORS, Role::Warning),
            (0.0499, Role::Warning),
            (GRAVE_ERRORS, Role::Critical),
        ] {
            assert_eq!(errors_role(Some(ratio)), role, "{ratio}");
            let measured = BackendTraffic { error_ratio: Some(ratio), ..BackendTraffic::default() };
            let backend = backends::Backend { traffic: Some(measured), ..backends::Backend::default() };
            for grade in [joined("a", 40.0, ratio).grade(), backend.grade()] {
                assert!(
                    grade == Grade::Fine && role == Role::Text || grade.role() == role,
                    "{ratio}: {grade:?}"
                );
            }
        }
    }

    #[test]
    fn the_error_budget_is_told_in_a_few_characters() {
        use pilothouse_core::domain::slo::{Burn, SloVerdict};
        use pilothouse_core::facts::world::SloRow;
        let burn = Burn { long: Some(15.2), short: Some(14.6), factor: 14.4, ..Burn::default() };
        let told = |state, why, budget_left| {
            let verdict = SloVerdict { state, why, budget_left, ..SloVerdict::default() };
            let row = SloRow { verdict, ..SloRow::default() };
            slo(&Joined { slo: Some(Arc::new(row)), ..Joined::default() })
        };
        for (cell, text, role) in [
            (told(SloState::BurningFast, SloReason::Burning(burn), Some(0.4)), "burn 15x", Role::Critical),
            (told(SloState::BurningSlowly, SloReason::Burning(burn), None), "burn 15x", Role::Warning),
            (told(SloState::Spent, SloReason::Spent { left: -1.0 }, Some(-1.0)), "spent", Role::Warning),
            (told(SloState::Fine, SloReason::Within, Some(0.434)), "budget 43 %", Role::Text),
            (told(SloState::Unknown, SloReason::NotMeasured, None), "–", Role::Dim),
            (slo(&Joined::default()), "", Role::Dim),
        ] {
            assert_eq!((cell.text.as_str(), cell.role), (text, role));
        }
    }

    #[test]
    fn one_of_two_of_which_nothing_is_measured_is_told() {
        let measured = BackendTraffic { name: "a".into(), rps: Some(40.0), ..BackendTraffic::default() };
        let traffic =
            ServiceTraffic { backends: Arc::from([measured]), window_secs: 60, ..ServiceTraffic::default() };
        let shares = Shares { silent: vec!["b".into()], ..Shares::default() };
        let mut row = TrafficRow { traffic: Arc::new(traffic), shares, ..TrafficRow::default() };
        let balance = |row: &TrafficRow| {
            balance(&Joined { measured: Some(Arc::new(row.clone())), ..Joined::default() }).text
        };
        assert_eq!(balance(&row), "1 silent");
        row.shares.silent.clear();
        assert_eq!(balance(&row), "–");
    }
}
