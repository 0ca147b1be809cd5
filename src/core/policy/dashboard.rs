//! The link to a Service's dashboard.

/// Returns the URL of a Service's dashboard: the template with `$namespace` and `$service` (also `${…}`) replaced by its
/// names, escaped for a URL. Returns `None` without a template.
pub fn url(template: &str, namespace: &str, service: &str) -> Option<String> {
    let mut url = template.to_owned();
    for (name, value) in [("namespace", namespace), ("service", service)] {
        for written in [format!("${{{name}}}"), format!("${name}")] {
            url = url.replace(&written, &escaped(value));
        }
    }
    (!url.is_empty()).then_some(url)
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
            assert_eq!(url(template, namespace, service), Some(expected));
        }
        assert_eq!(url("", "shop", "checkout"), None);
    }
}
