use salvo::{
    Service,
    test::{ResponseExt, TestClient},
};
use tower_api_tokens::{
    StoreErrorKind,
    testing::{Fault, FaultyStore},
};

use super::*;

#[tokio::test]
async fn only_a_live_token_is_attributed_to_its_app() {
    let store = FaultyStore::new(MemoryStore::new());
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let bearer = format!("Bearer {}", issued.token().expose());
    let service = Service::new(routes(ApiTokenLayer::new(&tokens)));
    let ask = async |credentials: &[&str]| {
        let mut request = TestClient::get("http://localhost/");
        for credential in credentials {
            request = request.add_header("authorization", *credential, false);
        }
        let mut response = request.send(&service).await;
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status_code.unwrap().as_u16();
        (status, challenge, response.take_string().await.unwrap())
    };

    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let (status, challenge, _) = ask(&[&bearer]).await;
    assert_eq!((status, challenge), (503, None));
    store.set_fault(Fault::None);
    assert_eq!(
        ask(&[&bearer]).await,
        (200, None, "hello, Billing\n".into())
    );

    let (status, challenge, body) = ask(&[]).await;
    assert_eq!(status, 401);
    assert_eq!(challenge.as_deref(), Some("Bearer realm=\"api\""));
    assert!(body.contains("The request has no token."), "{body}");
    let (status, challenge, _) = ask(&[&bearer, &bearer]).await;
    assert_eq!(status, 400);
    assert!(challenge.unwrap().contains("several credentials"));
}
