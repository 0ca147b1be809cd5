//! The objectives that Sloth and Pyrra define, read from the series of their recording rules.
//!
//! Sloth records `slo:sli_error:ratio_rateWINDOW` with the labels `sloth_id`, `sloth_service` and `sloth_slo`, and the
//! objective as `slo:objective:ratio`. Pyrra records the share of errors as `METRIC:burnrateWINDOW` with the label `slo`,
//! and the objective as `pyrra_objective` if its generic rules are on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::slo::{Definer, Good, Measured, Objective, Ratio};
use pilothouse_core::domain::text::clean;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::policy::slo::windows;
use tokio::time::Instant;

use super::super::client::{Queries, Sample};

/// How often to check which objectives are recorded, and how often to read their shares.
const DEFINED_EVERY: Duration = Duration::from_secs(60);
const READ_EVERY: Duration = Duration::from_secs(30);
/// The maximum number of recorded objectives.
const MOST: usize = 500;

const DEFINED: &str = r#"{__name__=~"slo:objective:ratio|slo:time_period:days|pyrra_objective|pyrra_window|pyrra_availability"}"#;
const SLOTH: &str = r#"{__name__=~"slo:sli_error:ratio_rate.+"}"#;
const PYRRA: &str = r#"{__name__=~".+:burnrate[0-9].*",slo!=""}"#;
const BOTH: &str =
    r#"{__name__=~"slo:sli_error:ratio_rate.+",sloth_id!=""} or {__name__=~".+:burnrate[0-9].*",slo!=""}"#;

/// Who records an objective, and the id that its series have.
type Key = (Definer, String);

/// What the rules define.
#[derive(Default)]
struct Defined {
    target: Option<f64>,
    window_secs: Option<u64>,
    /// Pyrra's share of good requests over the whole window.
    availability: Option<f64>,
    labels: Labels,
}

/// The labels that tell which Service an objective is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Labels {
    namespace: String,
    service: String,
    name: String,
}

/// The recorded objectives with the last answers.
#[derive(Default)]
pub(super) struct Recorded {
    checked: Option<Instant>,
    read: Option<Instant>,
    defined: BTreeMap<Key, Defined>,
    ratios: HashMap<Key, Vec<Ratio>>,
    /// Labels of Pyrra's shares, which name the Service more often than those of the objective.
    named: HashMap<Key, Labels>,
    /// When the definitions were read.
    at: Stamp,
    error: Option<String>,
}

impl Recorded {
    /// Returns how many queries the next refresh sends. It is one more if objectives are found for the first time.
    pub(super) fn due(&self) -> usize {
        let is_due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        let reads = !self.defined.is_empty() && is_due(self.read, READ_EVERY);
        usize::from(is_due(self.checked, DEFINED_EVERY)) + usize::from(reads)
    }

    /// Sends the queries that are due, and returns their number.
    pub(super) async fn refresh<C: Queries>(&mut self, client: &C, limit: Duration, now: Stamp) -> usize {
        let mut sent = 0;
        if self.checked.is_none_or(|at| at.elapsed() >= DEFINED_EVERY) {
            self.checked = Some(Instant::now());
            sent += 1;
            match client.query(DEFINED, limit).await {
                Ok(answer) => {
                    self.defined = define(&answer.samples);
                    self.at = now;
                }
                Err(error) => self.error = Some(error.to_string()),
            }
        }
        if !self.defined.is_empty() && self.read.is_none_or(|at| at.elapsed() >= READ_EVERY) {
            self.read = Some(Instant::now());
            sent += 1;
            let by = |who| self.defined.keys().any(|(by, _)| *by == who);
            let query = match (by(Definer::Sloth), by(Definer::Pyrra)) {
                (true, true) => BOTH,
                (true, false) => SLOTH,
                _ => PYRRA,
            };
            match client.query(query, limit).await {
                Ok(answer) => {
                    (self.ratios, self.named) = read(&answer.samples, now);
                    self.error = None;
                }
                Err(error) => self.error = Some(error.to_string()),
            }
        }
        sent
    }

    /// Returns the objectives that are completely defined.
    pub(super) fn measured(&self) -> impl Iterator<Item = Arc<Measured>> {
        self.defined.iter().filter_map(|(key, defined)| {
            let target = defined.target.filter(|target| (0.0..=1.0).contains(target))?;
            let window_secs = defined.window_secs?;
            let mut ratios = self.ratios.get(key).cloned().unwrap_or_default();
            if let Some(good) = defined.availability {
                let bad = Some((1.0 - good).clamp(0.0, 1.0));
                ratios.push(Ratio { window_secs, bad, requests: None, at: self.at });
            }
            let labels = self.named.get(key).filter(|_| defined.labels.service.is_empty());
            let labels = labels.unwrap_or(&defined.labels);
            let text = |text: &str| Name::from(clean(text).into_owned());
            let (namespace, service) = place(labels, &key.1);
            let objective = Objective {
                namespace: text(namespace),
                service: text(service),
                name: text(&defined.labels.name),
                by: key.0,
                good: Good::Recorded,
                target,
                window_secs,
            };
            if defined.availability.is_some_and(|good| good >= 1.0) {
                // Pyrra records no share of errors as long as there is no series of errors
                for window_secs in windows(&objective) {
                    if !ratios.iter().any(|r| r.window_secs == window_secs) {
                        ratios.push(Ratio { window_secs, bad: Some(0.0), requests: None, at: self.at });
                    }
                }
            }
            let note = self.error.as_deref().map(text);
            Some(Arc::new(Measured { objective, ratios, note }))
        })
    }
}

