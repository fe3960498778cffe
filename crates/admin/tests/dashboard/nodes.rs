//! The page of the nodes that verify tokens.

use std::time::Duration;

use http::StatusCode;
use tower_api_tokens::{ChangeLog, FleetSettings, NodeId, NodeRegistry, NodeReport};
use tower_api_tokens_admin::Actor;

use crate::support::Site;

async fn report(site: &Site, n: u8, report: impl FnOnce(NodeReport) -> NodeReport) {
    let id = NodeId::from_bytes([n; 16]);
    let name = format!("<node> {n}");
    let node = NodeReport::new(id, &name, "1.2.3", Duration::from_secs(5));
    let node = report(node.interval(Duration::from_secs(60)));
    site.scene.store.report(&node).await.unwrap();
}

#[tokio::test]
async fn nodes_are_shown_with_the_changes_that_they_lack() {
    let site = Site::new();
    let empty = site.get("/tokens/nodes").await.is(StatusCode::OK);
    empty.has("No nodes").has("Not declared");
    let begin = site.scene.store.revision().await.unwrap();
    let app = site.ada().create_app("Billing").await.unwrap();
    drop(site.issue(&app.id, "ci").await);
    let settings = FleetSettings::default().max_staleness(Duration::from_secs(7));
    let settings = settings.all_registered(true);
    site.ada().set_fleet(settings).await.unwrap();
    report(&site, 1, |node| node.applied(begin)).await;
    report(&site, 2, |node| node).await;
    let page = site.get("/tokens/nodes").await.is(StatusCode::OK);
    page.has("<bdi>&#60;node&#62; 1</bdi>")
        .has("data-label=\"Changes behind\">1</td>")
        .has("Starting")
        .has("Running")
        .has("<dd>7s</dd>")
        .has("<dd>Yes</dd>")
        .lacks("Next page");
}

#[tokio::test]
async fn many_nodes_are_shown_page_by_page() {
    let site = Site::new();
    for n in 1..=51 {
        report(&site, n, |node| node).await;
    }
    let last = NodeId::from_bytes([50; 16]);
    let first = site.get("/tokens/nodes").await.is(StatusCode::OK);
    let encoded = last.to_string().replace('-', "%2D");
    first
        .has(&format!("/tokens/nodes?after={encoded}"))
        .lacks("node&#62; 51<");
    let second = site.get(&format!("/tokens/nodes?after={last}")).await;
    second
        .has("node&#62; 51<")
        .lacks("node&#62; 50<")
        .has("First page");
    let nonsense = site.get("/tokens/nodes?after=nonsense").await;
    assert_ne!(nonsense.status, StatusCode::OK);
}

#[tokio::test]
async fn an_actor_of_one_app_sees_no_nodes() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    report(&site, 1, |node| node).await;
    let customer = Actor::unrestricted("carol").limited_to(app.id);
    let customer = site.operations.by(customer);
    let query = tower_api_tokens::NodeQuery::default();
    assert!(customer.nodes(&query).await.is_err());
    assert!(customer.fleet().await.is_err());
}
