//! The flags of the simulated cluster.

use std::path::PathBuf;

use clap::Args;

/// `--demo` and the options of the simulated cluster.
#[derive(Args, Clone, Debug, Default)]
pub struct DemoFlags {
    /// Start a simulated cluster in this process and open it (fleet: two of them, eu-1 and eu-2); `pilothouse sim --list` lists the scenarios
    #[arg(long, global = true, value_name = "SCENARIO", num_args = 0..=1, default_missing_value = "incident",
        conflicts_with = "kubeconfig", help_heading = SIMULATED)]
    pub demo: Option<String>,
    /// Seed of the simulated cluster's names and random numbers; the same seed gives the same incident
    #[arg(long, global = true, value_name = "N", default_value_t = 1, value_parser = crate::cli::number::<u64>,
        help_heading = SIMULATED)]
    pub seed: u64,
    /// Multiply the scenario's nodes and workloads, 1 to 200 (the command `scale` changes replicas)
    #[arg(long, global = true, value_name = "TIMES", default_value_t = 1, value_parser = times, help_heading = SIMULATED)]
    pub scale: u32,
}

const SIMULATED: &str = "The simulated cluster";

fn times(text: &str) -> Result<u32, String> {
    let times = crate::cli::number(text)?;
    if (1..=200).contains(&times) { Ok(times) } else { Err("from 1 to 200".into()) }
}

/// `pilothouse sim`.
#[derive(Args, Clone, Debug)]
pub struct SimFlags {
    /// Name of a scenario, or the path of a .toml file
    #[arg(long, value_name = "S", default_value = "incident")]
    pub scenario: String,
    /// Port on 127.0.0.1; 0: any free port. Each further cluster of a fleet has the next one
    #[arg(long, value_name = "P", default_value_t = 0, value_parser = crate::cli::number::<u16>)]
    pub port: u16,
    /// Write the administrator's kubeconfig to this file instead of standard output
    #[arg(long, value_name = "F")]
    pub kubeconfig_out: Option<PathBuf>,
    /// Simulated seconds per second; keep 1 for the console, which uses the real clock
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub factor: f64,
    /// Write a kubeconfig for each user (admin, operator, drainer, viewer, nobody) into this folder
    #[arg(long, value_name = "DIR")]
    pub people: Option<PathBuf>,
    /// Write an audit log, in the API server's format, to this file (F.NAME for each cluster of a fleet)
    #[arg(long, value_name = "F")]
    pub audit_out: Option<PathBuf>,
    /// List the scenarios and exit
    #[arg(long)]
    pub list: bool,
}
