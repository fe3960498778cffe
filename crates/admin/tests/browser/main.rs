//! The dashboard in a real browser: Chromium, driven through WebDriver.
//!
//! `chromedriver` and `chromium` must be on the `PATH`. `TEST_CHROMEDRIVER` sets another driver.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where what it relies on fails"
)]

mod brand;
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

/// Lists tests with their names.
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
        lifecycle::a_token_is_copied_without_the_clipboard_api,
        lifecycle::an_invalid_form_keeps_its_values,
        lifecycle::hostile_names_are_shown_as_text,
        reveal::a_reload_shows_the_tokens_page_and_creates_nothing,
        reveal::going_back_and_forth_shows_no_token_again,
        reveal::without_scripts_a_reload_neither_shows_nor_creates_a_token,
        reveal::without_scripts_going_back_shows_no_token_again,
        looks::the_copied_state_has_enough_contrast,
        looks::forced_colors_show_the_selected_option,
        looks::no_word_is_split_at_any_width,
        looks::exact_and_local_times_appear_on_focus_and_tap,
        looks::identifiers_are_copied,
        looks::an_invalid_form_gets_the_focus_and_leaves_no_history,
        lifecycle::signing_out_makes_the_browser_discard_its_credentials,
        looks::many_apps_are_searched_with_the_keyboard,
        keyboard::a_token_is_created_with_only_the_keyboard,
        keyboard::scopes_are_chosen_with_only_the_keyboard,
        keyboard::tokens_are_filtered_and_sorted_with_only_the_keyboard,
        keyboard::a_token_is_found_by_its_text_without_being_shown,
        brand::a_browser_logs_in_and_out_with_the_pages_of_the_host,
        brand::colors_and_logo_of_the_host_are_shown_in_both_schemes,
        screens::every_screen_is_saved_as_a_screenshot,
    ];
    services::run("chromedriver and chromium", browser::is_installed(), tests)
}
