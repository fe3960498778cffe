use std::{collections::HashMap, error::Error, ffi::OsString};

use proptest::prelude::*;
use sqlx::postgres::PgSslMode;
use tower_api_tokens::StoreErrorKind;

use super::*;

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Settings, StoreError> {
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    read(text, &|name| environment.get(name).map(OsString::from))
}

/// Where it leads: user, host, port and database.
fn target(text: &str) -> String {
    let options = read_with(text, &[])
        .unwrap_or_else(|error| panic!("{text}: {error:?}"))
        .options;
    let database = options.get_database().unwrap_or("-");
    let (user, host, port) = (
        options.get_username(),
        options.get_host(),
        options.get_port(),
    );
    format!("{user} {host} {port} {database}")
}

/// The password, which the driver shows nowhere else.
fn password(text: &str, environment: &[(&str, &str)]) -> String {
    let options = read_with(text, environment).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let shown = format!("{:?}", options.options);
    let (_, rest) = shown.split_once("password: Some(\"").unwrap();
    let (password, _) = rest.split_once("\"), database").unwrap();
    password
        .replace("\\\"", "\"")
        .replace("\\'", "'")
        .replace("\\\\", "\\")
}

fn refusal(text: &str) -> String {
    let error = read_with(text, &[])
        .err()
        .unwrap_or_else(|| panic!("{text:?} is taken"));
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    error.source().unwrap().to_string()
}

#[test]
fn addresses_are_parsed_as_by_psql() {
    for (text, expected) in [
        ("postgres://u@[::1]:5433/db", "u ::1 5433 db"),
        ("postgresql://u@[2001:db8::7]/db", "u 2001:db8::7 5432 db"),
        ("postgres://u@[fe80::1%25eth0]/db", "u fe80::1%eth0 5432 db"),
        ("postgres://u@/db?host=::1&port=5433", "u ::1 5433 db"),
        ("postgres://u@/db?host=[::1]", "u ::1 5432 db"),
        ("postgres://u@/db?hostaddr=::1", "u ::1 5432 db"),
        ("postgres://u@a/db?host=b", "u b 5432 db"),
        ("postgres://u@a?user=v&dbname=d", "v a 5432 d"),
        (
            "postgres://u@%2Frun%2Fpostgresql:5433/db",
            "u /run/postgresql 5433 db",
        ),
        (
            "postgres://u@/db?host=/run/postgresql",
            "u /run/postgresql 5432 db",
        ),
        (
            "postgres:///db?host=/tmp/a%20b&user=u",
            "u /tmp/a b 5432 db",
        ),
        ("postgres://u%40x:p@h/d%2Fb", "u@x h 5432 d/b"),
        ("postgres://u@h:/d", "u h 5432 d"),
        ("postgres://u@h:%35433", "u h 5433 -"),
        ("postgres://u@h?ssl=true", "u h 5432 -"),
        ("postgres://u@h?application_name=a@b/c@d", "u h 5432 -"),
        ("host=::1 port=5433 dbname=db user=u", "u ::1 5433 db"),
        ("host = h  user='u v' dbname = 'it\\'s'", "u v h 5432 it's"),
        ("host=h user=u\\ v dbname=", "u v h 5432 -"),
        ("hostaddr=127.0.0.1 user=u host=/run", "u 127.0.0.1 5432 -"),
    ] {
        assert_eq!(target(text), expected, "{text}");
    }
}

#[test]
fn passwords_are_parsed_as_by_psql() {
    for (text, expected) in [
        ("postgres://u:a:b@h/d", "a:b"),
        ("postgres://u:a?b#c[d]&e=f@h/d", "a?b#c[d]&e=f"),
        ("postgres://u:a+b@h/d", "a+b"),
        ("postgres://u:a%40b%2Fc%25@h/d", "a@b/c%"),
        // Nobody's host has an `@`.
        ("postgres://u:a@b@h/d", "a@b"),
        ("postgres://u:a@@h", "a@"),
        ("postgres://u@h/d?password=a+b#c/d", "a+b#c/d"),
        ("postgres://u:x@h/d?password=y", "y"),
        ("host=h password='a b\\\\c'", "a b\\c"),
        ("host=h password=a@b/c", "a@b/c"),
        ("postgres://u:%C3%A9@h", "é"),
    ] {
        assert_eq!(password(text, &[]), expected, "{text}");
    }
}

