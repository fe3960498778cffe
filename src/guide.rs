//! Guides to embedding, stores, rotation, fleets, management, the command line, operating the server and measuring, and the
//! threat model.
//!
//! The repository contains the same guides in `docs`.

/// Defines the link to a picture as its address on docs.rs. The guide itself defines it as a path in the
/// repository. Markdown uses the first of two definitions, so this one applies in rustdoc.
macro_rules! picture {
    ($file:literal) => {
        concat!(
            "[",
            $file,
            "]: https://docs.rs/crate/tower-api-tokens/",
            env!("CARGO_PKG_VERSION"),
            "/source/docs/images/",
            $file,
            "\n"
        )
    };
}

#[doc = include_str!("../docs/embed.md")]
pub mod embed {}

#[doc = include_str!("../docs/custom-store.md")]
pub mod custom_store {}

#[doc = include_str!("../docs/rotation.md")]
pub mod rotation {}

#[cfg(feature = "transfer")]
#[doc = include_str!("../docs/fleet.md")]
pub mod fleet {}

#[doc = picture!("tokens.png")]
#[doc = picture!("created.png")]
#[doc = picture!("rotated.png")]
#[doc = include_str!("../docs/manage.md")]
pub mod manage {}

#[cfg(feature = "transfer")]
#[doc = include_str!("../docs/command-line.md")]
pub mod command_line {}

#[doc = include_str!("../docs/operate.md")]
pub mod operate {}

#[doc = picture!("latency.svg")]
#[doc = include_str!("../docs/measure.md")]
pub mod measure {}

#[doc = include_str!("../docs/threat-model.md")]
pub mod threat_model {}
