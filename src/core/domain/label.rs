//! The labels of an object, for matching selectors.

use super::id::Name;

/// All labels of one object. A pod stores the labels that it shares with its template apart from its own labels; a
/// selector matches against both. No key is in both halves.
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
