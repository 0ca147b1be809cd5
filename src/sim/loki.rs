//! The Loki of the simulated cluster. It reads the same log book as the API server, by the labels of pods.
//!
//! [`logql`] reads queries, `http` serves them, `tail` follows lines over websockets.

mod http;
pub mod logql;
mod tail;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

pub use http::router;

use crate::clock::Clock;
use crate::logs::Notebook;
use crate::prom::tsdb::Labels;
use crate::traffic::{Pod, SharedField};
use logql::{Metric, Selector};

/// The data that Loki reads. Clones share it.
#[derive(Debug, Clone)]
pub struct Loki {
    pub field: SharedField,
    pub logs: Arc<Notebook>,
    pub clock: Arc<Clock>,
}

/// One line of a stream.
#[derive(Debug, Clone)]
pub struct Found {
    pub stream: Arc<Labels>,
    pub at: DateTime<Utc>,
    pub text: Bytes,
}

impl Loki {
    fn labels(pod: &Pod, container: &Arc<str>) -> Labels {
        let mut labels = Labels::new();
        for (name, value) in [
            ("namespace", &pod.namespace),
            ("app", &pod.app),
            ("pod", &pod.name),
            ("container", container),
            ("node_name", &pod.node),
        ] {
            labels.insert(name, value.clone());
        }
        labels.insert("job", format!("{}/{}", pod.namespace, pod.app));
        labels
    }

    /// Every stream with the pod's uid and the container's name.
    fn streams(&self) -> Vec<(Arc<Labels>, Arc<str>, Arc<str>)> {
        let field = self.field.read();
        let mut out = Vec::new();
        for pod in field.live() {
            for container in self.logs.containers(&pod.uid) {
                out.push((Arc::new(Self::labels(pod, &container)), pod.uid.clone(), container));
            }
        }
        out
    }

    /// The lines in `[from, until)` that a selector matches, in order of time.
    pub fn select(&self, selector: &Selector, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Found> {
        let mut out = Vec::new();
        for (stream, pod, container) in self.streams() {
            if !selector.means(&stream) {
                continue;
            }
            for line in self.logs.written(&pod, &container, from, until) {
                if selector.passes(&String::from_utf8_lossy(&line.text)) {
                    out.push(Found { stream: stream.clone(), at: line.at, text: line.text });
                }
            }
        }
        out.sort_by_key(|found| found.at);
        out
    }

    /// The values of a metric query at one time.
    fn measure(&self, metric: &Metric, at: DateTime<Utc>) -> BTreeMap<Labels, f64> {
        let mut out: BTreeMap<Labels, f64> = BTreeMap::new();
        for found in self.select(&metric.selector, at - metric.range, at) {
            let key = match &metric.by {
                None => found.stream.as_ref().clone(),
                Some(by) => by
                    .iter()
                    .filter_map(|name| Some((name.as_str(), found.stream.get(name)?.clone())))
                    .collect(),
            };
            *out.entry(key).or_default() += 1.0;
        }
        if metric.rate {
            let seconds = metric.range.num_milliseconds() as f64 / 1000.0;
            for value in out.values_mut() {
                *value /= seconds;
            }
        }
        out
    }
}
