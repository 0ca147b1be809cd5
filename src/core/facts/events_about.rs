//! What Events say about an object: the warnings, and the pulls of images, by the object's uid.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::event::KubeEvent;
use crate::domain::id::Uid;
use crate::domain::time::Stamp;

use crate::facts::reduce::Delta;

/// The kubelet began to pull an image: the one normal event that explains why a pod does not start.
pub const PULLING: &str = "Pulling";

/// The events that explain something, by the object that they are about, so that finding one needs no walk over all of them.
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
            && (new.warning || new.reason == PULLING)
        {
            self.about.entry(new.about.uid.clone()).or_default().push(new.clone());
        }
    }

    /// The newest warning about an object that was seen at `since` or later.
    pub fn warning(&self, uid: &Uid, since: Stamp) -> Option<&KubeEvent> {
        self.newest(uid, since, |event| event.warning)
    }

    /// The newest event about an object that `wanted` picks.
    pub fn newest(&self, uid: &Uid, since: Stamp, wanted: impl Fn(&KubeEvent) -> bool) -> Option<&KubeEvent> {
        let events = self.about.get(uid)?.iter().map(AsRef::as_ref);
        events.filter(|e| e.last >= Some(since) && wanted(e)).max_by_key(|e| e.last)
    }
}
