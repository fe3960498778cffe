//! The filters and orders of the listing of tokens.

use std::time::Duration;

use serde_json::{Value, json};
use tower_api_tokens::{TokenFormat, TokenId, store::Usage};

use crate::{client::Client, support::Platform};

const DAY: Duration = Duration::from_secs(86_400);

/// Tokens of one app with the formats `live` and `test`, each created a day after the one before:
/// `plain`, `sandbox`, `used`, `expiring`, `replaced` and its successor of the same name, and
/// `revoked`.
struct Scene {
    platform: Platform,
    client: Client,
    /// When each token was created.
    created: Vec<String>,
    /// The records of the tokens.
    records: Vec<Value>,
}

impl Scene {
    async fn new() -> Self {
        let platform = Platform::configured(|tokens| {
            let test = TokenFormat::new("acme_test").unwrap();
            tokens.with_issued_format(test.with_label("test").unwrap())
        });
        let client = Client::new(&platform).await;
        let app = json!({"name": "Billing", "id": "billing"});
        client.post("/apps", app).await.created();
        let mut scene = Self {
            platform,
            client,
            created: Vec::new(),
            records: Vec::new(),
        };
        scene.issue(json!({"name": "plain"})).await;
        let sandbox = json!({"name": "sandbox", "format": "test"});
        scene.issue(sandbox).await;
        scene.issue(json!({"name": "used"})).await;
        let expiring = json!({"name": "expiring", "expires_at": "2100-01-01T00:00:00Z"});
        scene.issue(expiring).await;
        scene.issue(json!({"name": "replaced"})).await;
        scene.rotate(4).await;
        scene.issue(json!({"name": "revoked"})).await;
        scene.post(6, "revoke", Value::Null).await.ok();
        scene.platform.scene.clock.advance(DAY);
        scene.use_token(2).await;
        scene
    }

    /// Issues a token a day later.
    async fn issue(&mut self, fields: Value) {
        self.platform.scene.clock.advance(DAY);
        let mut new = json!({"app_id": "billing", "scopes": ["read"]});
        let fields = fields.as_object().unwrap().clone();
        new.as_object_mut().unwrap().extend(fields);
        let issued = self.client.post("/tokens", new).await.created();
        self.add(&issued);
    }

    async fn rotate(&mut self, token: usize) {
        self.platform.scene.clock.advance(DAY);
        let body = json!({"overlap_seconds": 1_000_000});
        let issued = self.post(token, "rotate", body).await.created();
        self.add(&issued);
    }

    fn add(&mut self, issued: &Value) {
        self.created
            .push(self.platform.scene.tokens.now().to_string());
        self.records.push(issued["record"].clone());
    }

    async fn post(&self, token: usize, action: &str, body: Value) -> crate::client::Answer {
        let id = self.records[token]["id"].as_str().unwrap();
        self.client
            .post(&format!("/tokens/{id}/{action}"), body)
            .await
    }

    /// Records a use of a token, now.
    async fn use_token(&self, token: usize) {
        let id: TokenId = self.records[token]["id"].as_str().unwrap().parse().unwrap();
        let tokens = &self.platform.scene.tokens;
        let usage = Usage::new(id, tokens.now(), 1);
        let registry = tokens.registry();
        registry
            .usage_log()
            .unwrap()
            .record_usage(&[usage])
            .await
            .unwrap();
    }

    /// Returns the names of the listed tokens of the app.
    async fn listed(&self, query: &str) -> Vec<String> {
        self.client.listed(&format!("app_id=billing&{query}")).await
    }
}

#[tokio::test]
async fn every_filter_selects_tokens() {
    let scene = Scene::new().await;
    let id = scene.records[2]["id"].as_str().unwrap();
    let mask = scene.records[0]["masked"].as_str().unwrap();
    let last_four = mask.split_once('…').unwrap().1;
    let creator = scene.records[0]["created_by"].as_str().unwrap();
    let creator = creator.replace(':', "%3A");
    let day = |n: usize| scene.created[n].clone();
    let all = [
        "revoked", "replaced", "replaced", "expiring", "used", "sandbox", "plain",
    ];
    for (query, expected) in [
        ("sort=newest".to_owned(), &all[..]),
        (format!("id={id}"), &["used"]),
        ("format=test".to_owned(), &["sandbox"]),
        ("format=acme_test".to_owned(), &["sandbox"]),
        (format!("last_four={last_four}"), &["plain"]),
        (format!("created_by={creator}"), &all),
        ("created_by=nobody".to_owned(), &[]),
        (format!("created_before={}", day(1)), &["plain"]),
        (
            "expires_before=2100-01-01T00:00:00Z".to_owned(),
            &["replaced"],
        ),
        (
            "expires_before=2100-01-01T00:00:01Z".to_owned(),
            &["replaced", "expiring"],
        ),
        (
            format!("never_expires=true&created_before={}", day(3)),
            &["plain", "sandbox", "used"],
        ),
        ("never_expires=false&name=used".to_owned(), &["used"]),
        (format!("unused_since={}", day(2)), &["plain", "sandbox"]),
        ("never_used=true&name=used".to_owned(), &[]),
        ("never_used=true&status=revoked".to_owned(), &["revoked"]),
        ("replaced=true".to_owned(), &["replaced"]),
        ("replaced=false&name=replaced".to_owned(), &["replaced"]),
        ("used_since_rotation=false".to_owned(), &["replaced"]),
        ("used_since_rotation=true".to_owned(), &[]),
    ] {
        // The default order depends on the filters.
        let mut listed = scene.listed(&query).await;
        let mut expected = expected.to_vec();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected, "{query}");
    }
    scene.use_token(4).await;
    assert_eq!(scene.listed("used_since_rotation=true").await, ["replaced"]);
}