/// Returns the namespace and the Service: `NAMESPACE/NAME` in the name of the service is both.
fn place<'l>(labels: &'l Labels, id: &'l str) -> (&'l str, &'l str) {
    let service = if labels.service.is_empty() { id } else { labels.service.as_str() };
    match service.split_once('/') {
        Some((namespace, name)) if labels.namespace.is_empty() => (namespace, name),
        Some((_, name)) => (&labels.namespace, name),
        None => (&labels.namespace, service),
    }
}

fn define(samples: &[Sample]) -> BTreeMap<Key, Defined> {
    let mut all: BTreeMap<Key, Defined> = BTreeMap::new();
    for sample in samples {
        let (by, id) = match sample.label("sloth_id") {
            "" => (Definer::Pyrra, sample.label("slo")),
            id => (Definer::Sloth, id),
        };
        let key = (by, id.to_owned());
        if id.is_empty() || (all.len() >= MOST && !all.contains_key(&key)) {
            continue;
        }
        let defined = all.entry(key).or_default();
        match sample.label("__name__") {
            "slo:objective:ratio" | "pyrra_objective" => {
                defined.target = sample.value;
                defined.labels = labels_of(by, sample);
            }
            "slo:time_period:days" => {
                defined.window_secs = sample.value.and_then(|days| secs(days * 86_400.0));
            }
            "pyrra_window" => defined.window_secs = sample.value.and_then(secs),
            _ => defined.availability = sample.value,
        }
    }
    all
}

fn labels_of(by: Definer, sample: &Sample) -> Labels {
    let (service, name) = match by {
        Definer::Sloth => (sample.label("sloth_service"), sample.label("sloth_slo")),
        _ => (sample.label("service"), sample.label("slo")),
    };
    let service = if service.is_empty() { sample.label("job") } else { service };
    Labels { namespace: sample.label("namespace").into(), service: service.into(), name: name.into() }
}

fn secs(value: f64) -> Option<u64> {
    (value.is_finite() && (1.0..=1e9).contains(&value)).then_some(value.round() as u64)
}

/// Returns the shares of each objective by window, and the labels of Pyrra's series. Of several series of a window, the
/// worst one counts.
fn read(samples: &[Sample], at: Stamp) -> (HashMap<Key, Vec<Ratio>>, HashMap<Key, Labels>) {
    let (mut all, mut named) = (HashMap::<Key, Vec<Ratio>>::new(), HashMap::new());
    for sample in samples {
        let metric = sample.label("__name__");
        let recorded = match metric.strip_prefix("slo:sli_error:ratio_rate") {
            Some(window) => Some((Definer::Sloth, sample.label("sloth_id"), window)),
            None => metric
                .rsplit_once(":burnrate")
                .map(|(_, window)| (Definer::Pyrra, sample.label("slo"), window)),
        };
        let Some((by, id, window)) = recorded else { continue };
        let (Some(window_secs), false) = (duration(window), id.is_empty()) else { continue };
        let key = (by, id.to_owned());
        if by == Definer::Pyrra {
            named.entry(key.clone()).or_insert_with(|| labels_of(by, sample));
        }
        let ratios = all.entry(key).or_default();
        let bad = sample.value.map(|bad| bad.clamp(0.0, 1.0));
        match ratios.iter_mut().find(|r| r.window_secs == window_secs) {
            Some(held) => held.bad = held.bad.zip(bad).map(|(a, b)| a.max(b)).or(held.bad).or(bad),
            None => ratios.push(Ratio { window_secs, bad, requests: None, at }),
        }
    }
    (all, named)
}

