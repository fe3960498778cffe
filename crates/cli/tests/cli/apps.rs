use crate::{server::on_both, support::Cli};

on_both!(
    an_app_can_have_a_given_identifier,
    an_empty_list_shows_the_next_step,
    tokens_of_a_disabled_app_are_refused_until_it_is_enabled,
    an_app_is_found_by_its_identifier_or_unique_name,
    an_app_is_shown_by_its_identifier_or_name,
    no_app_can_impersonate_another_by_name_or_identifier,
    invalid_names_and_identifiers_are_rejected_with_a_hint,
    an_app_is_renamed_and_its_metadata_edited,
    an_app_is_deleted_once_it_has_no_live_tokens,
);

#[test]
fn creating_an_app_creates_the_database() {
    let cli = Cli::new();
    let shown = cli.run(&["app", "create", "Billing"]).done();
    assert!(shown.contains("Billing"), "{shown}");
    let apps = cli.run(&["app", "list", "--json"]).json_lines();
    assert_eq!(apps.len(), 1);
    assert_eq!(apps[0]["name"], "Billing");
    assert_eq!(apps[0]["disabled_at"], serde_json::Value::Null);
}

fn an_app_can_have_a_given_identifier(cli: &Cli) {
    let app = cli.run(&["app", "show", "Billing", "--json"]).json();
    assert_eq!(app["id"], "billing");
    let refused = cli.run(&["app", "create", "Other", "--id", "billing"]);
    assert!(refused.failed(4).contains("already"));
}

fn an_empty_list_shows_the_next_step(cli: &Cli) {
    let empty = cli.run(&["token", "list", "--app", "billing"]);
    assert!(empty.err.contains("api-tokens token issue"), "{empty:?}");
    assert_eq!(empty.done(), "");
}

fn tokens_of_a_disabled_app_are_refused_until_it_is_enabled(cli: &Cli) {
    let (token, _) = cli.issue("ci", &[]);
    cli.run(&["app", "disable", "Billing"]).done();
    assert!(cli.verify(&token).failed(4).contains("disabled"));
    let refused = cli.run(&["token", "issue", "--app", "billing", "--name", "x"]);
    assert!(refused.failed(4).contains("enable"));
    cli.run(&["app", "enable", "billing"]).done();
    cli.verify(&token).done();
}

fn an_app_is_found_by_its_identifier_or_unique_name(cli: &Cli) {
    cli.run(&["app", "create", "Twin", "--id", "first"]).done();
    cli.run(&["app", "create", "Twin", "--id", "second"]).done();
    cli.run(&["app", "disable", "Billing"]).done();
    let ambiguous = cli.run(&["app", "disable", "Twin"]).failed(2);
    assert!(
        ambiguous.contains("`id:first` (Twin), `id:second` (Twin)"),
        "{ambiguous}"
    );
    cli.run(&["app", "disable", "second"]).done();
    cli.run(&["app", "disable", "id:first"]).done();
    for nobody in ["nobody", "id:nobody", "id:Billing"] {
        let unknown = cli.run(&["app", "disable", nobody]).failed(3);
        assert!(unknown.contains("app list"), "{unknown}");
    }
    cli.run(&["app", "disable", "id:"]).failed(2);
}

fn no_app_can_impersonate_another_by_name_or_identifier(cli: &Cli) {
    // The identifier of one app is the name of another, and vice versa.
    cli.run(&["app", "create", "Evil", "--id", "Billing"])
        .done();
    cli.run(&["app", "create", "Evil twin", "--id", "twin"])
        .done();
    cli.run(&["app", "create", "twin", "--id", "impostor"])
        .done();
    for named in ["Billing", "twin"] {
        for command in [
            &["token", "issue", "--name", "x", "--app", named][..],
            &["token", "list", "--app", named],
            &["events", "--app", named],
            &["app", "show", named],
            &["app", "disable", named],
            &["app", "enable", named],
            &["app", "rename", named, "x"],
            &["app", "edit", named, "--metadata", "a=b"],
            &["app", "delete", named, "--yes"],
        ] {
            let message = cli.run(command).failed(2);
            assert!(message.contains("several apps"), "{message}");
            assert!(
                message.contains(&format!("`id:{named}` (Evil")),
                "{message}"
            );
        }
    }
    for (named, id) in [
        ("id:Billing", "Billing"),
        ("id:billing", "billing"),
        ("billing", "billing"),
        ("impostor", "impostor"),
    ] {
        let disabled = cli.run(&["app", "disable", named, "--json"]).json();
        assert_eq!(disabled["id"], id);
    }
    for id in ["id:Billing", "id:billing", "id:twin", "impostor"] {
        let list = ["token", "list", "--app", id, "--json"];
        assert!(cli.run(&list).json_lines().is_empty());
    }
}

