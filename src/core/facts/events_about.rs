//! Events by the UID of the object that they are about: warnings, and the pulls of images.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::event::KubeEvent;
use crate::domain::id::Uid;
use crate::domain::time::Stamp;

use crate::facts::reduce::Delta;

/// The kubelet started to pull an image. It is the only normal event that explains why a pod does not start.
pub const PULLING: &str = "Pulling";
/// The kind of a claim to a volume: what it waits for is said by normal events as well.
const CLAIM: &str = "PersistentVolumeClaim";

/// The events that explain a problem, by their object's UID, so that a lookup does not have to scan all events.
#[derive(Default)]
pub struct EventsAbout {
    about: HashMap<Uid, Vec<Arc<KubeEvent>>>,
}

impl EventsAbout {
    pub fn event(&mut self, delta: &Delta<KubeEvent>) {
        if let Some(old) = &delta.old
            && let Some(held) = self.about.get_mut(&old.about.uid)
        {
            held.retain(|event| event.uid != old.uid);
            if held.is_empty() {
                self.about.remove(&old.about.uid);
            }
        }
        if let Some(new) = &delta.new
            && (new.warning || new.reason == PULLING || new.about.kind.as_str() == CLAIM)
        {
            self.about.entry(new.about.uid.clone()).or_default().push(new.clone());
        }
    }

    /// All that is kept about an object, in no order.
    pub fn about(&self, uid: &Uid) -> impl Iterator<Item = &KubeEvent> {
        self.about.get(uid).into_iter().flatten().map(AsRef::as_ref)
    }

    /// The newest warning about an object that was seen at `since` or later.
    pub fn warning(&self, uid: &Uid, since: Stamp) -> Option<&KubeEvent> {
        self.newest(uid, since, |event| event.warning)
    }

    /// The newest event about an object that `wanted` accepts.
    pub fn newest(&self, uid: &Uid, since: Stamp, wanted: impl Fn(&KubeEvent) -> bool) -> Option<&KubeEvent> {
        let events = self.about.get(uid)?.iter().map(AsRef::as_ref);
        events.filter(|e| e.last >= Some(since) && wanted(e)).max_by_key(|e| e.last)
    }
}
