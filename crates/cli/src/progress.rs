//! How far long work has come: on standard error, where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Work of which nothing is known but that it goes on.
pub(crate) fn spin(doing: &'static str) -> ProgressBar {
    show(ProgressBar::new_spinner(), doing, "{spinner} {msg}")
}

/// Work whose end is not known: how much is done, in `units`.
pub(crate) fn count(doing: &'static str, units: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    show(
        bar,
        doing,
        &format!("{{spinner}} {{msg}}: {{human_pos}} {units}"),
    )
}

/// Work on a number of things.
pub(crate) fn share(doing: &'static str, total: u64) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left";
    show(ProgressBar::new(total), doing, template)
}

/// Work on a number of bytes.
pub(crate) fn bytes(doing: &'static str, total: u64) -> ProgressBar {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left";
    show(ProgressBar::new(total), doing, template)
}

fn show(bar: ProgressBar, doing: &'static str, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(doing);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
