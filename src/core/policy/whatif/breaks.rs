//! What goes beyond a limit after a change.

use super::model::Model;
use super::{Break, Predicted};

/// From this utilisation of the CPU limit on, requests wait noticeably: at 0.8, a request takes five times as long as on
/// an idle backend (M/M/1: 1 / (1 - utilisation)).
const SLOW: f64 = 0.8;
/// A backend that gets a little more than the most ever seen is not worth a line.
const MORE: f64 = 1.05;

/// Returns what goes beyond a limit, the worst first. Of several backends, the one that does so the most is named.
pub(super) fn breaks(model: &Model, backends: &[Predicted], most_rps: Option<f64>) -> Vec<Break> {
    if model.members.iter().all(|m| m.gone) {
        return vec![Break::NoBackend];
    }
    let most = |of: fn(&Predicted) -> Option<f64>| {
        let known = backends.iter().filter_map(|p| Some((p, of(p)?)));
        known.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(p, times)| (p.name.clone(), times))
    };
    let mut breaks: Vec<Break> =
        model.empty_parts().into_iter().map(|(part, share)| Break::EmptyPart { part, share }).collect();
    if let Some((backend, times)) = most(|p| p.of_limit) {
        if times >= 1.0 {
            breaks.push(Break::OverLimit { backend, times });
        } else if times >= SLOW {
            breaks.push(Break::Slow { backend, utilisation: times, slower: 1.0 / (1.0 - times) });
        }
    }
    if let Some((backend, times)) = most(|p| p.of_request).filter(|(_, times)| *times > 1.0) {
        breaks.push(Break::OverRequest { backend, times });
    }
    if let Some((backend, times)) = most(|p| p.of_most).filter(|(_, times)| *times >= MORE)
        && let Some(most_rps) = most_rps
    {
        breaks.push(Break::OverMost { backend, times, most_rps });
    }
    breaks
}
