//! The flags of `get`.

use clap::Args;

use super::Look;

/// What is listed, and how.
#[derive(Args, Clone, Debug)]
pub struct GetFlags {
    /// A pane (nodes, traffic, errors, autoscalers, workloads, pods, events, changes, ...), or a kind that one lists (deploy, svc, hpa)
    pub kind: String,
    #[command(flatten)]
    pub look: Look,
}
