//! Matchers of labels in PromQL.

/// Returns the regular expression of a text whose `*` at the end stands for any text.
pub fn pattern(text: &str) -> String {
    match text.strip_suffix('*') {
        Some(start) => format!("{}.*", literal(start)),
        None => literal(text),
    }
}

/// Returns the matcher of a label with this value: `namespace="shop"`.
pub fn equals(label: &str, value: &str) -> String {
    format!("{label}={}", quoted(value))
}

/// Returns the matcher of a label with a regular expression.
pub fn matches(label: &str, regex: &str) -> String {
    format!("{label}=~{}", quoted(regex))
}

/// Returns a PromQL string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Returns the regular expression of a text.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r".+*?()|[]{}^$\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
