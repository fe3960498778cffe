//! The steps of a schedule.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A change through a node, by its number, or through another process.
    Change(Option<usize>, Change),
    /// A request with a token, by its number, to a node.
    Present(usize, usize),
    /// A request to a node with a text that was never a token.
    PresentGarbage(usize),
    Advance(Duration),
    /// A node reads the log.
    CatchUp(usize),
    /// A process ends and another one takes its place. It stops, or is killed.
    Restart(usize, Ending),
    Trouble(Trouble, bool),
    Gap,
    /// Tokens that are re-read or listed from here on arrive late.
    Hold,
    Release,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Issue(usize),
    Import(usize, usize),
    Revoke(usize),
    Rotate(usize, Duration),
    Rename(usize),
    /// An app gets a name and metadata with this number.
    EditApp(usize, u8),
    Disable(usize),
    Enable(usize),
    Purge,
    ClearCaches,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Refreshes,
    Pages,
    Log,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Stop,
    Kill,
}

/// The settings of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) capacity: usize,
    pub(crate) preloads: bool,
    /// Whether the cache is saved and loaded again.
    pub(crate) saves: bool,
}

pub(crate) fn setups() -> impl Strategy<Value = Vec<Setup>> {
    let capacity = prop_oneof![
        Just(0_usize),
        1_usize..8,
        Just(15_usize),
        Just(16_usize),
        17_usize..40,
        Just(1000_usize)
    ];
    let setup = |preloads, saves| {
        capacity.clone().prop_map(move |capacity| Setup {
            capacity,
            preloads,
            saves,
        })
    };
    (setup(true, true), setup(true, false), setup(false, false)).prop_map(|(a, b, c)| vec![a, b, c])
}

fn change() -> impl Strategy<Value = Change> {
    let (app, token) = (0_usize..3, any::<usize>());
    prop_oneof![
        6 => app.clone().prop_map(Change::Issue),
        1 => (app.clone(), 1_usize..12).prop_map(|(app, count)| Change::Import(app, count)),
        3 => token.prop_map(Change::Revoke),
        3 => (token, 0_u64..3000)
            .prop_map(|(token, ms)| Change::Rotate(token, Duration::from_millis(ms))),
        1 => token.prop_map(Change::Rename),
        2 => (app.clone(), any::<u8>()).prop_map(|(app, number)| Change::EditApp(app, number)),
        2 => app.clone().prop_map(Change::Disable),
        3 => app.prop_map(Change::Enable),
        1 => Just(Change::Purge),
        1 => Just(Change::ClearCaches),
    ]
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    let node = 0..nodes;
    let trouble = prop_oneof![
        2 => Just(Trouble::Refreshes),
        2 => Just(Trouble::Pages),
        1 => Just(Trouble::Log)
    ];
    let ending = prop_oneof![Just(Ending::Stop), Just(Ending::Kill)];
    let here = proptest::option::weighted(0.3, node.clone());
    prop_oneof![
        8 => (here, change()).prop_map(|(here, change)| Step::Change(here, change)),
        8 => (node.clone(), any::<usize>()).prop_map(|(node, token)| Step::Present(node, token)),
        1 => node.clone().prop_map(Step::PresentGarbage),
        3 => (0_u64..3000).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
        6 => node.clone().prop_map(Step::CatchUp),
        2 => (node, ending).prop_map(|(node, ending)| Step::Restart(node, ending)),
        2 => (trouble, prop::bool::weighted(0.4)).prop_map(|(what, on)| Step::Trouble(what, on)),
        1 => Just(Step::Gap),
        1 => Just(Step::Hold),
        2 => Just(Step::Release),
    ]
}

pub(crate) fn steps(nodes: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(nodes), 1..80)
}