#[tokio::test]
async fn every_order_lists_each_token_once_page_by_page() {
    let scene = Scene::new().await;
    for (sort, expected) in [
        (
            "newest",
            &[
                "revoked", "replaced", "replaced", "expiring", "used", "sandbox", "plain",
            ][..],
        ),
        (
            "oldest",
            &[
                "plain", "sandbox", "used", "expiring", "replaced", "replaced", "revoked",
            ],
        ),
        (
            "expiry",
            &[
                "replaced", "expiring", "plain", "sandbox", "used", "replaced",
            ],
        ),
        (
            "last_used",
            &[
                "plain", "sandbox", "expiring", "replaced", "replaced", "used",
            ],
        ),
    ] {
        for limit in [1, 2, 100] {
            let path = format!("/tokens?app_id=billing&sort={sort}&limit={limit}");
            let (mut names, mut next) = (Vec::new(), path.clone());
            loop {
                let page = scene.client.get(&next).await.ok();
                let items = page["items"].as_array().unwrap().clone();
                names.extend(items.into_iter().map(|item| item["name"].clone()));
                match page["next"].as_str() {
                    Some(cursor) => next = format!("{path}&cursor={cursor}"),
                    None => break,
                }
            }
            assert_eq!(names, expected, "{sort}, pages of {limit}");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_valid_only_with_the_same_filters_and_order() {
    let scene = Scene::new().await;
    let page = scene
        .client
        .get("/tokens?sort=oldest&never_used=true&limit=1")
        .await
        .ok();
    let next = page["next"].as_str().unwrap();
    for (path, is_valid) in [
        ("/tokens?never_used=true&sort=oldest&limit=9", true),
        ("/tokens?sort=oldest", false),
        ("/tokens?sort=newest&never_used=true", false),
        ("/tokens?never_used=true", false),
        ("/tokens?sort=oldest&never_used=false", false),
    ] {
        let answer = scene.client.get(&format!("{path}&cursor={next}")).await;
        match is_valid {
            true => drop(answer.ok()),
            false => drop(answer.problem(400, "invalid_cursor")),
        }
    }
}

#[tokio::test]
async fn invalid_values_name_what_is_accepted() {
    let scene = Scene::new().await;
    for (query, hint) in [
        ("id=x", "use a UUID"),
        ("id=", "use a UUID"),
        ("last_four=abcde", "use the 1 to 4 characters"),
        ("last_four=", "use the 1 to 4 characters"),
        ("last_four=%C3%A9", "use the 1 to 4 characters"),
        ("created_by=", "use 1 to 200 bytes"),
        ("created_by=a%00", "use 1 to 200 bytes"),
        ("created_before=yesterday", "RFC 3339"),
        ("expires_before=2030-01-31", "RFC 3339"),
        ("unused_since=90d", "RFC 3339"),
        ("never_expires=yes", "`true` or `false`"),
        ("replaced=", "`true` or `false`"),
        ("sort=name", "`newest`, `oldest`, `expiry` or `last_used`"),
        ("format=a,b", "use the label of a format"),
        ("sort=oldest&sort=newest", "duplicate field `sort`"),
        ("digest=00", "unknown field `digest`, expected"),
        ("token=00", "unknown field `token`, expected"),
    ] {
        let detail = scene.client.get(&format!("/tokens?{query}")).await;
        let detail = detail.problem(400, "invalid_query");
        assert!(detail.contains(hint), "{query}: {detail}");
    }
    let detail = scene.client.get("/tokens?format=tset").await;
    let detail = detail.problem(422, "unknown_format");
    assert!(detail.contains("use `acme_live` or `test`"), "{detail}");
}

#[tokio::test]
async fn contradictory_filters_are_named() {
    let scene = Scene::new().await;
    for (query, named) in [
        (
            "never_expires=true&expires_before=2030-01-31T00:00:00Z",
            "`never_expires=true` and `expires_before`",
        ),
        (
            "status=revoked&sort=expiry",
            "`status=revoked` and `sort=expiry`",
        ),
        (
            "replaced=false&used_since_rotation=true",
            "`replaced=false` and `used_since_rotation=true`",
        ),
    ] {
        let answer = scene.client.get(&format!("/tokens?{query}")).await;
        let detail = answer.problem(422, "contradictory_filters");
        assert!(detail.contains(named), "{query}: {detail}");
        assert!(detail.contains("change or remove one of them"), "{detail}");
    }
}
