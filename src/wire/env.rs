//! The environment that says where a cluster is and how it is reached: the process's own, or one that a test gives.

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
    /// These variables and no others.
    pub fn of(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(Some(Arc::new(vars.into_iter().collect())))
    }

    /// A variable's value; None also when it is empty, which client-go and Go take for unset.
    pub fn var(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(given) => given.get(name).cloned(),
            None => std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()),
        };
        value.filter(|v| !v.is_empty())
    }

    /// The environment of a child process; None = it inherits ours.
    pub(super) fn given(&self) -> Option<&BTreeMap<String, String>> {
        self.0.as_deref()
    }
}
