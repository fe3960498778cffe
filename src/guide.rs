//! Guides to common tasks.
//!
//! They are the files in `docs` of the repository.

/// Links a picture of a guide to where docs.rs serves it. In the repository, the path at the end of
/// the guide applies. Markdown uses the first of two definitions of a link.
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

#[doc = picture!("latency.svg")]
#[doc = include_str!("../docs/measure.md")]
pub mod measure {}

#[doc = include_str!("../docs/threat-model.md")]
pub mod threat_model {}
