use crate::{
    service::{BEARER, Protected},
    wire::{Protocol, Raw, ask},
};

#[tokio::test]
async fn a_websocket_is_authenticated_before_it_is_upgraded() {
    let service = Protected::new().await;
    let upgrade = Raw::get()
        .field("connection", "upgrade")
        .field("upgrade", "websocket")
        .field("sec-websocket-version", "13")
        .field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let refused = ask(service.address, Protocol::Http1, &upgrade).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.values("www-authenticate"), [BEARER]);
    assert_eq!(service.inner_calls(), 0);
    let admitted = upgrade.authorization(service.bearer());
    let switched = ask(service.address, Protocol::Http1, &admitted).await;
    assert_eq!(switched.status, 101);
    assert_eq!(service.inner_calls(), 1);
}

#[tokio::test]
async fn connect_over_http2_is_authenticated_before_the_tunnel() {
    let service = Protected::new().await;
    for upgrade_to in [None, Some("websocket")] {
        let mut connect = Raw::get().method("CONNECT");
        connect.upgrade_to = upgrade_to;
        let refused = ask(service.address, Protocol::Http2, &connect).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.values("www-authenticate"), [BEARER]);
        let calls = service.inner_calls();
        let admitted = connect.authorization(service.bearer());
        let tunnel = ask(service.address, Protocol::Http2, &admitted).await;
        assert_eq!(tunnel.status, 200);
        assert_eq!(service.inner_calls(), calls + 1);
    }
}
