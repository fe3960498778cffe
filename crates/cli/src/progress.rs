//! Progress bars, shown on standard error if it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows a spinner for work of unknown progress.
pub(crate) fn spin(doing: &'static str) -> ProgressBar {
    show(ProgressBar::new_spinner(), doing, "{spinner} {msg}")
}

/// Shows a counter, in `units`, for work of unknown size.
pub(crate) fn count(doing: &'static str, units: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    show(
        bar,
        doing,
        &format!("{{spinner}} {{msg}}: {{human_pos}} {units}"),
    )
}

/// Shows a progress bar for a number of items.
pub(crate) fn items(doing: &'static str, total: u64) -> ProgressBar {
    let template = "{msg} {wide_bar} {human_pos}/{human_len}, {eta} left";
    show(ProgressBar::new(total), doing, template)
}

/// Shows a progress bar for a number of bytes.
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
