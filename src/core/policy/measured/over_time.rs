//! The numbers of all services of a preset at several times, from the answers to range queries.

use std::collections::BTreeMap;

use super::{Reading, Row, read_each, services};
use crate::domain::id::Name;
use crate::domain::preset::{Measure, Preset, Sample};
use crate::domain::trend::ServiceTrend;
use crate::facts::intern::Names;

/// A series: its labels, and its value at each time. `None`: it had no sample then. NaN: the sample was not a number, so
/// what is computed with it is not known either.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    pub labels: Vec<(String, String)>,
    pub values: Vec<Option<f64>>,
}

/// What was read of the answer to one query: the rows, each with the place of its series, and the values of the series.
type Over = (Measure, Vec<(usize, Row)>, Vec<Vec<Option<f64>>>);

/// Returns the numbers of each service at `count` times. Each time is read like the answers to instant queries.
pub fn over_time(
    preset: &Preset,
    answers: Vec<(Measure, Vec<Column>)>,
    count: usize,
    names: &mut Names,
) -> Vec<ServiceTrend> {
    let read = |(measure, columns): (Measure, Vec<Column>)| {
        let (labels, values): (Vec<_>, Vec<_>) =
            columns.into_iter().map(|one| (Sample { labels: one.labels, value: None }, one.values)).unzip();
        let mut rows: Vec<(usize, Row)> = Vec::with_capacity(labels.len());
        read_each(preset, &labels, names, |place, row| rows.push((place, row)));
        (measure, rows, values)
    };
    let read: Vec<Over> = answers.into_iter().map(read).collect();
    let mut trends: BTreeMap<(Name, Name), ServiceTrend> = BTreeMap::new();
    for at in 0..count {
        let then = |(measure, rows, values): &Over| {
            let row = |(place, row): &(usize, Row)| {
                let value = (*values.get(*place)?.get(at)?)?;
                Some(Row { value: Some(value).filter(|value| value.is_finite()), ..row.clone() })
            };
            Reading { measure: *measure, rows: rows.iter().filter_map(row).collect(), nameless: 0 }
        };
        let readings: Vec<Reading> = read.iter().map(then).collect();
        for service in services(preset, 0, 0, readings.iter()) {
            let key = (service.namespace.clone(), service.name.clone());
            let gaps = || vec![None; count];
            let trend = trends.entry(key).or_insert_with(|| ServiceTrend {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
                rps: gaps(),
                error_ratio: gaps(),
                p95_ms: gaps(),
            });
            let now = [service.rps, service.error_ratio, service.p95_ms];
            for (of, number) in
                [&mut trend.rps, &mut trend.error_ratio, &mut trend.p95_ms].into_iter().zip(now)
            {
                if let Some(place) = of.get_mut(at) {
                    *place = number;
                }
            }
        }
    }
    trends.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::preset::all;

    #[test]
    fn each_time_is_read_like_an_instant() {
        let preset = all(&[]).into_iter().find(|preset| preset.name == "http_requests_total").unwrap();
        let column = |code: &str, values: Vec<Option<f64>>| {
            let labels = [("namespace", "shop"), ("service", "cart"), ("code", code)];
            let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
            Column { labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(), values }
        };
        // the failed requests begin at the second time, are no number at the third, and end
        let rates = vec![
            column("200", [10.0, 9.0, 9.0, 10.0].map(Some).into()),
            column("503", vec![None, Some(1.0), Some(f64::NAN), None]),
        ];
        let p95 = vec![column("", vec![None, Some(0.25), None, Some(0.5)])];
        let answers = vec![(Measure::Rate, rates), (Measure::P95, p95)];
        let trends = over_time(&preset, answers, 4, &mut Names::default());
        assert_eq!(trends.len(), 1);
        assert_eq!((trends[0].namespace.as_str(), trends[0].name.as_str()), ("shop", "cart"));
        assert_eq!(trends[0].rps, [10.0, 10.0, 9.0, 10.0].map(Some));
        assert_eq!(trends[0].error_ratio, [Some(0.0), Some(0.1), None, Some(0.0)]);
        assert_eq!(trends[0].p95_ms, [None, Some(250.0), None, Some(500.0)]);
    }
}