#[test]
fn missing_parameters_come_from_the_environment() {
    let environment = [
        ("PGHOST", "::1"),
        ("PGPORT", "5433"),
        ("PGUSER", "u"),
        ("PGDATABASE", "db"),
        ("PGPASSWORD", "secret"),
        ("PGAPPNAME", "edge"),
    ];
    let options = read_with("postgres://", &environment).unwrap().options;
    assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
    assert_eq!(
        (options.get_username(), options.get_database()),
        ("u", Some("db"))
    );
    assert_eq!(options.get_application_name(), Some("edge"));
    assert_eq!(password("postgres://", &environment), "secret");
    let options = read_with("postgres://v@h:1/x", &environment)
        .unwrap()
        .options;
    assert_eq!((options.get_host(), options.get_port()), ("h", 1));
    // An address in the environment is where it leads, as in libpq.
    let options = read_with("postgres://v@localhost/x", &[("PGHOSTADDR", "::1")])
        .unwrap()
        .options;
    assert_eq!(options.get_host(), "::1");
    for (variable, value, expected) in [
        ("PGPORT", "none", "port"),
        ("PGSSLMODE", "maybe", "PGSSLMODE"),
        ("PGHOSTADDR", "h", "PGHOSTADDR"),
        ("PGHOST", "a,b", "several hosts"),
        ("PGSERVICE", "s", "PGSERVICE"),
        ("PGREQUIREAUTH", "none", "PGREQUIREAUTH"),
    ] {
        let error = read_with("postgres://u@", &[(variable, value)])
            .err()
            .unwrap();
        let refused = error.source().unwrap().to_string();
        assert!(refused.contains(expected), "{variable}: {refused}");
    }
}

#[test]
fn passwords_are_read_only_from_a_private_file() {
    use std::{fs, os::unix::fs::PermissionsExt};

    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join(".pgpass");
    fs::write(
        &path,
        "#h:*:*:*:commented\nno colon\nh:5433:db:u:other port\nh:*:db:u:a\\:b\\\\c\n\
         localhost:5432:*:u:by socket\n\\:\\:1:*:*:*:six",
    )
    .unwrap();
    let home = [("HOME", directory.path().to_str().unwrap())];
    let file = [("PGPASSFILE", path.to_str().unwrap())];
    for environment in [&home, &file] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for (text, expected) in [
            ("postgres://u@h/db", "a:b\\c"),
            ("postgres://u@h:5433/db", "other port"),
            ("postgres://u@[::1]/db", "six"),
            ("postgres://u@/db?host=/tmp", "by socket"),
            ("postgres://u@h/another", ""),
            ("postgres://u:given@h/db", "given"),
        ] {
            assert_eq!(password(text, environment), expected, "{text}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(password("postgres://u@h/db", environment), "");
    }
}

/// The modes that are tried.
fn modes(text: &str, environment: &[(&str, &str)]) -> Vec<&'static str> {
    let settings = read_with(text, environment).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let name = |mode: &PgSslMode| match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    };
    settings.modes.iter().map(name).collect()
}

#[test]
fn remote_servers_are_verified_by_default() {
    for (text, expected) in [
        ("postgres://u@db.internal/d", &["verify-full"][..]),
        ("postgres://u@10.0.0.1/d", &["verify-full"]),
        ("postgres://u@[2001:db8::7]/d", &["verify-full"]),
        ("postgres://u@localhost.evil.example/d", &["verify-full"]),
        ("postgres://u@127.0.0.1.evil.example/d", &["verify-full"]),
        ("postgres://u@0.0.0.0/d", &["verify-full"]),
        ("host=db.internal", &["verify-full"]),
        (
            "postgres://u@localhost/d?hostaddr=10.0.0.1&sslmode=require",
            &["require"],
        ),
        ("postgres://u@LocalHost/d", &["prefer", "disable"]),
        ("postgres://u@127.0.0.2/d", &["prefer", "disable"]),
        ("postgres://u@[::1]/d", &["prefer", "disable"]),
        ("postgres://u@[::ffff:127.0.0.1]/d", &["prefer", "disable"]),
        (
            "postgres://u@db.internal/d?hostaddr=::1",
            &["prefer", "disable"],
        ),
        (
            "postgres://u@/d?host=/tmp&sslmode=verify-full",
            &["disable"],
        ),
        ("postgres://u@db.internal/d?sslmode=disable", &["disable"]),
        (
            "postgres://u@db.internal/d?sslmode=prefer",
            &["prefer", "disable"],
        ),
        (
            "postgres://u@db.internal/d?sslmode=allow",
            &["disable", "require"],
        ),
        ("postgres://u@db.internal/d?sslmode=require", &["require"]),
        (
            "postgres://u@db.internal/d?sslmode=require&sslrootcert=/r",
            &["verify-ca"],
        ),
        (
            "postgres://u@db.internal/d?sslmode=verify-ca&sslrootcert=/r",
            &["verify-ca"],
        ),
        (
            "postgres://u@db.internal/d?sslrootcert=/r",
            &["verify-full"],
        ),
        (
            "postgres://u@localhost/d?sslmode=verify-full",
            &["verify-full"],
        ),
        (
            "postgres://u@localhost/d?sslrootcert=system",
            &["verify-full"],
        ),
    ] {
        assert_eq!(modes(text, &[]), expected, "{text}");
    }
    let url = "postgres://u@db.internal/d";
    assert_eq!(modes(url, &[("PGSSLMODE", "disable")]), ["disable"]);
    assert_eq!(modes(url, &[("PGSSLMODE", "")]), ["verify-full"]);
    let root = [("PGSSLMODE", "require"), ("PGSSLROOTCERT", "/r")];
    assert_eq!(modes(url, &root), ["verify-ca"]);
    let home = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(home.path().join(".postgresql")).unwrap();
    std::fs::write(home.path().join(".postgresql/root.crt"), "").unwrap();
    let home = [("HOME", home.path().to_str().unwrap())];
    assert_eq!(
        modes(&format!("{url}?sslmode=require"), &home),
        ["verify-ca"]
    );
}

