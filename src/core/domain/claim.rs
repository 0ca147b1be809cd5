//! PersistentVolumeClaims: whether a pod that mounts one can have its volume.

use serde::{Deserialize, Serialize};

use super::id::{Name, Uid, Version};
use super::row::{object, row};
use super::time::Stamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimPhase {
    /// No volume is bound to it yet.
    Pending,
    Bound,
    /// The volume that was bound to it does not exist any more.
    Lost,
    #[default]
    Unknown,
}

impl ClaimPhase {
    pub fn parse(text: &str) -> Self {
        match text {
            // the API server defaults it
            "" | "Pending" => Self::Pending,
            "Bound" => Self::Bound,
            "Lost" => Self::Lost,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub uid: Uid,
    pub version: Version,
    pub namespace: Name,
    pub name: Name,
    pub created: Stamp,
    pub phase: ClaimPhase,
    /// `spec.storageClassName`; None = none is named.
    pub class: Option<Name>,
    /// `spec.volumeName`: the PersistentVolume that it is bound to, or asks for.
    pub volume: Option<Name>,
}
row!(Claim);
object!(Claim, PersistentVolumeClaim);
