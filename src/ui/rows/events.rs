//! Events of the cluster. One row groups the events of one object with one reason.

use std::collections::HashMap;

use pilothouse_core::domain::event::{InvolvedObject, KubeEvent};
use pilothouse_core::domain::id::{Kind, Name, Uid};
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::facts::table::Table;

/// All events of one object with one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    pub about: InvolvedObject,
    /// The namespace of the events. Events of cluster-scoped objects are in `default`.
    pub namespace: Name,
    pub reason: Name,
    /// Whether one of the events is of type Warning.
    pub warning: bool,
    pub count: u64,
    pub first: Option<Stamp>,
    pub last: Option<Stamp>,
    /// The message of the newest event, and its reporter.
    pub message: Name,
    pub component: Name,
}

impl EventGroup {
    fn new(event: &KubeEvent) -> Self {
        Self {
            about: event.about.clone(),
            namespace: event.namespace.clone(),
            reason: event.reason.clone(),
            warning: event.warning,
            count: 0,
            first: event.first,
            last: event.last,
            message: event.message.clone(),
            component: event.component.clone(),
        }
    }

    fn add(&mut self, event: &KubeEvent) {
        self.count += u64::from(event.count.max(1));
        self.warning |= event.warning;
        self.first = [self.first, event.first].into_iter().flatten().min();
        if event.last > self.last {
            self.last = event.last;
            self.message = event.message.clone();
            self.component = event.component.clone();
            // the newest event refers to the current object
            self.about = event.about.clone();
        }
    }

    /// Returns the identity of a row. It excludes the UID of the object, because a kubelet reports the name of a node
    /// as its UID.
    pub fn key(&self) -> Uid {
        Uid::Text(Name::from(format!(
            "events {} {} {} {}",
            self.namespace, self.about.kind, self.about.name, self.reason
        )))
    }
}

/// The groups and the table that they are built from.
#[derive(Debug, Default)]
pub struct EventGroups {
    pub list: Vec<EventGroup>,
    of: Option<Table<KubeEvent>>,
}

impl EventGroups {
    /// Rebuilds the groups if the events have changed.
    pub fn refresh(&mut self, events: &Table<KubeEvent>) {
        if self.of.as_ref().is_some_and(|of| of.same_rows(events)) {
            return;
        }
        self.of = Some(events.clone());
        self.list.clear();
        let mut places: HashMap<(&Name, &Kind, &Name, &Name), usize> = HashMap::new();
        for event in events.iter() {
            let about = &event.about;
            let at = *places
                .entry((&event.namespace, &about.kind, &about.name, &event.reason))
                .or_insert_with(|| {
                    self.list.push(EventGroup::new(event));
                    self.list.len() - 1
                });
            if let Some(group) = self.list.get_mut(at) {
                group.add(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_core::facts::table::Rows;

    use super::*;

    fn event(n: u32, name: &str, reason: &str, count: u32, secs: i64) -> KubeEvent {
        KubeEvent {
            uid: Uid::Uuid(u128::from(n)),
            version: pilothouse_core::domain::id::Version(1),
            namespace: "shop".into(),
            name: format!("{name}.{n}").as_str().into(),
            about: InvolvedObject {
                kind: Kind::Pod,
                namespace: "shop".into(),
                name: name.into(),
                uid: Uid::default(),
            },
            warning: reason == "BackOff",
            reason: reason.into(),
            message: format!("{reason} {n}").as_str().into(),
            count,
            first: Some(Stamp::from_secs(secs - 60)),
            last: Some(Stamp::from_secs(secs)),
            component: "kubelet".into(),
        }
    }

    #[test]
    fn events_of_one_object_and_reason_are_one_row() {
        let mut rows = Rows::default();
        for event in [
            event(1, "cart-1", "BackOff", 7, 100),
            event(2, "cart-1", "BackOff", 0, 300),
            event(3, "cart-1", "Pulled", 1, 50),
            event(4, "cart-2", "BackOff", 2, 90),
        ] {
            rows.upsert(event);
        }
        let mut groups = EventGroups::default();
        groups.refresh(rows.table());
        assert_eq!(groups.list.len(), 3);
        let group = groups.list.iter().find(|g| g.about.name == "cart-1" && g.reason == "BackOff").unwrap();
        assert_eq!((group.count, group.warning), (8, true), "an event without a count has happened once");
        assert_eq!(group.first, Some(Stamp::from_secs(40)), "of the oldest one");
        assert_eq!((group.last, &*group.message), (Some(Stamp::from_secs(300)), "BackOff 2"));
        let keys: std::collections::HashSet<Uid> = groups.list.iter().map(EventGroup::key).collect();
        assert_eq!(keys.len(), 3);
        rows.upsert(KubeEvent {
            version: pilothouse_core::domain::id::Version(2),
            count: 9,
            ..event(4, "cart-2", "BackOff", 2, 95)
        });
        groups.refresh(rows.table());
        assert_eq!(groups.list.iter().map(|g| g.count).max(), Some(9), "they follow the table");
    }
}
