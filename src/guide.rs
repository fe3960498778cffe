//! Guides.

#[doc = include_str!("../docs/embed.md")]
pub mod embed {}

#[doc = include_str!("../docs/custom-store.md")]
pub mod custom_store {}

#[doc = include_str!("../docs/rotation.md")]
pub mod rotation {}

#[cfg(all(feature = "admin", feature = "postgres", feature = "transfer"))]
#[doc = include_str!("../docs/fleet.md")]
pub mod fleet {}

#[cfg(feature = "admin")]
#[doc = include_str!("../docs/manage.md")]
pub mod manage {}

#[cfg(all(feature = "admin", feature = "transfer"))]
#[doc = include_str!("../docs/command-line.md")]
pub mod command_line {}

#[doc = include_str!("../docs/measure.md")]
pub mod measure {}

#[doc = include_str!("../docs/threat-model.md")]
pub mod threat_model {}
