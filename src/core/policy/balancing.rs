//! How the requests of a service are distributed: the balancing policy, and where it was read.

use crate::domain::traffic::{Balancing, Origin, ServiceTraffic};

/// Returns the policy of a service. The one that the source of its metrics knows counts.
pub fn of(traffic: &ServiceTraffic) -> Balancing {
    let known = traffic.origin != Origin::Assumed;
    Balancing {
        policy: traffic.policy,
        origin: traffic.origin,
        read_from: if known { traffic.preset.clone() } else { Default::default() },
        ..Balancing::default()
    }
}
