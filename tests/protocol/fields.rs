//! From which field of which request a token is read.

use crate::{
    http2,
    support::{Fixture, UNKNOWN, bearer, server},
    wire::{Connection, Outcome, Wire, over_http1, over_http2},
};

#[tokio::test]
async fn several_authorization_fields_are_refused_even_when_they_are_identical() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let good = fixture.bearer();
    for (first, second) in [
        (&*good, &*good),
        (&good, "Bearer a"),
        ("Bearer a", &good),
        (&good, "Basic QQ=="),
        ("Basic QQ==", &good),
        (&good, ""),
        ("", &good),
        ("Basic QQ==", "Basic QQ=="),
    ] {
        let request = Wire::get().authorization(first).authorization(second);
        let answer = server.refuses(&request).await;
        assert_eq!(answer.status, 400, "{request:?}");
        assert_eq!(
            answer.challenge(),
            "Bearer realm=\"api\", error=\"invalid_request\", error_description=\
             \"The request has several credentials: send exactly one.\""
        );
    }
    let apart = Wire::get()
        .authorization(&good)
        .field("accept", "*/*")
        .authorization(&good);
    assert_eq!(server.refuses(&apart).await.status, 400);
    let three = Wire::get()
        .authorization(&good)
        .authorization(&good)
        .authorization(&good);
    assert_eq!(server.refuses(&three).await.status, 400);
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn fields_of_other_names_may_repeat() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::get()
        .field("accept", "text/plain")
        .authorization(fixture.bearer())
        .field("accept", "text/html");
    server.admits(&request).await;
}

#[tokio::test]
async fn field_names_are_case_insensitive() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    for name in ["Authorization", "AUTHORIZATION", "aUTHORIZATION"] {
        let good = Wire::get().field(name, fixture.bearer());
        let Outcome::Answered(answer) = over_http1(server.address(), &good).await else {
            panic!("{name} is a field name");
        };
        assert_eq!((answer.status, &*answer.body), (200, "Billing"));

        let repeated = good.authorization(fixture.bearer());
        let Outcome::Answered(answer) = over_http1(server.address(), &repeated).await else {
            panic!("{name} is a field name");
        };
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn an_upper_case_field_name_never_reaches_the_layer_over_http2() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::get().field("Authorization", fixture.bearer());
    assert_eq!(
        over_http2(server.address(), &request).await,
        Outcome::Malformed
    );
    assert_eq!((server.calls(), fixture.store.finds()), (0, 0));
}

#[tokio::test]
async fn a_token_in_the_url_the_body_a_trailer_or_a_cookie_is_not_read() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let missing = server.refuses(&Wire::get()).await.but_for_its_hint();
    let (token, form) = (fixture.token(), format!("access_token={}", fixture.token()));
    for request in [
        Wire::new("GET", &format!("/?{form}")),
        Wire::new("POST", "/")
            .field("content-type", "application/x-www-form-urlencoded")
            .content(&form),
        Wire::new("POST", "/")
            .content("content")
            .trailer("authorization", fixture.bearer()),
        Wire::new("POST", "/")
            .field("trailer", "authorization")
            .trailer("authorization", fixture.bearer()),
        Wire::get().field("cookie", &form),
        Wire::get().field("proxy-authorization", fixture.bearer()),
        Wire::get().field("x-forwarded-authorization", fixture.bearer()),
        Wire::get().field("access_token", token),
        Wire::get().field("x-api-key", token),
    ] {
        let answer = server.refuses(&request).await;
        assert!(!answer.text().contains(token), "{answer:?}");
        assert_eq!(answer.but_for_its_hint(), missing, "{request:?}");
    }
    assert_eq!(fixture.store.finds(), 0);
}

#[tokio::test]
async fn a_token_in_the_url_does_not_disturb_the_one_in_the_field() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::new("GET", &format!("/?access_token={UNKNOWN}"));
    server
        .admits(&request.clone().authorization(fixture.bearer()))
        .await;
    let answer = server
        .refuses(&request.authorization(bearer(UNKNOWN)))
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_trailer_does_not_repeat_the_field() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::new("POST", "/")
        .authorization(fixture.bearer())
        .content("content")
        .trailer("authorization", bearer(UNKNOWN));
    server.admits(&request).await;
}

#[tokio::test]
async fn a_malformed_field_line_never_reaches_the_layer() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let token = fixture.token();
    for (name, value) in [
        ("authorization", format!("Bearer\r\n {token}")),
        ("authorization", format!("\r\n\tBearer {token}")),
        ("authorization", format!("Bearer {token}\0")),
        ("authorization ", fixture.bearer()),
        (" authorization", fixture.bearer()),
    ] {
        let request = Wire::get().field(name, value);
        for outcome in [
            over_http1(server.address(), &request).await,
            over_http2(server.address(), &request).await,
        ] {
            assert_eq!(outcome, Outcome::Malformed, "{request:?}");
        }
    }
    let request = Wire::get().authorization(format!("Bearer {token}\r\nx: y"));
    let outcome = over_http2(server.address(), &request).await;
    assert_eq!(outcome, Outcome::Malformed);
    assert_eq!((server.calls(), fixture.store.finds()), (0, 0));
}

#[tokio::test]
async fn a_token_applies_only_to_its_own_request_on_a_connection() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let credentials = [
        fixture.bearer(),
        String::new(),
        bearer(UNKNOWN),
        fixture.bearer(),
    ];
    let statuses = [200, 401, 401, 200];

    let mut connection = Connection::open(server.address()).await;
    let mut client = http2::Client::connect(server.address()).await;
    for (stream, (value, status)) in (1..).step_by(2).zip(credentials.iter().zip(statuses)) {
        let field = if value.is_empty() {
            "x-none"
        } else {
            "authorization"
        };
        let text = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{field}: {value}\r\n\r\n");
        assert_eq!(connection.ask(&text).await.status, status);
        client.send(stream, &Wire::get().field(field, value)).await;
        let Outcome::Answered(answer) = client.outcome(stream).await else {
            panic!("the request is well formed");
        };
        assert_eq!(answer.status, status);
    }
    assert_eq!(server.calls(), 4);
}
