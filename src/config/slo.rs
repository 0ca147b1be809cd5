//! `[slo."NAMESPACE/NAME"]`: the service level objectives of the config.

use pilothouse_core::domain::id::Name;
use pilothouse_core::domain::slo::{Definer, Good, Objective};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::check::nearest;
use super::failover::Wrong;

/// The keys with their documentation.
const KEYS: [(&str, &str); 4] = [
    ("availability", "the percentage of requests without a server error, for example 99.9"),
    ("window_days", "the days that the objective and its error budget are for, 1 to 90 (default 30)"),
    (
        "latency_ms",
        "the response time, in milliseconds, that latency_percent of the requests should not exceed",
    ),
    ("latency_percent", "the percentage of requests that should be that fast, for example 99 (default 99)"),
];

const DEFAULT_DAYS: u64 = 30;
const DEFAULT_PERCENT: f64 = 99.0;
const DAY_SECS: u64 = 86_400;

type Key<'k> = Spanned<std::borrow::Cow<'k, str>>;

/// Reads one section: an objective for the availability, one for the latency, or both. A section with mistakes has
/// none.
pub fn read(name: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Result<Vec<Objective>, Vec<Wrong>> {
    let word = name.get_ref();
    let DeValue::Table(table) = value.get_ref() else {
        let what = format!("slo.{word} must be a section");
        return Err(vec![Wrong { span: value.span(), what, hint: format!("write [slo.{word:?}]") }]);
    };
    let mut wrong = Vec::new();
    let (namespace, service) = match word.split('/').collect::<Vec<_>>().as_slice() {
        [namespace, service] if !namespace.is_empty() && !service.is_empty() => (*namespace, *service),
        // a proxy outside the cluster
        [proxy] if !proxy.is_empty() => ("", *proxy),
        _ => {
            wrong.push(Wrong {
                span: name.span(),
                what: format!("slo.{word:?} must be NAMESPACE/NAME of a Service, or the name of a proxy"),
                hint: "for example [slo.\"shop/checkout\"]".into(),
            });
            ("", "")
        }
    };
    for (key, _) in table {
        if !KEYS.iter().any(|(known, _)| *known == key.get_ref()) {
            wrong.push(Wrong {
                span: key.span(),
                what: format!("unknown key {:?} in [slo.{word:?}]", key.get_ref()),
                hint: nearest(key.get_ref(), KEYS.iter().map(|(known, _)| *known)),
            });
        }
    }
    let mut number = |key: &str, least: f64, most: f64| {
        let (_, value) = table.iter().find(|(k, _)| k.get_ref() == key)?;
        let number = number(value.get_ref()).filter(|n| (least..=most).contains(n));
        if number.is_none() {
            let hint = KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, doc)| doc);
            wrong.push(Wrong {
                span: value.span(),
                what: format!("slo.{word:?}.{key} must be a number from {least} to {most}"),
                hint: hint.to_owned(),
            });
        }
        number
    };
    // 100 % has no error budget
    let availability = number("availability", 1.0, 99.999);
    let days = number("window_days", 1.0, 90.0).map_or(DEFAULT_DAYS, |days| days as u64);
    let within = number("latency_ms", 1.0, 600_000.0);
    let fast = number("latency_percent", 1.0, 99.999);
    if wrong.is_empty() && availability.is_none() && within.is_none() {
        let what = format!("[slo.{word:?}] has neither availability nor latency_ms");
        wrong.push(Wrong { span: name.span(), what, hint: "for example availability = 99.9".into() });
    }
    if wrong.is_empty() && fast.is_some() && within.is_none() {
        let what = format!("slo.{word:?}.latency_percent needs latency_ms");
        wrong.push(Wrong { span: name.span(), what, hint: "for example latency_ms = 300".into() });
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let objective = |name: &str, good: Good, percent: f64| Objective {
        namespace: Name::from(namespace),
        service: Name::from(service),
        name: Name::from(name),
        by: Definer::Config,
        good,
        target: percent / 100.0,
        window_secs: days * DAY_SECS,
    };
    let answered = availability.map(|percent| objective("availability", Good::Answered, percent));
    let in_time = within
        .map(|ms| objective("latency", Good::Within { ms: ms as u32 }, fast.unwrap_or(DEFAULT_PERCENT)));
    Ok(answered.into_iter().chain(in_time).collect())
}

/// Returns a whole or a decimal number.
fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n as f64),
        DeValue::Float(n) => n.as_str().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

/// The part of the example file about objectives, as comments, because there is none by default.
pub fn example() -> String {
    let mut out = String::from(
        "\n# [slo.\"NAMESPACE/NAME\"]: the service level objectives of a Service; those of Sloth and Pyrra are read from Prometheus\n",
    );
    for (key, doc) in KEYS {
        out.push_str(&format!("#   {key}: {doc}\n"));
    }
    out.push_str(
        "#\n# [slo.\"shop/checkout\"]\n# availability = 99.9\n# window_days = 30\n# latency_ms = 300\n# latency_percent = 99\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::check;

    #[test]
    fn objectives_of_a_service_and_of_a_proxy() {
        let text = "[slo.\"shop/checkout\"]\navailability = 99.9\nlatency_ms = 300\nlatency_percent = 99.5\nwindow_days = 28\n[slo.edge]\navailability = 99\n[slo.\"shop/cart\"]\nlatency_ms = 50\n";
        let checked = check(text, Path::new("c"));
        assert_eq!(checked.problems, []);
        let told: Vec<String> = checked
            .settings
            .prometheus
            .objectives
            .iter()
            .map(|o| format!("{}/{}: {o}", o.namespace, o.service))
            .collect();
        assert_eq!(
            told,
            [
                "shop/checkout: availability 99.9 % over 28d",
                "shop/checkout: latency 99.5 % within 300 ms over 28d",
                "/edge: availability 99 % over 30d",
                "shop/cart: latency 99 % within 50 ms over 30d",
            ]
        );
    }

    #[test]
    fn each_mistake_has_a_line_and_a_hint() {
        let text = "[slo.\"a/b\"]\navailability = 100\nwindow_day = 3\n[slo.\"a/b/c\"]\navailability = 99\n[slo.x]\nwindow_days = 7\n[slo.y]\nlatency_percent = 9\n[slo.z]\nlatency_ms = \"fast\"\n";
        let checked = check(text, Path::new("c"));
        let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        let begin = |n: usize, words: &str| assert!(problems[n].starts_with(words), "{problems:#?}");
        begin(0, "c:2: slo.\"a/b\".availability must be a number from 1 to 99.999 (the percentage");
        begin(1, "c:3: unknown key \"window_day\" in [slo.\"a/b\"] (did you mean \"window_days\"?)");
        begin(2, "c:4: slo.\"a/b/c\" must be NAMESPACE/NAME of a Service");
        begin(3, "c:6: [slo.\"x\"] has neither availability nor latency_ms");
        begin(4, "c:8: [slo.\"y\"] has neither availability nor latency_ms");
        begin(5, "c:11: slo.\"z\".latency_ms must be a number from 1 to 600000");
        assert_eq!(problems.len(), 6);
        assert!(checked.settings.prometheus.objectives.is_empty() && !checked.unsafe_to_write);
    }
}