/// Reads a duration as Prometheus writes it: `5m`, `1h4m`, `4w`. Returns seconds.
fn duration(text: &str) -> Option<u64> {
    let (mut sum, mut number) = (0u64, None);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0u64).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            'y' => 31_536_000,
            _ => return None,
        };
        sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && sum > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use pilothouse_core::domain::slo::SloState;
    use pilothouse_core::policy::slo;

    use super::*;

    const NOW: Stamp = Stamp(1_000_000);

    fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> Sample {
        let named = [("__name__", name)];
        let labels = named.iter().chain(labels).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sample { labels, value: value.is_finite().then_some(value) }
    }

    fn recorded(defined: &[Sample], shares: &[Sample]) -> Recorded {
        let (ratios, named) = read(shares, NOW);
        Recorded { defined: define(defined), ratios, named, at: NOW, ..Recorded::default() }
    }

    #[test]
    fn durations_as_prometheus_writes_them() {
        for (text, secs) in [
            ("5m", Some(300)),
            ("1h4m", Some(3840)),
            ("4w", Some(2_419_200)),
            ("1d1h43m", Some(92_580)),
            ("30d", Some(2_592_000)),
            ("", None),
            ("5", None),
            ("m", None),
            ("5x", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(duration(text), secs, "{text}");
        }
    }

    #[test]
    fn the_rules_of_sloth() {
        let id = [
            ("sloth_id", "myservice-requests-availability"),
            ("sloth_service", "myservice"),
            ("sloth_slo", "requests-availability"),
            ("owner", "myteam"),
        ];
        let with = |window: &'static str| [&id[..], &[("sloth_window", window)]].concat();
        let share = |window, bad| sample(&format!("slo:sli_error:ratio_rate{window}"), &with(window), bad);
        let shares = [
            share("5m", 0.02),
            share("30m", 0.0),
            share("1h", 0.016),
            share("2h", 0.0),
            share("6h", 0.0),
            share("1d", 0.0),
            share("3d", 0.0),
            share("30d", 0.0004),
        ];
        let defined = [sample("slo:objective:ratio", &id, 0.999), sample("slo:time_period:days", &id, 30.0)];
        let all: Vec<_> = recorded(&defined, &shares).measured().collect();
        let [one] = all.as_slice() else { panic!("{all:?}") };
        let o = &one.objective;
        assert_eq!((o.namespace.as_str(), o.service.as_str(), o.by), ("", "myservice", Definer::Sloth));
        assert_eq!(o.to_string(), "requests-availability 99.9 % over 30d");
        let verdict = slo::judge(one, NOW);
        assert_eq!(verdict.state, SloState::BurningFast);
        assert!((verdict.budget_left.unwrap() - 0.6).abs() < 1e-9, "{verdict:?}");
        assert!((verdict.burns[0].long.unwrap() - 16.0).abs() < 1e-9);
    }

    #[test]
    fn the_rules_of_pyrra() {
        let generic = [("slo", "checkout-errors")];
        let of = [("slo", "checkout-errors"), ("job", "x"), ("namespace", "shop"), ("service", "checkout")];
        let share = |window: &str, bad| sample(&format!("http_requests:burnrate{window}"), &of, bad);
        let shares = ["5m", "30m", "1h", "2h", "6h", "1d", "4d"].map(|window| share(window, 0.0125));
        let defined = [
            sample("pyrra_objective", &generic, 0.99),
            sample("pyrra_window", &generic, 2_419_200.0),
            sample("pyrra_availability", &generic, 0.995),
        ];
        let all: Vec<_> = recorded(&defined, &shares).measured().collect();
        let [one] = all.as_slice() else { panic!("{all:?}") };
        let o = &one.objective;
        assert_eq!((o.namespace.as_str(), o.service.as_str(), o.by), ("shop", "checkout", Definer::Pyrra));
        let verdict = slo::judge(one, NOW);
        assert_eq!(verdict.state, SloState::BurningSlowly, "1.25 is above 1 over 4d and 6h: {verdict:?}");
        assert!((verdict.budget_left.unwrap() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn without_any_error_pyrra_records_no_shares() {
        let of = [("slo", "a")];
        let defined = |good| {
            [
                sample("pyrra_objective", &of, 0.99),
                sample("pyrra_window", &of, 2_419_200.0),
                sample("pyrra_availability", &of, good),
            ]
        };
        let state = |good| slo::judge(&recorded(&defined(good), &[]).measured().next().unwrap(), NOW).state;
        assert_eq!((state(1.0), state(0.999)), (SloState::Fine, SloState::Unknown));
    }

    #[test]
    fn what_is_not_completely_defined_is_no_objective() {
        let sloth = [("sloth_id", "a"), ("sloth_service", "shop/cart"), ("sloth_slo", "x")];
        let all = |defined: &[Sample]| recorded(defined, &[]).measured().collect::<Vec<_>>();
        assert!(all(&[sample("slo:objective:ratio", &sloth, 0.99)]).is_empty(), "no period");
        assert!(all(&[sample("pyrra_objective", &[], 0.99), sample("pyrra_window", &[], 9.0)]).is_empty());
        let defined =
            [sample("slo:objective:ratio", &sloth, 0.99), sample("slo:time_period:days", &sloth, 30.0)];
        let one = &all(&defined)[0].objective;
        assert_eq!((one.namespace.as_str(), one.service.as_str()), ("shop", "cart"));
    }
}
