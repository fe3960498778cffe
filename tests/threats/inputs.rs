//! Oversized and hostile text.

use tower_api_tokens::{
    AppId, Grantable, ImportedToken, LifecycleErrorKind, MaskedToken, MemoryStore, NewToken,
    RejectionKind, Scope, ScopeSet, TokenDigest, TokenFormat, TokenId, TokenQuery,
};

use crate::support::{Act, Tap, tokens_in, uncached, verdict};

const HUGE: usize = 10 << 20;

const HOSTILE: [&str; 15] = [
    "'; DROP TABLE tokens; --",
    "' OR '1'='1",
    "\"; DELETE FROM apps WHERE \"1\"=\"1",
    "x') UNION SELECT digest FROM tokens --",
    "%' ESCAPE '\\",
    "$1",
    "?1",
    ":app_id",
    "{0}",
    "<script>alert(1)</script>",
    "\\u0000",
    "../../etc/passwd",
    "🏴‍☠️ ä ß ﷽",
    "NULL",
    "Robert'); --",
];

const WITH_CONTROLS: [&str; 6] = [
    "a\0b",
    "a\nSet-Cookie: b",
    "a\r\n\r\nb",
    "\u{1b}[2J",
    "a\u{2028}b",
    "a\u{85}b",
];

#[tokio::test]
async fn an_oversized_or_unprintable_name_never_reaches_the_store() {
    let store = Tap::new(MemoryStore::new(), |_, _| Act::Pass);
    let fixture = uncached(store.clone())
        .configure(|tokens| tokens.any_format())
        .build()
        .await;
    let tokens = &fixture.tokens;
    let own = tokens.app(fixture.app().id, &Grantable::everything());
    let before = store.total();
    let digest = TokenDigest::of(b"imported");
    let mask = MaskedToken::new("", "").unwrap();
    let mut names = WITH_CONTROLS.map(str::to_owned).to_vec();
    names.extend(["x", "é", "\u{202e}", "'"].map(|c| c.repeat(HUGE / c.len())));
    names.extend([
        "x".repeat(101),
        "é".repeat(101),
        String::new(),
        " ".repeat(HUGE),
    ]);
    for name in names {
        let new = || NewToken::named(name.clone());
        let imported = || ImportedToken::new(new(), digest, mask);
        for error in [
            tokens.create_app(&name).await.unwrap_err(),
            tokens
                .create_app_with_id(AppId::new("a").unwrap(), &name)
                .await
                .unwrap_err(),
            tokens.issue(&fixture.app().id, new()).await.unwrap_err(),
            own.issue(new()).await.unwrap_err(),
            tokens
                .import(&fixture.app().id, imported())
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), LifecycleErrorKind::InvalidName);
            assert!(error.to_string().len() < 200, "the name is not repeated");
            assert!(format!("{error:?}").len() < 200);
        }
    }
    assert_eq!(store.total(), before);
}

#[tokio::test]
async fn an_oversized_token_is_refused_without_a_lookup() {
    let store = Tap::new(MemoryStore::new(), |_, _| Act::Pass);
    let tokens = tokens_in(store.clone()).any_format().build();
    for (length, kind) in [
        (4096, RejectionKind::UnknownToken),
        (4097, RejectionKind::MalformedCredential),
        (HUGE, RejectionKind::MalformedCredential),
    ] {
        let presented = vec![b'x'; length];
        let verdict = tokens.authenticator().authenticate(&presented);
        assert_eq!(verdict.await.unwrap_err().kind(), kind);
    }
    assert_eq!(store.total(), 1);
}

#[test]
fn oversized_identifiers_and_scopes_cannot_be_made() {
    let huge = "x".repeat(HUGE);
    assert!(AppId::new(&huge).is_err());
    assert!(huge.parse::<TokenId>().is_err());
    assert!(huge.parse::<TokenDigest>().is_err());
    assert!(TokenFormat::new(&huge).is_err());
    assert!(MaskedToken::new(&huge, "").is_err());
    assert!(MaskedToken::new("", &huge).is_err());
    assert!(Scope::new(&huge).is_err());
    assert!(huge.parse::<ScopeSet>().is_err());
    let many: String = (0..200).map(|i| format!("scope{i} ")).collect();
    assert!(many.parse::<ScopeSet>().is_err());
}

#[tokio::test]
async fn hostile_names_are_stored_literally() {
    let bystander = uncached(MemoryStore::new())
        .configure(|tokens| tokens.any_format())
        .build()
        .await;
    let tokens = &bystander.tokens;
    for (nth, name) in HOSTILE.into_iter().enumerate() {
        let app = tokens.create_app(name).await.unwrap();
        assert_eq!(tokens.get_app(&app.id).await.unwrap().name, name);
        let issued = tokens.issue(&app.id, NewToken::named(name)).await.unwrap();
        let id = issued.record().id;
        assert_eq!(tokens.get(id).await.unwrap().name, name);
        let listed = tokens.list(&TokenQuery::default().app(app.id)).await;
        assert_eq!(listed.unwrap().items, [issued.record().clone()]);

        let authenticator = tokens.authenticator();
        let plaintext = issued.token().expose();
        let principal = authenticator.authenticate(plaintext.as_bytes()).await;
        let principal = principal.unwrap();
        assert_eq!(principal.app_name(), name);
        assert_eq!(principal.token_name(), name);

        let digest = TokenDigest::of(format!("imported{nth}").as_bytes());
        let mask = MaskedToken::new("", "").unwrap();
        let imported = ImportedToken::new(NewToken::named(name), digest, mask);
        assert_eq!(tokens.import(&app.id, imported).await.unwrap().name, name);

        let successor = tokens.rotate(id, std::time::Duration::ZERO).await.unwrap();
        assert_eq!(successor.record().name, name);
        assert_eq!(tokens.revoke(id).await.unwrap().name, name);
        assert_eq!(tokens.disable_app(&app.id).await.unwrap().name, name);

        let verdict = verdict(&bystander.tokens, bystander.token()).await;
        assert_eq!(verdict, Ok(()));
    }
}

#[tokio::test]
async fn a_hostile_token_finds_nothing() {
    let fixture = uncached(MemoryStore::new())
        .configure(|tokens| tokens.any_format())
        .build()
        .await;
    let plaintext = fixture.token();
    let near = [
        format!("{plaintext}'"),
        format!("{plaintext}\0"),
        format!("{plaintext}="),
        format!(" {plaintext}"),
        format!("{plaintext}\n"),
        plaintext.to_ascii_uppercase(),
        plaintext[..plaintext.len() - 1].to_owned(),
        fixture.issued.record().digest.to_base64url(),
        fixture.issued.record().mask.to_string(),
        fixture.issued.record().id.to_string(),
    ];
    for token in HOSTILE.into_iter().chain(WITH_CONTROLS) {
        assert!(verdict(&fixture.tokens, token).await.is_err(), "{token:?}");
    }
    for token in &near {
        assert!(verdict(&fixture.tokens, token).await.is_err(), "{token:?}");
    }
    for text in HOSTILE.into_iter().chain(WITH_CONTROLS) {
        assert!(text.parse::<TokenId>().is_err());
        assert!(text.parse::<TokenDigest>().is_err());
        if let Ok(id) = AppId::new(text) {
            assert_eq!(id.as_str(), text);
            let kind = fixture.tokens.get_app(&id).await.unwrap_err().kind();
            assert_eq!(kind, LifecycleErrorKind::UnknownApp);
        }
    }
}
