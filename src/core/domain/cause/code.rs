//! The codes of findings. Silences, `why --output json`, `snapshot` and the README use these names.

use std::fmt;

/// One code for each kind of finding, in the order of their names.
macro_rules! codes {
    ($($code:ident $name:literal)*) => {
        /// What kind of finding it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingCode {
            $($code,)*
        }

        impl FindingCode {
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// Returns its name: `node-not-ready`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    AlertFiring "alert-firing"
    BadConfig "bad-config"
    CanaryWorse "canary-worse"
    CrashLoop "crash-loop"
    CronJobMissed "cronjob-missed"
    ErrorsSinceRollout "errors-since-rollout"
    Evicted "evicted"
    HpaAtLimit "hpa-at-limit"
    HpaFailing "hpa-failing"
    ImagePull "image-pull"
    JobFailed "job-failed"
    NoReadyEndpoints "no-ready-endpoints"
    NodeNotReady "node-not-ready"
    NodePressure "node-pressure"
    NodeSuspect "node-suspect"
    NotCreated "not-created"
    NotReady "not-ready"
    NotStarting "not-starting"
    OomKilled "oom-killed"
    OutOfRotation "out-of-rotation"
    PdbBlocks "pdb-blocks"
    PodFailed "pod-failed"
    RolloutStuck "rollout-stuck"
    RolloutWaits "rollout-waits"
    ServiceErrors "service-errors"
    ServiceSlow "service-slow"
    SloBurn "slo-burn"
    Source "source"
    Terminating "terminating"
    TrafficUneven "traffic-uneven"
    Unschedulable "unschedulable"
    VolumeNotBound "volume-not-bound"
}

impl FindingCode {
    /// Returns true if the finding is about the pods of a workload.
    pub fn is_of_pods(self) -> bool {
        matches!(
            self,
            Self::BadConfig
                | Self::CrashLoop
                | Self::ImagePull
                | Self::NotCreated
                | Self::NotReady
                | Self::NotStarting
                | Self::OomKilled
                | Self::Unschedulable
                | Self::VolumeNotBound
        )
    }

    /// Returns true if the finding is about a rollout that waits for its pods.
    pub fn is_of_a_rollout(self) -> bool {
        matches!(self, Self::RolloutStuck | Self::RolloutWaits)
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_codes_is_that_of_their_names() {
        assert!(FindingCode::ALL.is_sorted_by(|a, b| a < b && a.as_str() < b.as_str()));
    }
}
