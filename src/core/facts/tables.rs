//! The tables of the watched kinds. They are generated from one list of kinds, [`with_tables`].
//!
//! Each kind has three fields of the same name. The hub writes its [`Rows`] (`facts.pods`), collects the changes as
//! [`Delta`]s (`dirty.pods`), and publishes a [`Table`] (`cluster.pods`).

use std::sync::Arc;

use crate::domain;
use crate::domain::id::Kind;
use crate::domain::kinds::with_tables;

use super::event::{Batch, Fact};
use super::reduce::{Delta, Dirty, Parts};
use super::table::{Coverage, Freshness, Row, Rows, Table, Wrote};

macro_rules! tables {
    ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {
        /// The rows of every table, as the hub writes them.
        #[derive(Default)]
        pub struct TableRows {
            $(pub $table: Rows<domain::$module::$row>,)*
        }

        /// The changes to the rows of every table since the last publish.
        #[derive(Default)]
        pub struct TableDeltas {
            $(pub $table: Vec<Delta<domain::$module::$row>>,)*
        }

        /// Every table as it was last published.
        #[derive(Clone, Debug, Default)]
        pub struct Tables {
            $(pub $table: Table<domain::$module::$row>,)*
        }

        /// The kinds of data that rules and publishing depend on: the watched kinds, and the data that is in no
        /// table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Part {
            $($kind,)*
            Usage,
            Traffic,
            Trends,
            Logs,
            Sources,
            Identity,
            Actions,
            Time,
            Silences,
            Changes,
            Remarks,
            Alerts,
        }

        impl TableRows {
            pub fn published(&self) -> Tables {
                Tables { $($table: self.$table.table().clone(),)* }
            }
        }

        impl Tables {
            /// Returns the coverage and the freshness of every table, by the plural of its kind. The plural is also
            /// the name of its source.
            pub fn tables(&self) -> [(&'static str, &Coverage, Freshness); TABLES] {
                [$((Kind::$kind.info().map_or("", |info| info.plural), &self.$table.cover, self.$table.fresh)),*]
            }
        }

        /// The number of tables.
        const TABLES: usize = [$(stringify!($kind)),*].len();

        /// Folds a batch of rows into its table. A fact that belongs to no table changes nothing.
        pub(super) fn fold(rows: &mut TableRows, fact: Fact, dirty: &mut Dirty) {
            match fact {
                $(Fact::$fact(batch) => {
                    let deltas = &mut dirty.deltas.$table;
                    let (before, table) = (deltas.len(), &mut rows.$table);
                    // A rule may have been waiting for a complete table.
                    let cover = fold_batch(table, batch, deltas);
                    if cover || deltas.len() > before {
                        dirty.parts.add(Parts::of(Part::$kind));
                    }
                    dirty.cover |= cover;
                })*
                Fact::NodeUsage { .. }
                | Fact::PodUsage { .. }
                | Fact::Traffic(_)
                | Fact::Objectives(_)
                | Fact::Trends(_)
                | Fact::Alerts(_)
                | Fact::Logs(_)
                | Fact::Source(_)
                | Fact::Identity(_)
                | Fact::Action(_)
                | Fact::Silence(_)
                | Fact::Remark(_) => {}
            }
        }
    };
}
with_tables!(tables);

/// Returns true if the coverage or the freshness of the table has changed.
fn fold_batch<T: Row>(rows: &mut Rows<T>, batch: Batch<T>, deltas: &mut Vec<Delta<T>>) -> bool {
    let (cover, fresh) = (rows.table().cover.clone(), rows.table().fresh);
    let removed = |old: Arc<T>| Delta { old: Some(old), new: None };
    match batch {
        Batch::Begin { generation } => rows.begin(generation),
        Batch::Expect { of } => rows.expect(of),
        Batch::Scope { namespaces } => rows.limit_to(namespaces.map(Into::into)),
        Batch::Upsert(items) => {
            for item in items {
                match rows.upsert(item) {
                    Wrote::Added(new) => deltas.push(Delta { old: None, new: Some(new) }),
                    Wrote::Replaced { old, new } if !old.same_content(&new) => {
                        deltas.push(Delta { old: Some(old), new: Some(new) });
                    }
                    Wrote::Replaced { .. } => {}
                    Wrote::Removed(_) | Wrote::Ignored => {}
                }
            }
        }
        Batch::Gone(items) => {
            for gone in items {
                if let Wrote::Removed(old) = rows.remove(&gone.uid, gone.version) {
                    deltas.push(removed(old));
                }
            }
        }
        Batch::End { generation, .. } => deltas.extend(rows.end(generation).into_iter().map(removed)),
        Batch::Denied { reason } => rows.deny(reason),
        Batch::NotInstalled => deltas.extend(rows.not_installed().into_iter().map(removed)),
        Batch::Stale { since } => rows.set_stale(since),
    }
    cover != rows.table().cover || fresh != rows.table().fresh
}

#[cfg(test)]
mod tests {
    use crate::domain::id::Version;

    use super::*;

    #[test]
    fn a_batch_changes_its_own_table_and_no_other() {
        macro_rules! each {
            ($($kind:ident: $module:ident::$row:ident, $table:ident, $fact:ident;)*) => {$(
                let (mut rows, mut dirty) = (TableRows::default(), Dirty::default());
                for batch in [Batch::Begin { generation: 1 }, Batch::End { generation: 1, version: Version(1) }] {
                    fold(&mut rows, Fact::$fact(batch), &mut dirty);
                }
                assert_eq!(dirty.parts, Parts::of(Part::$kind));
                let published = rows.published();
                let complete = published.tables().into_iter().filter(|(_, cover, _)| cover.is_complete());
                let names: Vec<&str> = complete.map(|(name, ..)| name).collect();
                assert_eq!(names, [Kind::$kind.info().unwrap().plural]);
            )*};
        }
        with_tables!(each);
    }
}
