//! The action that a finding suggests: a command of the console and its object.

use std::fmt;

use crate::domain::id::{Name, ObjectRef};

/// A command of the console that a finding can suggest. The table of commands has the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuggestedCommand {
    Bounds,
    Cordon,
    OutOfService,
    Restart,
    Rollback,
    Rotation,
    Weight,
}

impl SuggestedCommand {
    pub const ALL: [Self; 7] = [
        Self::Bounds,
        Self::Cordon,
        Self::OutOfService,
        Self::Restart,
        Self::Rollback,
        Self::Rotation,
        Self::Weight,
    ];

    /// Returns its id in the table of commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bounds => "bounds",
            Self::Cordon => "cordon",
            Self::OutOfService => "out-of-service",
            Self::Restart => "restart",
            Self::Rollback => "rollback",
            Self::Rotation => "rotation",
            Self::Weight => "weight",
        }
    }
}

/// The suggested action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remediation {
    Bounds,
    Cordon,
    OutOfService {
        /// The zone, if the action is for all of its nodes.
        zone: Option<Name>,
    },
    Restart,
    RollBack,
    OutOfRotation {
        service: Name,
    },
    IntoRotation {
        pods: usize,
    },
    /// Changes the weights of the route that splits the Service's requests.
    ShiftWeight,
}

impl Remediation {
    /// Returns the command that runs the action.
    pub fn command(&self) -> SuggestedCommand {
        match self {
            Self::Bounds => SuggestedCommand::Bounds,
            Self::Cordon => SuggestedCommand::Cordon,
            Self::OutOfService { .. } => SuggestedCommand::OutOfService,
            Self::Restart => SuggestedCommand::Restart,
            Self::RollBack => SuggestedCommand::Rollback,
            Self::OutOfRotation { .. } | Self::IntoRotation { .. } => SuggestedCommand::Rotation,
            Self::ShiftWeight => SuggestedCommand::Weight,
        }
    }
}

/// The action that the key in a NOW line opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub what: Remediation,
    pub on: ObjectRef,
}

impl Suggestion {
    pub fn command(&self) -> SuggestedCommand {
        self.what.command()
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.on.name;
        match &self.what {
            Remediation::Bounds => write!(f, "bounds of {name}"),
            Remediation::Cordon => write!(f, "cordon {name}"),
            Remediation::OutOfService { zone: None } => {
                write!(f, "take {name} out of service, if its machine is really off")
            }
            Remediation::OutOfService { zone: Some(zone) } => {
                write!(f, "take the nodes of {zone} out of service, if their machines are really off")
            }
            Remediation::Restart => write!(f, "restart {name}"),
            Remediation::RollBack => write!(f, "roll back {name}"),
            Remediation::OutOfRotation { service } => write!(f, "take {name} out of {service}"),
            Remediation::ShiftWeight => write!(f, "shift the weights of {name}"),
            Remediation::IntoRotation { pods } => {
                f.write_str("put ")?;
                match pods {
                    1 => write!(f, "{name}")?,
                    n => write!(f, "{n} pods")?,
                }
                f.write_str(" back into rotation (or delete it, when it is not needed any more)")
            }
        }
    }
}
