//! Serves a simulated cluster until it is killed: `cargo run -p pilothouse-sim --example serve -- KUBECONFIG [PORT]`
//! writes a kubeconfig to the file and listens on loopback.

use std::io;
use std::path::Path;

use pilothouse_sim::scenario::Scenario;
use pilothouse_sim::server::{Options, Sim};

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or_else(|| io::Error::other("say where to write the kubeconfig"))?;
    let port = args.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let scenario = Scenario::load("incident").map_err(io::Error::other)?;
    let running = Sim::start(Options { port, ..Options::new(scenario) }).await?;
    running.write_kubeconfig(Path::new(&file), "admin")?;
    std::future::pending().await
}
