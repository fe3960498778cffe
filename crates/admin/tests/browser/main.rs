//! The dashboard in a real browser: Chromium, driven through WebDriver.
//!
//! `chromedriver` and `chromium` have to be on the `PATH`; `TEST_CHROMEDRIVER` names another driver.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where what it relies on fails"
)]

mod browser;
mod keyboard;
mod lifecycle;
mod looks;
mod reveal;
mod screens;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod site;

use std::process::ExitCode;

use futures_util::FutureExt;

use services::Test;

/// The tests of a module, by their names.
macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$((
            concat!(stringify!($module), "::", stringify!($test)),
            (|| $module::$test().boxed()) as fn() -> _,
        )),*]
    };
}

fn main() -> ExitCode {
    let tests: Vec<Test> = tests![
        lifecycle::a_token_is_created_copied_used_rotated_and_revoked,
        lifecycle::a_token_is_copied_where_there_is_no_clipboard_api,
        lifecycle::a_mistake_in_the_form_loses_nothing,
        lifecycle::hostile_names_are_shown_as_text,
        reveal::a_reload_shows_the_tokens_page_and_makes_nothing,
        reveal::going_back_and_forth_shows_no_token_again,
        reveal::without_scripts_a_reload_neither_shows_nor_makes_a_token,
        reveal::without_scripts_going_back_shows_no_token_again,
        looks::what_was_copied_can_be_read,
        looks::forced_colors_show_what_is_chosen,
        looks::no_width_splits_a_word,
        looks::exact_and_local_times_come_with_the_focus_and_a_tap,
        looks::a_refused_form_has_the_focus_and_leaves_no_history,
        lifecycle::a_browser_drops_the_password_on_signing_out,
        looks::the_keyboard_searches_among_many_apps,
        keyboard::a_token_is_created_with_the_keyboard_alone,
        screens::each_screen_is_kept_as_a_picture,
    ];
    services::run("chromedriver and chromium", browser::is_installed(), tests)
}
