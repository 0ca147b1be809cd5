//! Pilothouse: see the library's page for the architecture.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pilothouse::bootstrap::run())
}