fn invalid_names_and_identifiers_are_rejected_with_a_hint(cli: &Cli) {
    let name = cli.run(&["app", "create", "a\u{1b}[31mb"]).failed(2);
    assert!(name.contains("1 to 100 characters"), "{name}");
    let id = cli.run(&["app", "create", "x", "--id", "two words"]);
    assert!(id.failed(2).contains("1 to 40"));
}

fn an_app_is_shown_by_its_identifier_or_name(cli: &Cli) {
    let shown = cli.run(&["app", "show", "Billing"]).done();
    for named in ["billing", "id:billing"] {
        assert_eq!(cli.run(&["app", "show", named]).done(), shown);
    }
    let fields = |shown: &str| {
        let names = shown.lines().filter_map(|line| line.split("  ").next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        fields(&shown),
        ["id", "name", "status", "created", "version"]
    );
    assert!(shown.contains("status   enabled\n"), "{shown}");
    cli.run(&["app", "disable", "billing"]).done();
    let shown = cli.run(&["app", "show", "billing"]).done();
    assert!(shown.contains("status    disabled\n"), "{shown}");
    assert_eq!(fields(&shown)[4..], ["disabled", "version"]);
    cli.run(&["app", "show", "nobody"]).failed(3);
}

fn an_app_is_renamed_and_its_metadata_edited(cli: &Cli) {
    let create = [
        "app",
        "create",
        "Shop",
        "--id",
        "shop",
        "--metadata",
        "plan=free",
    ];
    let created = cli.run(&[&create[..], &["--json"]].concat()).json();
    assert_eq!(created["metadata"], serde_json::json!({ "plan": "free" }));
    let renamed = cli
        .run(&["app", "rename", "Shop", "Store", "--json"])
        .json();
    assert_eq!(
        (&renamed["id"], &renamed["name"]),
        (&"shop".into(), &"Store".into())
    );
    let edit = |more: &[&str]| cli.run(&[&["app", "edit", "Store"], more].concat());
    let version = renamed["version"].as_str().unwrap();
    let changes = ["--metadata", "owner=ada", "--remove-metadata", "plan"];
    edit(&[&changes[..], &["--if-version", version]].concat()).done();
    let shown = cli.run(&["app", "show", "shop"]).done();
    assert!(
        shown.contains("owner=ada") && !shown.contains("plan"),
        "{shown}"
    );
    let stale = edit(&["--name", "x", "--if-version", version]).failed(4);
    assert!(stale.contains("was changed since"), "{stale}");
    assert!(edit(&[]).failed(2).contains("--metadata"));
    cli.run(&["app", "rename", "shop", " "]).failed(2);
    cli.run(&["app", "rename", "nobody", "x"]).failed(3);
}

fn an_app_is_deleted_once_it_has_no_live_tokens(cli: &Cli) {
    let ids = [cli.issue("a", &[]).1, cli.issue("b", &[]).1];
    let in_use = cli.run(&["app", "delete", "Billing", "-y"]).failed(4);
    assert!(in_use.contains("(2)"), "{in_use}");
    for id in &ids {
        cli.run(&["token", "revoke", id, "-y"]).done();
    }
    let unconfirmed = cli.run(&["app", "delete", "Billing"]).failed(2);
    assert!(unconfirmed.contains("--yes"), "{unconfirmed}");
    let deleted = cli
        .run(&["app", "delete", "Billing", "-y", "--json"])
        .json();
    assert_eq!(deleted["id"], "billing");
    cli.run(&["app", "show", "billing"]).failed(3);
    cli.run(&["token", "show", &ids[0]]).failed(3);
    cli.run(&["app", "delete", "Billing", "-y"]).failed(3);
}
