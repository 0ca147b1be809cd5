//! Names with wildcards.

use crate::domain::glob;

/// Alternatives with the wildcards `*` and `?`, separated by `|`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(String);

impl Glob {
    pub(super) fn new(source: impl Into<String>) -> Self {
        Self(source.into())
    }

    pub(super) fn source(&self) -> &str {
        &self.0
    }

    /// Whether one of the alternatives is the whole name.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.split('|').any(|pattern| glob::matches(pattern, name))
    }

    /// Whether an alternative without wildcards is the beginning of the name, as `api` is of `api-7c9f-1`.
    pub(super) fn matches_owner_of(&self, name: &str) -> bool {
        let is_plain = |pattern: &&str| !pattern.is_empty() && !pattern.contains(['*', '?']);
        let mut plain = self.0.split('|').filter(is_plain);
        plain.any(|pattern| name.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('-')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_and_owners() {
        let whole = |glob: &str, name: &str| Glob::new(glob).matches(name);
        assert!(whole("x|a*", "abc") && whole("", "") && !whole("x|a", "abc"));
        let owner = |glob: &str, name: &str| Glob::new(glob).matches_owner_of(name);
        assert!(owner("api", "api-1") && owner("web|api", "api-1") && !owner("ap", "api-1"));
        assert!(!owner("api", "api") && !owner("ap*", "api-1") && !owner("", "-1"));
    }
}
