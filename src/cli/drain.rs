//! kubectl drain's flags.

use clap::Args;
use pilothouse_core::domain::plan::DrainOptions;

use super::number;

/// kubectl drain's flags under their own names.
#[derive(Args, Clone, Debug)]
pub struct DrainFlags {
    /// Also evict pods that have no controller; nothing recreates them
    #[arg(long)]
    pub force: bool,
    /// Ignore DaemonSet-managed pods instead of refusing the drain
    #[arg(long)]
    pub ignore_daemonsets: bool,
    /// Also evict pods with emptyDir volumes; their local data is lost
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// Delete the pods instead of evicting them, which bypasses PodDisruptionBudgets
    #[arg(long)]
    pub disable_eviction: bool,
    /// Seconds that each pod gets to terminate; -1: the pod's own grace period
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS", value_parser = number::<i64>)]
    pub grace_period: i64,
    /// Give up after this time; 0: never
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = duration)]
    pub timeout: std::time::Duration,
    /// Do not wait for pods that were deleted more than this many seconds ago
    #[arg(long, default_value_t = 0, value_name = "SECONDS", value_parser = number::<u64>)]
    pub skip_wait_for_delete_timeout: u64,
    /// Evict only pods that match this label selector
    #[arg(long, value_name = "SELECTOR")]
    pub pod_selector: Option<String>,
    /// Maximum number of nodes that are drained at the same time
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one)]
    pub nodes_at_once: u16,
    /// Maximum number of a node's pods that are evicted at the same time; 0: no limit
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = number::<u16>)]
    pub pods_at_once: u16,
}

fn at_least_one(text: &str) -> Result<u16, String> {
    number(text).and_then(|n: u16| if n == 0 { Err("at least 1".into()) } else { Ok(n) })
}

/// Parses a duration. As in Go, `0` needs no unit.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    if text == "0" {
        return Ok(std::time::Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|e| e.to_string())
}

impl From<DrainFlags> for DrainOptions {
    fn from(flags: DrainFlags) -> Self {
        Self {
            force: flags.force,
            ignore_daemonsets: flags.ignore_daemonsets,
            delete_emptydir_data: flags.delete_emptydir_data,
            disable_eviction: flags.disable_eviction,
            grace_period: flags.grace_period,
            timeout: flags.timeout.as_secs(),
            skip_wait_for_delete_timeout: flags.skip_wait_for_delete_timeout,
            pod_selector: flags.pod_selector,
            nodes_at_once: flags.nodes_at_once,
            pods_at_once: flags.pods_at_once,
        }
    }
}
