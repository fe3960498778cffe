use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*};
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, MaskedToken, MemoryStore, Metadata, Scope, ScopeSet, TokenDigest,
    TokenId, TokenRecord, TokenRegistry, TokenRegistryExt,
    transfer::{Completeness, Import, TransferErrorKind},
};

use crate::support::{adds_up, export, furnished, import, tokens};

fn time() -> impl Strategy<Value = Timestamp> {
    let (min, max) = (
        Timestamp::MIN.as_microsecond(),
        Timestamp::MAX.as_microsecond(),
    );
    (min..=max).prop_map(|at| Timestamp::from_microsecond(at).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    "[^\\p{C}\\p{Z}\\s][^\\p{Cc}\\u{2028}\\u{2029}]{0,98}[^\\p{C}\\p{Z}\\s]"
}

prop_compose! {
    fn metadata()(entries in vec(("[^\\p{Cc}]{1,40}", "[^\u{0}]{0,100}"), 0..20)) -> Metadata {
        Metadata::new(entries).unwrap()
    }
}

prop_compose! {
    fn app()(id in "[a-zA-Z0-9][a-zA-Z0-9._~-]{0,39}", name in name(), created_at in time(), disabled_at in option::of(time()), metadata in metadata()) -> AppRecord {
        let mut app = AppRecord::new(AppId::new(&id).unwrap(), name, created_at);
        app.disabled_at = disabled_at;
        app.metadata = metadata;
        app
    }
}

prop_compose! {
    fn token(app: AppRecord)(
        (id, digest) in any::<([u8; 16], [u8; 32])>(),
        (head, tail) in ("[!-~]{0,24}", "[!-~]{0,4}"),
        name in name(),
        scopes in vec("[!#-\\[\\]-~]{1,100}", 0..10),
        (restrictions, created_by) in (option::of("[ -~]{1,200}"), option::of("[^\\p{Cc}]{0,50}")),
        metadata in metadata(),
        created_at in time(),
        times in [option::of(time()), option::of(time()), option::of(time())],
        successor in any::<Option<[u8; 16]>>(),
        uses in 0..=i64::MAX.unsigned_abs(),
    ) -> TokenRecord {
        let mask = MaskedToken::new(&head, &tail).unwrap();
        let (id, digest) = (TokenId::from_bytes(id), TokenDigest::from_bytes(digest));
        let mut token = TokenRecord::new(id, digest, mask, app.clone(), name, created_at);
        token.scopes = ScopeSet::new(scopes.iter().map(|s| Scope::new(s).unwrap())).unwrap();
        token.restrictions = restrictions.map(|text| text.parse().unwrap());
        [token.expires_at, token.revoked_at, token.last_used_at] = times;
        token.successor = successor.map(TokenId::from_bytes);
        token.uses = uses;
        (token.metadata, token.created_by) = (metadata, created_by);
        token
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_records_round_trip((app, tokens_of_app) in app().prop_flat_map(|app| (Just(app.clone()), vec(token(app), 0..20)))) {
        block_on(async {
            let (old, new) = (MemoryStore::new(), MemoryStore::new());
            old.insert_app(&app).await.unwrap();
            let _ = old.insert_all(&tokens_of_app).await;
            let file = export(&old).await;
            let imported = import(&new, &file).await;
            prop_assert_eq!(imported.report.faults(), 0, "{:?}", imported.faults);
            prop_assert_eq!(imported.report.completeness, Completeness::Complete);
            prop_assert_eq!(tokens(&new).await, tokens(&old).await);
            prop_assert_eq!(export(&new).await, file);
            Ok(())
        })?;
    }

    #[test]
    fn every_line_of_a_damaged_file_is_counted(
        edits in vec((any::<prop::sample::Index>(), 0..200_usize, vec(any::<u8>(), 0..200)), 1..5),
    ) {
        block_on(async {
            let mut file = export(&furnished(12).await).await.into_bytes();
            for (at, length, by) in &edits {
                let at = at.index(file.len() + 1);
                let end = (at + length).min(file.len());
                file.splice(at..end, by.iter().copied());
            }
            check_garbage(&file).await
        })?;
    }

    #[test]
    fn garbage_is_refused_line_by_line(file in vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'{'), Just(b'"')], 0..2000)) {
        block_on(check_garbage(&file))?;
    }
}

/// Each line that is not empty is inserted, already present, or reported and rejected.
async fn check_garbage(file: &[u8]) -> Result<(), TestCaseError> {
    let (store, mut rejects) = (MemoryStore::new(), Vec::new());
    let import = Import::new(&store).rejects(&mut rejects).run(file);
    let report = match import.await {
        Ok(report) => report,
        Err(error) => {
            prop_assert_eq!(error.kind(), TransferErrorKind::Incompatible);
            return Ok(());
        }
    };
    adds_up(&report);
    let lines = |text: &[u8]| -> Vec<Vec<u8>> {
        let lines = text.split(|byte| *byte == b'\n');
        let filled = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
        filled.map(<[u8]>::to_vec).collect()
    };
    let (all, rejected) = (lines(file), lines(&rejects));
    // A header and an end are not records.
    let read = (all.len() as u64).saturating_sub(2)..=all.len() as u64;
    prop_assert!(
        read.contains(&report.read),
        "{} lines, {:?}",
        all.len(),
        report
    );
    prop_assert_eq!(rejected.len() as u64, report.faults());
    prop_assert!(rejected.iter().all(|line| all.contains(line)));
    let apps = store.apps(&AppQuery::default()).await.unwrap().items.len();
    let kept = tokens(&store).await.len() + apps;
    prop_assert_eq!(kept as u64, report.inserted + report.apps_created);
    Ok(())
}
