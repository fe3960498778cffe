//! The tables of the guide to fleets are those that the simulation prints.

use fleet_simulation::tables;

const GUIDE: &str = include_str!("../../../docs/fleet.md");

#[track_caller]
fn assert_shown(table: &str) {
    assert!(
        GUIDE.contains(table),
        "docs/fleet.md lacks this table of `cargo run --release -p fleet-simulation`:\n\n{table}"
    );
}

#[test]
fn the_guide_shows_what_fleets_cost() {
    assert_shown(&tables::steady());
}

#[test]
fn the_guide_shows_what_a_restart_does() {
    assert_shown(&tables::restarts());
}

#[test]
fn the_guide_shows_what_the_largest_fleet_can_change() {
    assert_shown(&tables::remedies());
}
