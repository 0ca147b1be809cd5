//! The requests of Services with objectives of the config, counted through the queries of a preset.

use std::collections::HashMap;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::preset::{Measure, Preset, Query, Sample, filled_for};
use pilothouse_core::domain::slo::Good;
use pilothouse_core::facts::intern::Names;
use pilothouse_core::policy::measured::{self, Reading};

use super::super::client::Queries;

/// A Service's namespace and name.
type Service = (Name, Name);

/// What one query counted.
pub(super) enum Counts {
    /// By Service: the requests per second, and the share of failed ones.
    Outcomes(HashMap<Service, (Option<f64>, Option<f64>)>),
    /// By Service: the bounds of the histogram's buckets in milliseconds, ascending, with the requests per second up to
    /// each.
    Times(HashMap<Service, Vec<(f64, f64)>>),
}

/// Returns the rates of the histogram's buckets by Service: the inside of a query for a quantile.
fn times(preset: &Preset) -> Option<Query> {
    let inside = |measure: Measure| {
        let quantile =
            preset.query(measure)?.promql.strip_prefix("histogram_quantile(")?.strip_suffix(')')?;
        let (_, promql) = quantile.split_once(',')?;
        is_one(promql).then(|| Query { measure, promql: promql.trim().to_owned() })
    };
    [Measure::P95, Measure::P99, Measure::P50].into_iter().find_map(inside)
}

/// Returns false if the text closes more parentheses than it opened before.
fn is_one(promql: &str) -> bool {
    let depth = promql.chars().try_fold(0_usize, |depth, c| match c {
        '(' => Some(depth + 1),
        ')' => depth.checked_sub(1),
        _ => Some(depth),
    });
    depth == Some(0)
}

/// Counts the requests of the services with these matchers over a window.
pub(super) async fn ask<C: Queries>(
    client: &C,
    preset: &Preset,
    selectors: &[Name],
    by_time: bool,
    window_secs: u64,
    limit: Duration,
) -> Result<Counts, String> {
    let window_secs = u32::try_from(window_secs).map_err(|_| "the window is too long".to_owned())?;
    let send = async |query: &Query| {
        let promql = filled_for(query, window_secs, selectors.iter().map(Name::as_str));
        client.query(&promql, limit).await.map(|answer| answer.samples).map_err(|e| e.to_string())
    };
    if by_time {
        let Some(query) = times(preset) else {
            return Err(format!("{} has no histogram of response times", preset.name));
        };
        return Ok(buckets(preset, send(&query).await?));
    }
    let (mut names, mut readings) = (Names::default(), Vec::new());
    for query in [Measure::Rate, Measure::Errors].into_iter().filter_map(|measure| preset.query(measure)) {
        readings.push(measured::read(preset, query.measure, &send(query).await?, &mut names));
    }
    Ok(rates(preset, &readings))
}

fn rates(preset: &Preset, readings: &[Reading]) -> Counts {
    let services = measured::services(preset, 0, 0, readings.iter());
    Counts::Outcomes(
        services.iter().map(|s| ((s.namespace.clone(), s.name.clone()), (s.rps, s.error_ratio))).collect(),
    )
}

/// The buckets of one bound are counted like the requests of a preset, which knows the names of the Services.
fn buckets(preset: &Preset, samples: Vec<Sample>) -> Counts {
    let mut by_bound: Vec<(f64, Vec<Sample>)> = Vec::new();
    for sample in samples {
        // "+Inf" is a number for Rust too
        let Ok(bound) = sample.label("le").parse::<f64>() else { continue };
        match by_bound.iter_mut().find(|(held, _)| held.total_cmp(&bound).is_eq()) {
            Some((_, of)) => of.push(sample),
            None => by_bound.push((bound, vec![sample])),
        }
    }
    by_bound.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut names, mut of) = (Names::default(), HashMap::<Service, Vec<(f64, f64)>>::new());
    for (bound, samples) in by_bound {
        let reading = measured::read(preset, Measure::Rate, &samples, &mut names);
        for service in measured::services(preset, 0, 0, [&reading].into_iter()) {
            if let Some(rps) = service.rps {
                let key = (service.namespace.clone(), service.name.clone());
                of.entry(key).or_default().push((bound * preset.unit.in_ms(), rps));
            }
        }
    }
    Counts::Times(of)
}

