//! The contracts of [`TokenRegistry`] and [`TokenStore`](crate::TokenStore) as tests for any store.
//!
//! Each check is a function that takes an empty registry, and panics if the rule that it is named
//! after does not hold. [`registry_conformance!`](crate::registry_conformance) creates a
//! `#[tokio::test]` for each of them.
//!
//! # Examples
//!
//! ```
//! mod conformance {
//!     use tower_api_tokens::MemoryStore;
//!
//!     /// An empty store, and whatever has to live as long: a temporary directory, a container.
//!     async fn fresh() -> (MemoryStore, ()) {
//!         (MemoryStore::new(), ())
//!     }
//!
//!     tower_api_tokens::registry_conformance!(fresh());
//! }
//! ```
//!
//! Check a store that only has `find` with [`verifies`].
//!
//! The checks require a Tokio runtime. Those that test races are more thorough on a runtime with
//! several threads.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a check panics when a rule is broken"
)]

mod audit;
mod cancellation;
mod changes;
mod edits;
mod events;
mod fixtures;
mod insertion;
mod issuing;
mod limits;
mod listing;
mod lookup;
mod maintenance;
mod nodes;
mod policy;
mod repetition;
mod results;
mod revocation;
mod rotation;
mod selection;
mod verification;

use std::sync::Arc;

pub use audit::{
    a_refused_change_leaves_no_event, a_refused_event_leaves_no_change,
    events_are_listed_by_app_and_token, events_survive_unchanged,
    the_event_of_a_change_is_recorded,
};
pub use cancellation::a_dropped_call_leaves_before_or_after;
pub use changes::{
    a_log_recognizes_an_unrelated_revision, all_live_tokens_are_listed,
    changes_are_numbered_without_gaps, changes_come_in_pages, clearing_caches_restarts_the_log,
    usage_adds_up_and_never_goes_back,
};
pub use edits::{
    a_suspended_token_is_refused_until_it_is_resumed, a_version_is_the_same_however_it_was_read,
    an_app_with_live_tokens_is_not_deleted, an_edit_is_checked_against_the_current_token,
    an_edit_of_a_token_takes_effect_immediately, an_edit_of_an_app_takes_effect_immediately,
    an_edit_of_another_version_is_refused, listings_judge_restrictions,
    metadata_survives_in_every_language, racing_edits_are_all_applied,
    the_event_of_an_edit_has_old_and_new_values,
};
pub use events::{
    a_position_of_another_log_is_gone, an_event_that_exists_is_not_appended_again,
    events_are_numbered_in_their_order, events_of_an_app_show_no_others,
    expiring_tokens_are_listed_by_their_expiry, racing_events_have_one_order,
};
pub use insertion::{
    a_batch_is_inserted_all_or_nothing, an_app_is_inserted_once, an_insert_needs_its_app,
    an_insert_never_replaces, every_field_survives, names_survive_or_are_refused,
    racing_inserts_have_one_winner,
};
pub use issuing::{
    a_successor_inherits_from_its_token, a_token_gets_the_default_expiry,
    a_token_of_another_format_is_not_replaced, a_token_that_is_refused_is_not_issued,
    an_event_about_a_token_gets_its_app, an_issued_token_has_its_app_as_it_is,
};
pub use limits::{a_limited_actor_reaches_one_app, a_read_only_actor_changes_nothing};
pub use listing::{
    a_predecessor_is_found_by_its_successor, a_search_of_apps_takes_its_text_literally,
    a_search_takes_its_text_literally, app_pages_are_complete, status_filters_agree_with_the_query,
    token_pages_are_complete, token_pages_are_stable_under_changes,
};
pub use lookup::{a_lookup_ignores_expiry, a_missing_token_is_not_an_error};
pub use maintenance::{
    a_count_agrees_with_the_listing, many_tokens_are_revoked_in_one_change,
    old_idempotency_keys_are_removed, the_latest_events_up_to_a_maximum_are_kept,
    the_oldest_events_are_removed,
};
pub use nodes::{
    a_node_is_listed_as_it_last_reported, a_node_is_removed_with_its_event,
    a_revision_that_the_log_lacks_counts_as_not_applied, node_pages_are_complete,
    the_lag_is_that_of_the_node_furthest_behind, the_settings_of_the_fleet_are_kept,
    the_settings_of_the_fleet_are_set_with_their_event,
};
pub use policy::{
    a_policy_is_set_over_the_version_that_was_read, racing_inserts_keep_names_unique,
    racing_inserts_keep_the_maximum_of_live_tokens, tokens_keep_the_policy,
};
pub use repetition::{
    a_failed_request_leaves_its_key, a_key_is_for_creation_alone, a_key_is_recognized_for_a_day,
    a_new_key_is_refused_while_there_are_too_many, a_repeated_insert_makes_one_token,
    a_repeated_rotation_makes_one_successor, racing_keys_keep_their_maximum,
    racing_repetitions_make_one_token,
};
pub use results::{a_change_returns_its_revision, a_change_returns_what_is_read_afterwards};
pub use revocation::{
    a_purge_removes_only_expired_and_revoked_tokens,
    a_revocation_elsewhere_is_applied_when_repeated, a_revocation_is_visible_when_it_returns,
    disabling_takes_effect_immediately, renaming_changes_one_name, revoked_is_terminal,
    revoking_changes_one_record,
};
pub use rotation::{
    a_failed_rotation_changes_nothing, a_rotation_is_atomic, an_overlap_never_extends_a_token,
    racing_rotations_have_one_winner, restrictions_are_kept_and_inherited,
    rotation_and_revocation_race, tokens_of_other_apps_are_not_found,
};
pub use selection::{
    a_cursor_of_another_order_selects_no_token, combined_filters_agree_with_the_query,
    every_filter_agrees_with_the_query, listings_follow_uses_and_rotations,
    pages_are_complete_in_every_order,
};
pub use verification::{SampleTokens, verifies};

