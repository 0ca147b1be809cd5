//! Reads kinds that were written, also by older versions.

use serde::Deserialize;

use super::Kind;
use crate::domain::id::Name;

impl<'de> Deserialize<'de> for Kind {
    /// Also reads the format of older versions, which knew fewer kinds by name.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(String),
            Other {
                #[serde(rename = "Other")]
                name: Name,
            },
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Name(name) => Self::parse(&name),
            Written::Other { name } => match Self::parse(&name) {
                kind @ (Self::HTTPRoute | Self::VirtualService | Self::TraefikService) => kind,
                _ => Self::Other(name),
            },
        })
    }
}
