//! Header values with credentials, which are marked as sensitive so that no log shows them.

use base64::Engine as _;
use http::HeaderValue;

/// A header value that is not shown in logs. None if a header cannot have this text.
pub(crate) fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Basic …` for a name and a password.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    header(&format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_a_secret_is_not_shown() {
        let value = basic("u", "p").unwrap();
        assert_eq!(value.as_bytes(), b"Basic dTpw");
        assert!(value.is_sensitive() && header("a\nb").is_none());
    }
}
