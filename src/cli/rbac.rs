//! The flags of `pilothouse rbac`.

use clap::{Args, ValueEnum};

/// The two roles that can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Can read everything that the screen shows, and change nothing
    Viewer,
    /// Can run every action
    Operator,
}

#[derive(Args, Clone, Debug)]
pub struct RbacFlags {
    /// The role to print
    #[arg(value_enum, required_unless_present = "markdown")]
    pub role: Option<Role>,
    /// Print the README's table
    #[arg(long, conflicts_with = "role")]
    pub markdown: bool,
}