#[test]
fn invalid_and_unsupported_parameters_are_rejected() {
    for (text, expected) in [
        ("", "postgres://user:password@host"),
        ("tokens", "postgres://user:password@host"),
        ("mysql://u:p@h/d?a=b", "postgres://user:password@host"),
        ("postgres:/u@h", "postgres://user:password@host"),
        ("postgres://u@a,b/d", "several hosts"),
        ("postgres://u@a:1,b:2/d", "several hosts"),
        ("postgres://u@[::1],b/d", "several hosts"),
        ("host=a,b", "several hosts"),
        ("host=a port=1,2", "several hosts"),
        ("host=@abstract", "abstract"),
        ("postgres://u@[::1/d", "closing `]`"),
        ("postgres://u@[::1]x/d", "after the IPv6 address"),
        ("postgres://u@h:0/d", "port"),
        ("postgres://u@h:65536/d", "port"),
        ("postgres://u@h:x/d", "port"),
        ("postgres://u@h/d?none=x", "parameter 1"),
        ("postgres://u@h/d?port=1&dbname", "parameter 2"),
        ("postgres://u:%zz@h/d", "%25"),
        ("postgres://u:%4@h/d", "%25"),
        ("postgres://u:%FF@h/d", "UTF-8"),
        ("postgres://u:%00@h/d", "NUL"),
        ("host=h\0 user=u", "NUL"),
        ("postgres://u:a/b@h/d", "%2F"),
        ("postgres://u:Sup3r@Secret/Word@host", "%2F"),
        ("host=h user", "parameter 2"),
        ("host=h none=x", "parameter 2"),
        ("host=h password='x", "quote"),
        ("host=h hostaddr=x", "`hostaddr`"),
        ("host=h hostaddr=10.0.0.1", "give only one of them"),
        ("host=h sslmode=maybe", "verify-full"),
        ("host=h sslmode=verify-ca", "`sslrootcert`"),
        ("host=h sslmode=require sslrootcert=system", "verify-full"),
        ("host=h channel_binding=require", "`channel_binding`"),
        ("host=h require_auth=none", "`require_auth`"),
        ("host=h target_session_attrs=read-write", "`any` or"),
        (
            "host=h statement-cache-capacity=x",
            "`statement-cache-capacity`",
        ),
    ] {
        let refused = refusal(text);
        assert!(refused.contains(expected), "{text:?}: {refused}");
    }
}

#[test]
fn options_and_settings_are_passed_to_the_server() {
    let text =
        "postgres://u@h?options=-c%20geqo%3Doff%20-c%20search_path%3Da\\%20b&options[jit]=off";
    let options = read_with(text, &[]).unwrap().options;
    assert_eq!(
        options.get_options(),
        Some("-c geqo=off -c search_path=a\\ b -c jit=off")
    );
    assert_eq!(
        read_with("postgres://u@h", &[])
            .unwrap()
            .options
            .get_options(),
        None
    );
    let text = "host=h options='-c geqo=off' statement-cache-capacity=0";
    let settings = read_with(text, &[]).unwrap();
    assert_eq!(settings.options.get_options(), Some("-c geqo=off"));
    assert!(!settings.keeps_statements);
}

proptest! {
    #[test]
    fn parsing_never_panics_and_errors_repeat_no_input(
        text in "(postgres(ql)?://|host=)?[QXZJ79@/:?#%&=,+ \\[\\]'\"\\\\é\0\n-]{0,40}",
    ) {
        if let Err(error) = read_with(&text, &[]) {
            let shown = format!("{error} {error:?} {}", error.source().unwrap());
            let given: Vec<char> = text.chars().collect();
            for piece in given.windows(4) {
                let secret = piece.iter().filter(|c| "QXZJ79é".contains(**c)).count() >= 2;
                let piece: String = piece.iter().collect();
                prop_assert!(!secret || !shown.contains(&piece), "{piece:?} of {text:?}: {shown}");
            }
        }
    }

    #[test]
    fn encoded_values_round_trip(user in "\\PC{1,12}", password in "\\PC{0,20}", database in "\\PC{1,12}") {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
        let url = format!("postgres://{}:{}@h/{}", encode(&user), encode(&password), encode(&database));
        let options = read_with(&url, &[]).unwrap().options;
        prop_assert_eq!(options.get_username(), &user);
        prop_assert_eq!(options.get_database(), Some(&*database));
        let quote = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let pairs = format!("host=h user='{}' password='{}'", quote(&user), quote(&password));
        let options = read_with(&pairs, &[]).unwrap().options;
        prop_assert_eq!(options.get_username(), &user);
    }
}
