use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AppId, Clock, MemoryStore, Mutation, Op, Policy, SystemClock, TokenDigest,
    TokenFormat, TokenRegistry, TokenRegistryExt, parse_instant,
    store::truncate_to_microsecond,
    transfer::{Completeness, FaultKind, Import, MAX_LINE_LEN, TransferErrorKind},
};

use crate::support::{
    adds_up, app_record, at, export, furnished, import, import_from, in_pieces, tokens,
};

const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A token's line with a part of it replaced.
fn line(part: &str, by: &str) -> String {
    let line = format!(
        r#"{{"token":{{"app":"app-1","digest":"{DIGEST}","name":"x","expires_at":"2027-01-01T00:00:00Z"}}}}"#
    );
    assert!(line.contains(part), "{part}");
    line.replace(part, by)
}

#[tokio::test]
async fn each_bad_line_is_reported_and_kept_and_the_others_are_imported() {
    let file = export(&furnished(20).await).await;
    let secret = "acme_7hJkQ2mNpRsTvWxYz3bCdEfGh9kLmN5pQ0aBcDe";
    let bad = [
        (FaultKind::Malformed, "{".to_owned()),
        (FaultKind::Malformed, "no JSON".to_owned()),
        (FaultKind::Malformed, "[]".to_owned()),
        (FaultKind::Malformed, r#""text""#.to_owned()),
        (FaultKind::Malformed, "{}".to_owned()),
        (FaultKind::Malformed, line("}}", "}} x")),
        (FaultKind::Malformed, "[".repeat(5000)),
        (FaultKind::InvalidField, line("\"name\"", "\"nme\"")),
        (
            FaultKind::InvalidField,
            line("\"name\"", &format!("\"{secret}\"")),
        ),
        (FaultKind::InvalidField, line("\"name\"", "\"app\"")),
        (FaultKind::InvalidField, line("}}", "},\"more\":1}")),
        (
            FaultKind::InvalidField,
            line("}}", r#","metadata":{"plan":1}}}"#),
        ),
        (
            FaultKind::InvalidField,
            line("}}", r#","metadata":{"":"no key"}}}"#),
        ),
        (
            FaultKind::InvalidField,
            line("}}", r#","created_by":"two\nlines"}}"#),
        ),
        (
            FaultKind::InvalidField,
            line(
                ",\"digest\"",
                ",\"id\":\"0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77\",\"digest\"",
            ),
        ),
        (
            FaultKind::InvalidField,
            line(&format!("\"{DIGEST}\""), "12"),
        ),
        (
            FaultKind::InvalidField,
            line(&format!("\"{DIGEST}\""), "null"),
        ),
        (FaultKind::InvalidField, line(DIGEST, secret)),
        (FaultKind::InvalidField, line("app-1", "no app")),
        (FaultKind::InvalidField, line("\"app-1\"", "[]")),
        (FaultKind::InvalidField, line("\"app-1\"", r#"{"id":"a"}"#)),
        (
            FaultKind::InvalidField,
            line("2027-01-01T00:00:00Z", secret),
        ),
        (
            FaultKind::InvalidField,
            line("2027-01-01T00:00:00Z", "2027-01-01"),
        ),
        (FaultKind::InvalidField, line("\"x\"", "\"\"")),
        (FaultKind::InvalidField, line("\"x\"", "\"a\\u0000b\"")),
        (FaultKind::InvalidField, line("\"x\"", "\"x\",\"uses\":-1")),
        (FaultKind::InvalidField, line("\"x\"", "\"x\",\"uses\":1.5")),
        (
            FaultKind::InvalidField,
            line("\"x\"", "\"x\",\"uses\":9223372036854775808"),
        ),
        (
            FaultKind::InvalidField,
            line("\"x\"", &format!("\"x\",\"mask\":\"{secret}\"")),
        ),
        (FaultKind::InvalidField, r#"{"end":{"apps":1}}"#.to_owned()),
        (
            FaultKind::Misplaced,
            r#"{"format":"tower-api-tokens","version":1}"#.to_owned(),
        ),
        (FaultKind::UnknownApp, line("app-1", "app-9")),
        (
            FaultKind::TooLong,
            line("\"x\"", &format!("\"{}\"", "x".repeat(2 * MAX_LINE_LEN))),
        ),
        (FaultKind::TooLong, "y".repeat(MAX_LINE_LEN + 1)),
    ];
    // A bad line after each good one, except the header.
    let (mut lines, mut places) = (Vec::new(), Vec::new());
    let mut good = file.lines();
    lines.push(good.next().unwrap());
    for (_, bad) in &bad {
        lines.extend(good.next().filter(|line| !line.starts_with("{\"end\"")));
        lines.push(bad);
        places.push(lines.len() as u64);
    }
    lines.extend(good);
    for size in [1, 100, 1 << 20] {
        let store = MemoryStore::new();
        let mixed = lines.join("\n");
        let imported = import_from(&store, in_pieces(mixed.as_bytes(), size)).await;
        assert_eq!(imported.report.read, 22 + bad.len() as u64);
        assert_eq!(
            (imported.report.inserted, imported.report.conflicts),
            (22, 0)
        );
        let kinds: Vec<_> = imported.faults.iter().map(|fault| fault.kind()).collect();
        let expected: Vec<_> = bad.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, expected, "{:#?}", imported.faults);
        let numbers: Vec<_> = imported.faults.iter().map(|fault| fault.line()).collect();
        assert_eq!(numbers, places);
        let kept: Vec<_> = imported.rejects.lines().collect();
        let sent: Vec<_> = bad.iter().map(|(_, line)| line.as_str()).collect();
        assert!(kept == sent, "the bad lines are kept as they were");
        let told = format!(
            "{:?}{}",
            imported.faults,
            imported
                .faults
                .iter()
                .map(|f| f.to_string())
                .collect::<String>()
        );
        for part in [DIGEST, secret, &DIGEST[..8], &secret[..8]] {
            assert!(!told.contains(part), "{told}");
        }
        assert_eq!(export(&store).await, file);
    }
}

#[tokio::test]
async fn a_time_is_read_like_everywhere_else() {
    let expiry = "2027-01-01T00:00:00Z";
    let store = MemoryStore::new();
    store.insert_app(&app_record(1)).await.unwrap();
    let refused = [
        "2027-01-01T00:00:00+24:00",
        "2027-01-01T00:00:00+01",
        "2027-01-01 00:00:00Z",
        "2027-01-01T00:00Z",
        "+002027-01-01T00:00:00Z",
    ];
    for text in refused {
        assert!(parse_instant(text).is_err(), "{text}");
        let imported = import(&store, line(expiry, text)).await;
        assert_eq!(imported.report.refused, 1, "{text}");
    }
    let read = [
        ("9999-12-31T23:59:59Z", Timestamp::MAX),
        (
            "2016-12-31T23:59:60.0000019Z",
            Timestamp::from_microsecond(1_483_228_800_000_001).unwrap(),
        ),
    ];
    for (text, expected) in read {
        let store = MemoryStore::new();
        store.insert_app(&app_record(1)).await.unwrap();
        assert_eq!(import(&store, line(expiry, text)).await.report.inserted, 1);
        let kept = tokens(&store).await[0].expires_at;
        assert_eq!(kept, Some(truncate_to_microsecond(expected)), "{text}");
    }
}

#[tokio::test]
async fn corrected_rejects_can_be_imported_on_their_own() {
    let file = export(&furnished(5).await).await;
    let store = MemoryStore::new();
    let broken = file.replace("\"name\":\"token 3\"", "\"name\":\"\"");
    let first = import(&store, broken).await;
    assert_eq!((first.report.inserted, first.report.refused), (6, 1));
    assert_eq!(first.report.completeness, Completeness::Complete);
    let mended = first
        .rejects
        .replace("\"name\":\"\"", "\"name\":\"token 3\"");
    let second = import(&store, mended).await.report;
    assert_eq!(
        (second.inserted, second.completeness),
        (1, Completeness::Unknown)
    );
    assert_eq!(export(&store).await, file);
}

#[tokio::test]
async fn a_line_of_the_longest_length_is_read() {
    let padding = " ".repeat(MAX_LINE_LEN - line("x", "x").len());
    for (end, refused) in [("", 0), ("\n", 0), (" ", 1), (" \n", 1)] {
        let store = MemoryStore::new();
        store.insert_app(&app_record(1)).await.unwrap();
        let file = line("x", "x") + &padding + end;
        for size in [1, 4096, 1 << 20] {
            let imported = import_from(&store, in_pieces(file.as_bytes(), size)).await;
            assert_eq!(imported.report.refused, refused);
        }
    }
}

#[tokio::test]
async fn a_truncated_file_is_recognized_at_every_length() {
    let file = export(&furnished(3).await).await;
    let (bytes, header) = (file.as_bytes(), file.find('\n').unwrap() + 1);
    for length in header..file.len() - 1 {
        let cut = import(&MemoryStore::new(), &bytes[..length]).await;
        assert_eq!(
            cut.report.completeness,
            Completeness::Incomplete,
            "{length}"
        );
        let in_midst = bytes[length - 1] != b'\n' && bytes[length] != b'\n';
        if in_midst {
            let [fault] = &cut.faults[..] else {
                panic!("{:?}", cut.faults);
            };
            assert_eq!(fault.kind(), FaultKind::Truncated);
        }
    }
    let whole = import(&MemoryStore::new(), file.trim_end()).await.report;
    assert_eq!(whole.completeness, Completeness::Complete);
}

#[tokio::test]
async fn a_file_that_lost_a_line_or_was_joined_to_another_is_recognized() {
    let file = export(&furnished(3).await).await;
    let lines: Vec<_> = file.lines().collect();
    for lost in 1..lines.len() - 1 {
        let mut lines = lines.clone();
        lines.remove(lost);
        let report = import(&MemoryStore::new(), lines.join("\n")).await.report;
        assert_eq!(report.completeness, Completeness::Incomplete);
    }
    let other = MemoryStore::new();
    other.insert_app(&app_record(9)).await.unwrap();
    let joined = file.clone() + &export(&other).await;
    let imported = import(&MemoryStore::new(), joined).await;
    assert_eq!(imported.report.completeness, Completeness::Incomplete);
    let kinds: Vec<_> = imported.faults.iter().map(|fault| fault.kind()).collect();
    assert_eq!(kinds, [FaultKind::Misplaced; 3]);
}

#[tokio::test]
async fn a_file_of_another_version_is_refused_immediately() {
    let file = export(&furnished(3).await).await;
    for (version, other) in [
        ("\"version\":1", "\"version\":2,\"codec\":\"zstd\""),
        ("\"version\":1", "\"version\":null"),
        ("tower-api-tokens", "something-else"),
    ] {
        let store = MemoryStore::new();
        let file = file.replace(version, other);
        let error = Import::new(&store).run(file.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), TransferErrorKind::Incompatible);
        assert!(error.to_string().contains("upgrade"));
        assert!(tokens(&store).await.is_empty());
    }
}

#[tokio::test]
async fn stop_at_fault_inserts_nothing_after_the_first_bad_line() {
    let file = export(&furnished(9).await).await;
    for (part, by, kind) in [
        (
            "\"name\":\"token 5\"",
            "\"name\":\"\"",
            FaultKind::InvalidField,
        ),
        (
            "\"app\":\"app-1\",\"name\":\"token 5\"",
            "\"app\":\"app-7\",\"name\":\"token 5\"",
            FaultKind::UnknownApp,
        ),
    ] {
        assert!(file.contains(part));
        let (store, mut faults, mut rejects) = (MemoryStore::new(), Vec::new(), Vec::new());
        let report = Import::new(&store)
            .stop_at_fault()
            .on_fault(|fault| faults.push(fault.clone()))
            .rejects(&mut rejects)
            .run(file.replace(part, by).as_bytes())
            .await
            .unwrap();
        adds_up(&report);
        assert_eq!((report.read, report.inserted, report.refused), (7, 6, 1));
        assert_eq!(report.completeness, Completeness::Stopped);
        assert_eq!((faults[0].line(), faults[0].kind()), (8, kind));
        assert_eq!(rejects.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(tokens(&store).await.len(), 4);
    }
}

#[tokio::test]
async fn progress_is_reported_up_to_the_last_byte_and_line() {
    let file = export(&furnished(2000).await).await + &line("x", "x") + &" ".repeat(MAX_LINE_LEN);
    let (store, mut told) = (MemoryStore::new(), Vec::new());
    let import = Import::new(&store).on_progress(|progress| told.push(progress));
    import.run(file.as_bytes()).await.unwrap();
    assert!(told.len() > 3 && told.is_sorted_by_key(|progress| progress.bytes));
    let last = told.last().unwrap();
    let lines = file.lines().count() as u64;
    assert_eq!((last.lines, last.bytes), (lines, file.len() as u64));
}

#[tokio::test]
async fn a_live_token_that_breaks_a_limit_to_a_format_is_a_bad_line() {
    let format = |prefix: &str| TokenFormat::new(prefix).unwrap();
    let limits = ApiTokens::builder(MemoryStore::new(), format("acme"))
        .with_issued_format(format("acme_test"))
        .limit_scope("pay".parse().unwrap(), "acme")
        .limit_app(AppId::new("sandbox").unwrap(), "acme_test")
        .build();
    let line = |number: u8, app: &str, mask: &str, more: &str| {
        let digest = TokenDigest::of(&[number]).to_hex();
        format!(
            "{{\"token\":{{\"app\":{{\"id\":\"{app}\",\"name\":\"x\"}},\"digest\":\"{digest}\"{mask}{more}}}}}\n"
        )
    };
    let (ours, theirs) = (",\"mask\":\"acme_…\"", ",\"mask\":\"legacy-…\"");
    let test = ",\"mask\":\"acme_test_…\"";
    let pay = ",\"scopes\":\"pay read\"";
    let good = [
        line(1, "app", ours, pay),
        line(2, "app", theirs, ""),
        line(3, "sandbox", test, ""),
        // What has expired or was revoked grants nothing.
        line(
            4,
            "app",
            theirs,
            &format!("{pay},\"revoked_at\":\"2026-01-01T00:00:00Z\""),
        ),
        line(5, "sandbox", "", ",\"expires_at\":\"2020-01-01T00:00:00Z\""),
    ];
    let bad = [
        line(6, "app", theirs, pay),
        line(7, "app", test, pay),
        line(8, "app", "", pay),
        line(9, "sandbox", ours, ""),
        line(
            10,
            "sandbox",
            "",
            ",\"expires_at\":\"9000-01-01T00:00:00Z\"",
        ),
    ];
    let (store, mut faults, mut rejects) = (MemoryStore::new(), Vec::new(), Vec::new());
    let file = format!("{}{}", good.concat(), bad.concat());
    let report = Import::new(&store)
        .formats(limits.formats())
        .on_fault(|fault| faults.push(fault.clone()))
        .rejects(&mut rejects)
        .run(file.as_bytes())
        .await
        .unwrap();
    assert_eq!((report.inserted, report.refused), (5, 5), "{faults:?}");
    assert_eq!(String::from_utf8(rejects).unwrap(), bad.concat());
    for (number, fault) in (6..).zip(&faults) {
        assert_eq!(
            (fault.line(), fault.kind()),
            (number, FaultKind::FormatNotAllowed)
        );
        assert!(
            fault
                .reason()
                .contains(" is limited to tokens of the format `acme")
        );
    }
    // Without the formats, there are no limits.
    let report = Import::new(&store).run(file.as_bytes()).await.unwrap();
    assert_eq!((report.inserted, report.already_present), (5, 5));
}

#[tokio::test]
async fn a_line_that_the_policy_does_not_allow_is_refused_and_the_others_are_imported() {
    let (store, file) = (MemoryStore::new(), export(&furnished(20).await).await);
    let policy = Policy::default().scopes("invoices:read".parse().unwrap());
    let op = Op::SetPolicy {
        version: None,
        policy: policy.clone(),
    };
    store.apply(&Mutation::new(op, at(0))).await.unwrap();
    let imported = import(&store, &file).await;
    adds_up(&imported.report);
    assert!(imported.report.faults() > 0);
    for fault in &imported.faults {
        assert_eq!(fault.kind(), FaultKind::PolicyViolation);
        assert!(fault.reason().contains("leave these scopes out"), "{fault}");
    }
    let now = SystemClock::default().now();
    for token in tokens(&store).await {
        let has_ended = token.expired_or_revoked_at(now).is_some();
        assert!(has_ended || policy.check_scopes(&token).is_ok());
    }
}
