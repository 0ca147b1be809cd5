//! Links to other tools: the templates of the config, with their placeholders filled in.

use crate::domain::time::Stamp;

/// A kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The dashboard of a Service.
    Dashboard,
    /// The trace of a log line.
    Trace,
    /// The graph of a PromQL query.
    Graph,
}

/// The links, each with its setting and its placeholders. A placeholder is written as `$name`, `${name}` or `{name}`.
pub const LINKS: [(Link, &str, &[&str]); 3] = [
    (Link::Dashboard, "traffic.grafana_url", &["namespace", "service"]),
    (Link::Trace, "logs.trace_url", &["trace_id"]),
    (Link::Graph, "prometheus.graph_url", &["query", "from", "to", "range"]),
];

/// What the link of a graph is filled with.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a> {
    pub query: &'a str,
    pub from: Stamp,
    pub to: Stamp,
    /// The length of the span: `1h`.
    pub range: &'a str,
}

/// Returns the URL of a Service's dashboard. Returns `None` without a template.
pub fn dashboard(template: &str, namespace: &str, service: &str) -> Option<String> {
    fill(Link::Dashboard, template, &[namespace, service])
}

/// Returns the URL of a trace.
pub fn trace(template: &str, id: &str) -> Option<String> {
    fill(Link::Trace, template, &[id])
}

/// Returns the URL of a graph. Its times are in milliseconds since 1970, as Grafana has them.
pub fn graph(template: &str, graph: &Graph<'_>) -> Option<String> {
    let (from, to) = (graph.from.0.to_string(), graph.to.0.to_string());
    fill(Link::Graph, template, &[graph.query, &from, &to, graph.range])
}

/// Fills in a template, with one value for each placeholder of the link. A placeholder in a value stays as it is.
fn fill(link: Link, template: &str, values: &[&str]) -> Option<String> {
    let (.., names) = LINKS.iter().find(|(one, ..)| *one == link)?;
    let (mut out, mut rest) = (String::with_capacity(template.len() + 64), template);
    'next: while let Some(first) = rest.chars().next() {
        if matches!(first, '$' | '{') {
            for (name, value) in names.iter().zip(values) {
                for written in [format!("${{{name}}}"), format!("${name}"), format!("{{{name}}}")] {
                    if let Some(after) = rest.strip_prefix(written.as_str()) {
                        out.push_str(&escaped(value));
                        rest = after;
                        continue 'next;
                    }
                }
            }
        }
        out.push(first);
        rest = rest.strip_prefix(first).unwrap_or_default();
    }
    (!out.is_empty()).then_some(out)
}

/// Percent-encodes everything but the characters that a URL takes as they are.
pub(super) fn escaped(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_escaped_and_nothing_else_changes() {
        let template = "https://grafana/d/abc?var-namespace=$namespace&var-service=${service}&from=now-1h";
        for (namespace, service, query) in [
            ("shop", "checkout", "var-namespace=shop&var-service=checkout"),
            ("", "a b&c=ü/$service", "var-namespace=&var-service=a%20b%26c%3D%C3%BC%2F%24service"),
        ] {
            let expected = format!("https://grafana/d/abc?{query}&from=now-1h");
            assert_eq!(dashboard(template, namespace, service), Some(expected));
        }
        assert_eq!(dashboard("", "shop", "checkout"), None);
        assert_eq!(trace("https://tempo/{trace_id}?{x}", "4bf9").as_deref(), Some("https://tempo/4bf9?{x}"));
    }

    #[test]
    fn a_graph_has_its_query_and_its_time() {
        let asked =
            Graph { query: "rate(x{a=\"$to\"}[2m])", from: Stamp(1_000), to: Stamp(61_000), range: "1m" };
        let url = graph("https://p/graph?g0.expr=$query&g0.range_input=$range&from=$from&to=${to}", &asked)
            .unwrap();
        assert_eq!(
            url,
            "https://p/graph?g0.expr=rate%28x%7Ba%3D%22%24to%22%7D%5B2m%5D%29&g0.range_input=1m&from=1000&to=61000"
        );
    }
}
