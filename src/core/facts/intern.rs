//! Interning: repeated names are stored once, and dropped when nothing else holds them.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::domain::id::Name;

/// A pool of names. There is one per cluster, owned by the task that decodes.
#[derive(Debug, Default)]
pub struct Names {
    pool: HashSet<Name>,
    sweep_at: usize,
}

impl Names {
    pub fn get(&mut self, text: &str) -> Name {
        if let Some(name) = self.pool.get(text) {
            return name.clone();
        }
        if self.pool.len() >= self.sweep_at {
            self.sweep();
        }
        let name = Name::from(text);
        self.pool.insert(name.clone());
        name
    }

    /// Drops every name that only the pool holds. The next sweep is due when the pool has doubled in size.
    pub fn sweep(&mut self) {
        self.pool.retain(|name| name.owners() > 1);
        self.sweep_at = (self.pool.len() * 2).max(4096);
    }

    pub fn len(&self) -> usize {
        self.pool.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pool.is_empty()
    }
}

/// A pool of any shared value (pod shapes, owners): one allocation per distinct value.
#[derive(Debug)]
pub struct Shared<T> {
    pool: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { pool: HashSet::new(), sweep_at: 0 }
    }
}

impl<T: Eq + Hash> Shared<T> {
    pub fn get(&mut self, value: T) -> Arc<T> {
        if let Some(held) = self.pool.get(&value) {
            return held.clone();
        }
        if self.pool.len() >= self.sweep_at {
            self.pool.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = (self.pool.len() * 2).max(4096);
        }
        let value = Arc::new(value);
        self.pool.insert(value.clone());
        value
    }

    pub fn len(&self) -> usize {
        self.pool.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pool.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allocation_for_one_text_and_none_when_nobody_holds_it() {
        let mut names = Names::default();
        let a = names.get("shop");
        let b = names.get("shop");
        assert!(std::ptr::eq(a.as_str(), b.as_str()));
        drop((a, b));
        names.sweep();
        assert!(names.is_empty());
    }
}
