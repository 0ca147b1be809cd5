//! The flags of `pilothouse rbac`.

use clap::{Args, ValueEnum};

/// Whom a role is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Sees everything, changes nothing
    Viewer,
    /// Does everything that has a key
    Operator,
}

#[derive(Args, Clone, Debug)]
pub struct RbacFlags {
    /// For whom
    #[arg(value_enum, required_unless_present = "markdown")]
    pub role: Option<Role>,
    /// As the README's table
    #[arg(long, conflicts_with = "role")]
    pub markdown: bool,
}
