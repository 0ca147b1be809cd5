//! Labels of an object as a selector sees them.

use super::id::Name;

/// All labels of one object. A pod keeps those that it shares with the pods of its template apart from its own; a
/// selector sees both. The two halves have no key in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'a> {
    shared: &'a [(Name, Name)],
    own: &'a [(Name, Name)],
}

impl<'a> Labels<'a> {
    pub fn new(shared: &'a [(Name, Name)], own: &'a [(Name, Name)]) -> Self {
        Self { shared, own }
    }

    pub fn get(&self, key: &str) -> Option<&'a Name> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a (Name, Name)> + use<'a> {
        self.shared.iter().chain(self.own)
    }
}

impl<'a> From<&'a [(Name, Name)]> for Labels<'a> {
    fn from(labels: &'a [(Name, Name)]) -> Self {
        Self::new(labels, &[])
    }
}

impl<'a, const N: usize> From<&'a [(Name, Name); N]> for Labels<'a> {
    fn from(labels: &'a [(Name, Name); N]) -> Self {
        Self::new(labels, &[])
    }
}
