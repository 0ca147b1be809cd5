//! The environment variables for the access to a cluster: the process's own, or those of a test.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Environment variables.
#[derive(Clone, Default)]
pub struct Env(Option<Arc<BTreeMap<String, String>>>);

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // proxies have passwords
        f.write_str(if self.0.is_some() { "Env(given)" } else { "Env(process)" })
    }
}

impl Env {
    /// Only these variables.
    pub fn of(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(Some(Arc::new(vars.into_iter().collect())))
    }

    /// A variable's value. An empty value is None, because client-go and Go treat it as unset.
    pub fn var(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(given) => given.get(name).cloned(),
            None => std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()),
        };
        value.filter(|v| !v.is_empty())
    }

    /// The environment of a child process; None: the child inherits ours.
    pub(super) fn given(&self) -> Option<&BTreeMap<String, String>> {
        self.0.as_deref()
    }
}
