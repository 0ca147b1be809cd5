//! The text of a query: for all services, as it is sent, and for one service, as a person would type it.

use super::matchers::{equals, matches, pattern, together};
use super::{LabelText, Measure, Preset, Query};
use crate::domain::traffic::{BackendTraffic, ServiceTraffic};

/// Returns a query's PromQL with its placeholders filled in. `matchers` is empty for all services.
pub fn filled(query: &Query, window_secs: u32, matchers: &str) -> String {
    let mut promql = query.promql.clone();
    if matchers.is_empty() {
        promql = promql.replace(",$S}", "}").replace("{$S}", "");
    } else {
        promql = promql.replace("$S", matchers);
    }
    promql.replace("$W", &format!("{window_secs}s")).replace("$Q", query.measure.quantile().unwrap_or("0.5"))
}

/// Returns a query's PromQL for services with these matchers. The answer can have more services.
pub fn filled_for<'a>(query: &Query, window_secs: u32, selectors: impl Iterator<Item = &'a str>) -> String {
    let mut parts: Vec<String> =
        together(selectors).iter().map(|matchers| filled(query, window_secs, matchers)).collect();
    parts.dedup();
    parts.join(" or ")
}

/// Restricts each rate of a query to the series that have a current value: `rate(x[$W])` becomes `(rate(x[$W]) and x)`.
pub fn only_current(promql: &str) -> String {
    const CALL: &str = " rate(";
    const END: &str = "[$W])";
    // with a space before each call, `irate(` is another word
    let spaced = format!(" {promql}").replace("(rate(", "( rate(");
    let mut out = String::new();
    let mut rest = spaced.as_str();
    while let Some((before, after)) = rest.split_once(CALL) {
        let Some((selector, more)) = after.split_once(END) else { break };
        out.push_str(before);
        if selector.contains(['(', ')']) && !selector.contains('"') {
            out.push_str(&format!("{CALL}{selector}{END}"));
        } else {
            out.push_str(&format!("(rate({selector}{END} and {selector})"));
        }
        rest = more;
    }
    out.push_str(rest);
    out.trim_start().to_owned()
}

/// Returns the PromQL of one number of a service, or of one of its backends, with the window of its traffic. Returns
/// `None` if the preset does not measure it.
pub fn promql(
    preset: &Preset,
    measure: Measure,
    traffic: &ServiceTraffic,
    backend: Option<&BackendTraffic>,
) -> Option<String> {
    let mut given: Vec<String> = Vec::new();
    let selector = traffic.selector.as_str();
    given.extend((!selector.is_empty()).then(|| selector.to_owned()));
    if let Some(backend) = backend
        && !traffic.backend_label.is_empty()
    {
        let value = if backend.address.is_empty() { &backend.name } else { &backend.address };
        given.push(equals(&traffic.backend_label, value));
    }
    let with = |query: &Query, more: &[String]| {
        filled(query, traffic.window_secs, &[given.as_slice(), more].concat().join(","))
    };
    if let Some(query) = preset.query(measure) {
        return Some(with(query, &[]));
    }
    // the failed requests are a part of the rate
    let rate = preset.query(Measure::Rate).filter(|_| measure == Measure::Errors)?;
    let failed = by_label(&preset.failed);
    let failed: Vec<String> =
        failed.iter().map(|matcher| with(rate, std::slice::from_ref(matcher))).collect();
    (!failed.is_empty()).then(|| failed.join(" or "))
}

/// Returns one matcher for each label: `code=~"5.*|0"`.
fn by_label(failed: &[LabelText]) -> Vec<String> {
    let mut labels: Vec<&str> = failed.iter().map(|one| one.label.as_str()).collect();
    labels.dedup();
    let matcher = |label: &str| {
        let of_label = failed.iter().filter(|one| one.label == label);
        let values: Vec<String> = of_label.map(|one| pattern(&one.text)).collect();
        matches(label, &values.join("|"))
    };
    labels.into_iter().map(matcher).collect()
}