use crate::TokenRegistry;

/// A registry, as the checks take it.
pub type Registry = Arc<dyn TokenRegistry>;

/// Creates a `#[tokio::test]` for every check. The expression must return a future of an empty
/// registry and of a value that is kept until the end of the test. See the [module
/// documentation](crate::testing::conformance).
///
/// With `list` before the expression, it returns an array of all checks instead, each a name and a
/// function that returns a boxed future. Use this with a test harness of your own:
///
/// ```
/// use std::pin::Pin;
///
/// use tower_api_tokens::MemoryStore;
///
/// type Check = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;
///
/// async fn fresh() -> (MemoryStore, ()) {
///     (MemoryStore::new(), ())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let checks: &[(&str, Check)] = &tower_api_tokens::registry_conformance!(list fresh());
/// for (name, check) in checks {
///     println!("{name}");
///     check().await;
/// }
/// # }
/// ```
#[macro_export]
macro_rules! registry_conformance {
    (list $fresh:expr) => {
        $crate::registry_conformance! { @all list $fresh }
    };
    ($fresh:expr) => {
        $crate::registry_conformance! { @all tests $fresh }
    };
    (@all $form:ident $fresh:expr) => {
        $crate::registry_conformance! { @$form $fresh;
            a_dropped_call_leaves_before_or_after
            a_log_recognizes_an_unrelated_revision
            changes_are_numbered_without_gaps
            changes_come_in_pages
            clearing_caches_restarts_the_log
            all_live_tokens_are_listed
            usage_adds_up_and_never_goes_back
            an_app_is_inserted_once
            an_insert_never_replaces
            an_insert_needs_its_app
            every_field_survives
            names_survive_or_are_refused
            racing_inserts_have_one_winner
            app_pages_are_complete
            status_filters_agree_with_the_query
            every_filter_agrees_with_the_query
            combined_filters_agree_with_the_query
            pages_are_complete_in_every_order
            a_cursor_of_another_order_selects_no_token
            listings_follow_uses_and_rotations
            token_pages_are_complete
            token_pages_are_stable_under_changes
            a_failed_request_leaves_its_key
            a_key_is_for_creation_alone
            a_key_is_recognized_for_a_day
            a_repeated_insert_makes_one_token
            a_repeated_rotation_makes_one_successor
            racing_repetitions_make_one_token
            a_new_key_is_refused_while_there_are_too_many
            racing_keys_keep_their_maximum
            a_refused_change_leaves_no_event
            a_refused_event_leaves_no_change
            the_event_of_a_change_is_recorded
            events_survive_unchanged
            events_are_listed_by_app_and_token
            events_are_numbered_in_their_order
            racing_events_have_one_order
            a_position_of_another_log_is_gone
            events_of_an_app_show_no_others
            an_event_that_exists_is_not_appended_again
            expiring_tokens_are_listed_by_their_expiry
            a_search_takes_its_text_literally
            a_search_of_apps_takes_its_text_literally
            a_predecessor_is_found_by_its_successor
            a_batch_is_inserted_all_or_nothing
            renaming_changes_one_name
            a_missing_token_is_not_an_error
            a_lookup_ignores_expiry
            a_change_returns_what_is_read_afterwards
            a_change_returns_its_revision
            a_purge_removes_only_expired_and_revoked_tokens
            disabling_takes_effect_immediately
            revoked_is_terminal
            revoking_changes_one_record
            many_tokens_are_revoked_in_one_change
            the_oldest_events_are_removed
            the_latest_events_up_to_a_maximum_are_kept
            old_idempotency_keys_are_removed
            a_count_agrees_with_the_listing
            a_revocation_is_visible_when_it_returns
            a_revocation_elsewhere_is_applied_when_repeated
            an_issued_token_has_its_app_as_it_is
            a_token_gets_the_default_expiry
            a_token_that_is_refused_is_not_issued
            a_successor_inherits_from_its_token
            a_token_of_another_format_is_not_replaced
            an_event_about_a_token_gets_its_app
            a_failed_rotation_changes_nothing
            a_rotation_is_atomic
            an_overlap_never_extends_a_token
            tokens_of_other_apps_are_not_found
            racing_rotations_have_one_winner
            restrictions_are_kept_and_inherited
            rotation_and_revocation_race
            an_edit_of_a_token_takes_effect_immediately
            an_edit_of_an_app_takes_effect_immediately
            an_edit_of_another_version_is_refused
            an_edit_is_checked_against_the_current_token
            racing_edits_are_all_applied
            the_event_of_an_edit_has_old_and_new_values
            metadata_survives_in_every_language
            a_suspended_token_is_refused_until_it_is_resumed
            listings_judge_restrictions
            an_app_with_live_tokens_is_not_deleted
            a_version_is_the_same_however_it_was_read
            a_policy_is_set_over_the_version_that_was_read
            tokens_keep_the_policy
            racing_inserts_keep_the_maximum_of_live_tokens
            racing_inserts_keep_names_unique
            a_node_is_listed_as_it_last_reported
            node_pages_are_complete
            a_revision_that_the_log_lacks_counts_as_not_applied
            the_settings_of_the_fleet_are_kept
            the_settings_of_the_fleet_are_set_with_their_event
            a_node_is_removed_with_its_event
            the_lag_is_that_of_the_node_furthest_behind
            a_limited_actor_reaches_one_app
            a_read_only_actor_changes_nothing
        }
    };
    (@tests $fresh:expr; $($check:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let (store, _kept) = $fresh.await;
                let store: $crate::testing::conformance::Registry = ::std::sync::Arc::new(store);
                $crate::testing::conformance::$check(store).await;
            }
        )*
    };
    (@list $fresh:expr; $($check:ident)*) => {
        [$((
            stringify!($check),
            || {
                ::std::boxed::Box::pin(async {
                    let (store, _kept) = $fresh.await;
                    let store: $crate::testing::conformance::Registry = ::std::sync::Arc::new(store);
                    $crate::testing::conformance::$check(store).await;
                })
            },
        )),*]
    };
}
