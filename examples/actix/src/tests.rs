use actix_web::test::{TestRequest, call_service, init_service, read_body};
use tower_api_tokens::{
    StoreErrorKind,
    testing::{Fault, FaultyStore},
};

use super::*;

#[actix_web::test]
async fn only_a_live_token_is_attributed_to_its_app() {
    let store = FaultyStore::new(MemoryStore::new());
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let bearer = format!("Bearer {}", issued.token().expose());
    let layer = web::Data::new(ApiTokenLayer::new(&tokens));
    let service = init_service(App::new().configure(|app| routes(app, &layer))).await;
    let ask = async |credentials: &[&str]| {
        let mut request = TestRequest::get().uri("/");
        for credential in credentials {
            request = request.append_header(("authorization", *credential));
        }
        let response = call_service(&service, request.to_request()).await;
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        (status, challenge, body)
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
