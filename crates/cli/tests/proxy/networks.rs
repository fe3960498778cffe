//! Tokens that are restricted to networks, behind a proxy of the guide.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;

use crate::{
    services::Test,
    support::{Answer, Proxy, Site, exchange, exchange_over},
};

/// The client's address. The proxy itself has another one, the only trusted one.
const CLIENT: &str = "127.0.0.2";

impl Site {
    /// Restricts the only token of the site.
    async fn restrict(&self, restrictions: &str) {
        let pool = sqlx::SqlitePool::connect(&self.store).await.unwrap();
        let restricted = sqlx::query(
            "UPDATE api_tokens SET restrictions = ?1, restricted_expires_at = expires_at, \
             expires_at = 0 WHERE name = 'test'",
        )
        .bind(restrictions)
        .execute(&pool)
        .await
        .unwrap();
        assert_eq!(restricted.rows_affected(), 1);
        pool.close().await;
    }
}

async fn get(site: &Site, token: &str, fields: &[&str]) -> Answer {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!(
        "GET /orders HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n{fields}\r\n"
    );
    let socket = TcpSocket::new_v4().unwrap();
    let client: IpAddr = CLIENT.parse().unwrap();
    socket.bind(SocketAddr::new(client, 0)).unwrap();
    let stream = socket.connect(site.address).await.unwrap();
    exchange_over(stream, &request).await
}

async fn a_client_cannot_forge_its_address<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    site.restrict("networks=10.0.0.0/8,127.0.0.1/32").await;
    for forged in [
        &[][..],
        &["X-Forwarded-For: 10.0.0.1"],
        &["X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 127.0.0.1"],
        &["X-Forwarded-For: 10.0.0.1, 127.0.0.1,"],
        &["X-Real-IP: 10.0.0.1", "Forwarded: for=10.0.0.1"],
        &["X_Forwarded_For: 10.0.0.1", "x-forwarded-for:10.0.0.1"],
        &["Connection: X-Forwarded-For", "X-Forwarded-For: 10.0.0.1"],
    ] {
        assert_eq!(get(&site, &token, forged).await.status, 403, "{forged:?}");
    }
    assert_eq!(site.reached(), 0);
    // The endpoint gets no address without the field, not even from the proxy.
    let direct = format!(
        "GET /verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    assert_eq!(exchange(site.verifier_address, &direct).await.status, 403);
}

async fn a_client_in_the_networks_is_admitted<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    site.restrict("networks=127.0.0.2/32").await;
    for fields in [
        &[][..],
        &["X-Forwarded-For: 192.0.2.1"],
        &["X-Forwarded-For: ?"],
    ] {
        assert_eq!(get(&site, &token, fields).await.status, 200, "{fields:?}");
    }
    assert_eq!(
        site.get_as(&token).await.status,
        403,
        "from another address"
    );
    assert_eq!(site.reached(), 3);
}

/// All tests.
pub(crate) fn all<P: Proxy + 'static>() -> Vec<Test> {
    vec![
        case!(a_client_cannot_forge_its_address),
        case!(a_client_in_the_networks_is_admitted),
    ]
}
