//! Credentials: as headers that no log shows, and taken out of the URLs that are shown.

use base64::Engine as _;
use http::HeaderValue;

/// A header value that is not shown in logs. None when no header can hold the text.
pub(crate) fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Basic …` of a name and a password.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    header(&format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    ))
}

/// A URL, valid or not, without the name and password in it.
pub(crate) fn hide(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{host}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_password() {
        for (url, shown) in [
            ("https://h:1/x", "https://h:1/x"),
            ("https://u:p@h/x", "https://h/x"),
            ("https://u:p@ss@h", "https://h"),
            ("u:p@h:1", "h:1"),
            ("h", "h"),
        ] {
            assert_eq!(hide(url), shown, "{url}");
        }
    }

    #[test]
    fn a_header_of_a_secret_is_not_shown() {
        let value = basic("u", "p").unwrap();
        assert_eq!(value.as_bytes(), b"Basic dTpw");
        assert!(value.is_sensitive() && header("a\nb").is_none());
    }
}