impl Counts {
    /// Returns the share of bad requests of a Service, the number of requests in the window, and a note.
    pub(super) fn share(
        &self,
        service: &Service,
        good: Good,
        window_secs: u64,
    ) -> (Option<f64>, Option<f64>, Option<String>) {
        let requests = |rps: f64| rps * window_secs as f64;
        match (self, good) {
            (Self::Outcomes(of), _) => match of.get(service) {
                Some((rps, bad)) => (*bad, rps.map(requests), None),
                None => (None, None, None),
            },
            (Self::Times(of), Good::Within { ms }) => {
                let Some(buckets) = of.get(service) else { return (None, None, None) };
                let all = buckets.iter().find(|(bound, _)| bound.is_infinite()).map(|(_, rps)| *rps);
                // the largest bound that is not above the objective's: what is between them counts as late
                let wanted = f64::from(ms) * 1.000_001;
                let within = buckets.iter().rfind(|(bound, _)| *bound <= wanted);
                match (all.filter(|all| *all > 0.0), within) {
                    (Some(all), Some((bound, fast))) => {
                        let note = (bound + 0.5 < f64::from(ms)).then(|| {
                            format!("counted with the bucket of {bound:.0} ms, the next below {ms} ms")
                        });
                        (Some((1.0 - fast / all).clamp(0.0, 1.0)), Some(requests(all)), note)
                    }
                    (all, None) if !buckets.is_empty() => {
                        let note = format!("the histogram has no bucket below {ms} ms");
                        (None, all.map(requests), Some(note))
                    }
                    (all, _) => (None, all.map(requests), None),
                }
            }
            (Self::Times(_), _) => (None, None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::preset::all;

    use super::*;

    fn service(namespace: &str, name: &str) -> Service {
        (namespace.into(), name.into())
    }

    fn preset(name: &str) -> Preset {
        all(&[]).into_iter().find(|preset| preset.name == name).unwrap()
    }

    #[test]
    fn the_buckets_are_the_inside_of_the_query_for_a_quantile() {
        assert_eq!(
            times(&preset("http_requests_total")).unwrap().promql,
            "sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket{$S}[$W]))"
        );
        assert_eq!(times(&preset("haproxy")), None);
        let without: Vec<String> =
            all(&[]).iter().filter(|one| times(one).is_none()).map(|one| one.name.to_string()).collect();
        assert_eq!(without, ["haproxy"]);
        let of = |promql: &str| {
            let queries = vec![Query { measure: Measure::P99, promql: promql.into() }];
            times(&Preset { queries, ..Preset::default() }).map(|query| query.promql)
        };
        assert_eq!(of("histogram_quantile(0.99,sum by (le) (a))").as_deref(), Some("sum by (le) (a)"));
        assert_eq!(of("histogram_quantile($Q, a) or histogram_quantile($Q, b)"), None);
    }

    #[test]
    fn late_requests_are_those_above_the_largest_bound_that_fits() {
        let preset = preset("http_requests_total");
        let bucket = |le: &str, value: f64| Sample {
            labels: [("namespace", "shop"), ("service", "cart"), ("le", le)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .to_vec(),
            value: Some(value),
        };
        let counts = buckets(&preset, vec![bucket("+Inf", 10.0), bucket("0.1", 4.0), bucket("0.3", 9.0)]);
        let share = |ms| counts.share(&service("shop", "cart"), Good::Within { ms }, 100);
        let close =
            |share: Option<f64>, want: f64| assert!((share.unwrap() - want).abs() < 1e-9, "{share:?}");
        let (bad, requests, note) = share(300);
        close(bad, 0.1);
        assert_eq!((requests, note), (Some(1000.0), None));
        let (bad, _, note) = share(250);
        close(bad, 0.6);
        assert_eq!(note.as_deref(), Some("counted with the bucket of 100 ms, the next below 250 ms"));
        let (bad, _, note) = share(50);
        assert_eq!((bad, note.as_deref()), (None, Some("the histogram has no bucket below 50 ms")));
        assert_eq!(counts.share(&service("shop", "web"), Good::Within { ms: 300 }, 100), (None, None, None));
    }
}
