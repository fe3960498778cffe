use std::time::Duration;

use super::{
    Registry,
    fixtures::{app, at, audit_log, change_log, fails, token, tokens},
};
use crate::{
    AuditAction, AuditChange, AuditEvent, AuditEventId, AuditOutcome, AuditQuery, FleetSettings,
    FleetState, Mutation, NodeId, NodeQuery, NodeRecord, NodeRegistry, NodeReport, Op, Revision,
    StoreErrorKind, TokenRegistryExt,
};

fn registry(store: &Registry) -> Option<&dyn NodeRegistry> {
    // A store need not know its nodes.
    store.node_registry()
}

fn event(n: u8, action: AuditAction) -> AuditEvent {
    let id = AuditEventId::from_bytes([n; 16]);
    AuditEvent::new(id, at(n.into()), "ops", action, AuditOutcome::Done)
}

/// The events, oldest first.
async fn events(store: &Registry) -> Vec<AuditEvent> {
    let page = audit_log(store).events(&AuditQuery::default()).await;
    let mut events = page.unwrap().items;
    events.reverse();
    events
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
        store.set_fleet(&settings, at(0)).await.unwrap();
        assert_eq!(nodes.fleet().await.unwrap().settings, settings);
        let reported = nodes.report(&report(1)).await.unwrap();
        assert_eq!(reported, FleetState::new(1, 0, settings));
    }
}

/// The settings of the fleet are set together with their event, which has the old and the new values.
pub async fn the_settings_of_the_fleet_are_set_with_their_event(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    let set = async |n: u8, settings: FleetSettings| {
        let event = event(n, AuditAction::SetFleet);
        let change = Mutation::new(Op::SetFleet(settings), at(n.into())).audit(event);
        store.apply(&change).await
    };
    let bound = FleetSettings::default().max_staleness(Duration::from_millis(2_500));
    set(1, bound).await.unwrap();
    let taken = set(1, bound.all_registered(true)).await;
    fails(taken, StoreErrorKind::AlreadyExists);
    assert_eq!(nodes.fleet().await.unwrap().settings, bound);
    let all = FleetSettings::default().all_registered(true);
    set(2, all).await.unwrap();
    assert_eq!(nodes.fleet().await.unwrap().settings, all);

    let changed = |field: &str, old: Option<&str>, new: Option<&str>| {
        AuditChange::new(field, old.map(Into::into), new.map(Into::into))
    };
    let mut expected = [1, 2].map(|n| event(n, AuditAction::SetFleet));
    expected[0].changes = vec![changed("max_staleness", None, Some("2.5"))];
    expected[1].changes = vec![
        changed("max_staleness", Some("2.5"), None),
        changed("all_registered", Some("false"), Some("true")),
    ];
    assert_eq!(events(&store).await, expected);
}

/// An operator removes a node together with the event. Nothing is recorded if there is no such node.
pub async fn a_node_is_removed_with_its_event(store: Registry) {
    let Some(nodes) = registry(&store) else {
        return;
    };
    let remove = async |n: u8| {
        let event = event(n, AuditAction::RemoveNode);
        let op = Op::RemoveNode(report(1).id);
        store.apply(&Mutation::new(op, at(0)).audit(event)).await
    };
    fails(remove(1).await, StoreErrorKind::NotFound);
    assert_eq!(events(&store).await, []);
    nodes.report(&report(1)).await.unwrap();
    remove(1).await.unwrap();
    assert_eq!(nodes.fleet().await.unwrap().nodes, 0);
    assert_eq!(events(&store).await, [event(1, AuditAction::RemoveNode)]);

    nodes.report(&report(1)).await.unwrap();
    fails(remove(1).await, StoreErrorKind::AlreadyExists);
    assert_eq!(only(nodes).await.report, report(1));
    let unknown = NodeId::from_bytes([2; 16]);
    let unknown = Mutation::new(Op::RemoveNode(unknown), at(0));
    fails(store.apply(&unknown).await, StoreErrorKind::NotFound);
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
