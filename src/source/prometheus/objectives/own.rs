//! The requests of Services with objectives of the config, counted through the queries of a preset.

use std::collections::HashMap;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::slo::Good;

use super::super::client::{Queries, Sample};
use super::super::presets::{self, Found};

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

/// The labels by which a preset names a Service, so that a query can be narrowed to some of them.
struct Labels {
    preset: &'static str,
    namespace: &'static str,
    /// A Service is named by the first label that is not empty.
    service: &'static [&'static str],
}

const LABELS: [Labels; 2] = [
    Labels { preset: "http_requests_total", namespace: "namespace", service: &["service", "job"] },
    Labels { preset: "haproxy", namespace: "", service: &["proxy"] },
];

/// Returns the first query of the preset, which has the rates by outcome.
fn outcomes(found: Found) -> Option<String> {
    presets::queries(found).into_iter().next()
}

/// Returns the rates of the histogram's buckets by Service: the inside of the query for a quantile.
fn times(found: Found) -> Option<String> {
    let queries = presets::queries(found);
    let inside =
        |q: &String| Some(q.strip_prefix("histogram_quantile(0.95, ")?.strip_suffix(')')?.to_owned());
    queries.iter().find_map(inside)
}

/// Adds matchers to the selector before the window.
fn with_matchers(query: &str, window: &str, matchers: &str) -> String {
    let at = format!("[{window}]");
    let Some(end) = query.find(&at) else { return query.to_owned() };
    let (before, after) = query.split_at(end);
    match before.strip_suffix('}') {
        Some(open) => format!("{open},{matchers}}}{after}"),
        None => format!("{before}{{{matchers}}}{after}"),
    }
}

/// Returns the text of a regular expression that matches exactly these values, as it is written in PromQL.
fn any_of(values: impl Iterator<Item = String>) -> String {
    let mut values: Vec<String> = values.map(|v| regex::escape(&v)).collect();
    values.sort();
    values.dedup();
    values.join("|").replace('\\', "\\\\").replace('"', "\\\"")
}

/// Narrows a query to some Services. A preset whose labels are not known is asked for all.
fn narrowed(query: &str, found: Found, services: &[Service], window: &str) -> String {
    let Some(labels) = LABELS.iter().find(|l| l.preset == found.preset.as_str()) else {
        return query.to_owned();
    };
    let names = any_of(services.iter().map(|(_, name)| name.to_string()));
    let namespaces = any_of(services.iter().map(|(namespace, _)| namespace.to_string()));
    let of = |place: usize, label: &str| {
        let mut matchers: Vec<String> =
            labels.service.iter().take(place).map(|before| format!("{before}=\"\"")).collect();
        matchers.push(format!("{label}=~\"{names}\""));
        if !labels.namespace.is_empty() {
            matchers.push(format!("{}=~\"{namespaces}\"", labels.namespace));
        }
        with_matchers(query, window, &matchers.join(","))
    };
    let parts: Vec<String> = labels.service.iter().enumerate().map(|(at, label)| of(at, label)).collect();
    parts.join(" or ")
}

/// Counts the requests of some Services over a window.
pub(super) async fn ask<C: Queries>(
    client: &C,
    found: Found,
    services: &[Service],
    by_time: bool,
    window_secs: u64,
    limit: Duration,
) -> Result<Counts, String> {
    let window_secs = u32::try_from(window_secs).map_err(|_| "the window is too long".to_owned())?;
    let found = Found { window_secs, ..found };
    let query = if by_time { times(found) } else { outcomes(found) };
    let Some(query) = query else {
        return Err(format!("{} has no histogram of response times", found.preset.as_str()));
    };
    let query = narrowed(&query, found, services, &format!("{window_secs}s"));
    let answer = client.query(&query, limit).await.map_err(|e| e.to_string())?;
    Ok(if by_time { buckets(found, answer.samples) } else { rates(found, answer.samples) })
}

fn rates(found: Found, samples: Vec<Sample>) -> Counts {
    let services = presets::services(found, &[samples]);
    Counts::Outcomes(
        services.iter().map(|s| ((s.namespace.clone(), s.name.clone()), (s.rps, s.error_ratio))).collect(),
    )
}

/// The buckets of one bound are counted like the requests of a preset, which knows the names of the Services.
fn buckets(found: Found, samples: Vec<Sample>) -> Counts {
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
    let mut of: HashMap<Service, Vec<(f64, f64)>> = HashMap::new();
    for (bound, samples) in by_bound {
        for service in presets::services(found, &[samples]) {
            if let Some(rps) = service.rps {
                let key = (service.namespace.clone(), service.name.clone());
                of.entry(key).or_default().push((bound * SECONDS_IN_MS, rps));
            }
        }
    }
    Counts::Times(of)
}

/// The histograms of all presets are in seconds.
const SECONDS_IN_MS: f64 = 1000.0;

impl Counts {
    /// Returns the share of bad requests of a Service, the number of requests in the window, and a note.
    pub fn share(
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
                let within = buckets.iter().filter(|(bound, _)| *bound <= wanted).next_back();
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
    use super::super::super::presets::Preset;
    use super::*;

    fn service(namespace: &str, name: &str) -> Service {
        (namespace.into(), name.into())
    }

    #[test]
    fn a_query_is_narrowed_to_the_services() {
        let of = |preset, services: &[Service]| {
            let found = Found { preset, window_secs: 3600 };
            narrowed(&outcomes(found).unwrap(), found, services, "3600s")
        };
        assert_eq!(
            of(Preset::HaProxy, &[service("", "b.c"), service("", "a\"")]),
            r#"sum by (proxy, server, code) (rate(haproxy_server_http_responses_total{proxy=~"a\"|b\\.c"}[3600s]))"#
        );
        let http = of(Preset::HttpRequests, &[service("shop", "cart")]);
        let [by_service, by_job] = http.split(" or ").collect::<Vec<_>>().try_into().unwrap();
        assert!(by_service.contains(r#"{service=~"cart",namespace=~"shop"}[3600s]"#), "{http}");
        assert!(by_job.contains(r#"{service="",job=~"cart",namespace=~"shop"}[3600s]"#), "{http}");
        assert_eq!(with_matchers("rate(a{b=\"c\"}[5s])", "5s", "d=\"e\""), "rate(a{b=\"c\",d=\"e\"}[5s])");
        let found = Found { preset: Preset::HttpRequests, window_secs: 60 };
        assert_eq!(
            times(found).unwrap(),
            "sum by (namespace, service, job, le) (rate(http_request_duration_seconds_bucket[60s]))"
        );
        assert_eq!(times(Found { preset: Preset::HaProxy, window_secs: 60 }), None);
    }

    #[test]
    fn late_requests_are_those_above_the_largest_bound_that_fits() {
        let found = Found { preset: Preset::HttpRequests, window_secs: 100 };
        let bucket = |le: &str, value: f64| Sample {
            labels: [("namespace", "shop"), ("service", "cart"), ("le", le)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .to_vec(),
            value: Some(value),
        };
        let counts = buckets(found, vec![bucket("+Inf", 10.0), bucket("0.1", 4.0), bucket("0.3", 9.0)]);
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
