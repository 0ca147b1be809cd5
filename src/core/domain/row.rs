//! What every watched object has: an identity, a version and a namespace. Tables are made of rows.
//! [`object`] adds the reference to the object.

use super::id::{Uid, Version};

/// An object that can be a row of a table.
pub trait Row {
    fn uid(&self) -> &Uid;
    fn version(&self) -> Version;
    /// Empty for cluster-scoped kinds.
    fn namespace(&self) -> &str;
    /// True if the two say the same and differ in their version at most: a heartbeat, a relist.
    fn same_content(&self, other: &Self) -> bool;
}

/// Implements [`Row`] for a type with the fields `uid`, `version` and `namespace`. A type without a namespace names the
/// one that all its objects are in, "" if it is cluster-scoped.
macro_rules! row {
    ($type:ty) => {
        row!($type, |row| &row.namespace);
    };
    ($type:ty, in $namespace:literal) => {
        row!($type, |_| $namespace);
    };
    ($type:ty, $namespace:expr) => {
        impl $crate::domain::row::Row for $type {
            fn uid(&self) -> &$crate::domain::id::Uid {
                &self.uid
            }
            fn version(&self) -> $crate::domain::id::Version {
                self.version
            }
            fn namespace(&self) -> &str {
                let namespace: fn(&$type) -> &str = $namespace;
                namespace(self)
            }
            fn same_content(&self, other: &Self) -> bool {
                self == &Self { version: self.version, ..other.clone() }
            }
        }
    };
}
pub(super) use row;

/// Adds `reference` to a type with the fields `name` and `uid`, for objects of one kind.
macro_rules! object {
    ($type:ty, $kind:ident) => {
        object!($type, $kind, |row| row.namespace.clone());
    };
    ($type:ty, $kind:ident, cluster-scoped) => {
        object!($type, $kind, |_| $crate::domain::id::Name::default());
    };
    ($type:ty, $kind:ident, $namespace:expr) => {
        impl $type {
            /// Returns the reference to this object of a cluster.
            pub fn reference(&self, cluster: $crate::domain::id::ClusterId) -> $crate::domain::id::ObjectRef {
                let namespace: fn(&$type) -> $crate::domain::id::Name = $namespace;
                $crate::domain::id::ObjectRef {
                    cluster,
                    kind: $crate::domain::id::Kind::$kind,
                    namespace: namespace(self),
                    name: self.name.clone(),
                    uid: self.uid.clone(),
                }
            }
        }
    };
}
pub(super) use object;
