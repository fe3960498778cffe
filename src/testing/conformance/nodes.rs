use std::time::Duration;

use super::{
    Registry,
    fixtures::{app, change_log, token, tokens},
};
use crate::{
    FleetSettings, FleetState, NodeId, NodeQuery, NodeRecord, NodeRegistry, NodeReport, Revision,
};

fn registry(store: &Registry) -> Option<&dyn NodeRegistry> {
    // A store need not know its nodes.
    store.node_registry()
}

fn report(n: u8) -> NodeReport {
    let id = NodeId::from_bytes([n; 16]);
    NodeReport::new(id, &format!("node {n}"), "1.2.3", Duration::from_secs(5))
        .interval(Duration::from_millis(1_500))
}

async fn only(nodes: &dyn NodeRegistry) -> NodeRecord {
    let page = nodes.nodes(&NodeQuery::default()).await.unwrap();
    assert!(page.nodes.items.len() == 1 && page.nodes.next.is_none());
    let node = page.nodes.items.into_iter().next().unwrap();
    assert!(node.registered_at <= node.reported_at && node.reported_at <= page.now);
    node
}

/// A node that reports is listed as it last reported, with times of the store. One that is removed is not
/// listed until it reports again.
pub async fn a_node_is_listed_as_it_last_reported(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    let app = app(&store, 1).await;
    token(&store, &app, 1).await;
    let latest = change_log(&store).revision().await.unwrap();
    assert_eq!(nodes.fleet().await.unwrap(), FleetState::default());
    let state = nodes.report(&report(1)).await.unwrap();
    assert_eq!(state, FleetState::new(1, 0, FleetSettings::default()));
    let first = only(nodes).await;
    assert_eq!(first.report, report(1));

    let mut changed = report(1).applied(latest);
    changed.name = "another name".to_owned();
    changed.max_staleness = Duration::from_micros(2_000_001);
    assert_eq!(nodes.report(&changed).await.unwrap().nodes, 1);
    let second = only(nodes).await;
    assert_eq!(second.report, changed);
    assert_eq!(second.registered_at, first.registered_at);
    assert!(second.has_applied(latest));

    assert!(nodes.remove_node(changed.id).await.unwrap());
    assert!(!nodes.remove_node(changed.id).await.unwrap());
    let empty = nodes.nodes(&NodeQuery::default()).await.unwrap();
    assert_eq!((empty.nodes.items, empty.latest), (Vec::new(), latest));
    assert_eq!(nodes.report(&changed).await.unwrap().nodes, 1);
    assert_eq!(only(nodes).await.report, changed);
}

/// Pages of nodes are complete, in the order of their identifiers.
pub async fn node_pages_are_complete(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    for n in [3, 1, 5, 2, 4] {
        nodes.report(&report(n)).await.unwrap();
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let query = NodeQuery::default().limit(2).after(after);
        let page = nodes.nodes(&query).await.unwrap().nodes;
        assert!(page.items.len() <= 2);
        listed.extend(page.items.into_iter().map(|node| node.report));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, [1, 2, 3, 4, 5].map(report));
}

/// A node that reports a revision which the log does not have has applied nothing that is known.
pub async fn a_revision_that_the_log_lacks_counts_as_not_applied(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    let app = app(&store, 1).await;
    token(&store, &app, 1).await;
    let own = change_log(&store).revision().await.unwrap();
    nodes.report(&report(1).applied(own)).await.unwrap();
    for foreign in [
        Revision::new(own.number, own.mark ^ 1),
        Revision::new(own.number + 1, own.mark),
        Revision::new(u64::MAX, u64::MAX),
    ] {
        nodes.report(&report(1).applied(foreign)).await.unwrap();
        let node = only(nodes).await;
        assert_eq!(node.report.applied, None);
        assert!(!node.has_applied(own));
    }
}

/// The settings of the fleet are kept, and returned to every node.
pub async fn the_settings_of_the_fleet_are_kept(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    for (bound, all_registered) in [
        (Some(Duration::from_secs(30)), true),
        (Some(Duration::from_micros(1)), false),
        (Some(Duration::ZERO), false),
        (None, true),
    ] {
        let settings = FleetSettings::default();
        let settings = settings.max_staleness(bound).all_registered(all_registered);
        nodes.set_fleet(&settings).await.unwrap();
        assert_eq!(nodes.fleet().await.unwrap().settings, settings);
        let reported = nodes.report(&report(1)).await.unwrap();
        assert_eq!(reported, FleetState::new(1, 0, settings));
    }
}

/// The lag of the fleet is that of the node which is furthest behind.
pub async fn the_lag_is_that_of_the_node_furthest_behind(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    let app = app(&store, 1).await;
    let begin = change_log(&store).revision().await.unwrap();
    tokens(&store, &app, 3).await;
    let latest = change_log(&store).revision().await.unwrap();
    assert_eq!(
        nodes.report(&report(1).applied(latest)).await.unwrap().lag,
        0
    );
    assert_eq!(
        nodes.report(&report(2).applied(begin)).await.unwrap().lag,
        3
    );
    // A node that has just started has applied nothing that it could lack.
    assert_eq!(nodes.report(&report(3)).await.unwrap().lag, 3);
    assert_eq!(nodes.fleet().await.unwrap().lag, 3);
    assert_eq!(
        nodes.report(&report(2).applied(latest)).await.unwrap().lag,
        0
    );
}
