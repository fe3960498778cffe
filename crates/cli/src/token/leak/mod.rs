//! `token revoke --leaked`: revokes the tokens that are found in files.

mod report;
mod search;
mod walk;

use std::{path::PathBuf, pin::pin};

use futures_util::{StreamExt, TryStreamExt, stream};
use tower_api_tokens::{PageSize, TokenId};

use self::{
    report::{Found, Report},
    search::{Leak, Search},
    walk::Searched,
};
use super::revoke::Arguments;
use crate::{
    backend::{Context, Document, FoundToken, Revocation},
    failure::Failure,
    formats::Formats,
    note::note,
    number::count,
    output::{Listing, print_json, print_line},
    progress,
};

/// How many tokens are looked up at the same time.
const LOOKUPS: usize = 8;

pub(super) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    let (leaks, searched) = search(&arguments.leaked, context).await?;
    let (found, unknown) = look_up(leaks, context).await?;
    let mut report = Report {
        tokens: &found,
        unknown,
        unreadable: &searched.unreadable,
        unreadable_count: searched.unreadable_count,
        skipped: &searched.skipped,
        revoked: 0,
        batches: Vec::new(),
    };
    let live: Vec<_> = found.iter().filter(|found| found.is_live()).collect();
    // Output that cannot be written stops no revocation, unless it is what the user confirms.
    let unshown = match context.json {
        true => None,
        false => show(&live, &report).err(),
    };
    let asks = !arguments.dry_run && !arguments.confirmation.is_given();
    let unshown = match unshown {
        Some(failure) if asks => return Err(failure.before_change()),
        unshown => unshown,
    };
    // Before the question: the answer may depend on it.
    for unreadable in &searched.unreadable {
        note(&format!(
            "cannot read `{}`: {}",
            unreadable.path, unreadable.error
        ));
    }
    if let Some(skipped) = searched.skipped.describe() {
        note(&format!("Not searched: {skipped}."));
    }
    let revocations;
    let mut left = live.len() as u64;
    if !live.is_empty() && !arguments.dry_run {
        let question = format!(
            "Revoke {}? Requests with them will fail. This cannot be undone.",
            count(left, "token")
        );
        arguments.confirmation.ask(&question)?;
        let ids: Vec<_> = live.iter().map(|found| found.record.id).collect();
        revocations = revoke(&ids, context).await?;
        for revocation in &revocations {
            report.add(revocation);
        }
        left = match report.revoked < left {
            true => still_live(&ids, context).await?,
            false => 0,
        };
    }
    let printed = if context.json {
        print_json(&report)
    } else if report.revoked > 0 {
        let batches = report.batches.join(", ");
        print_line(&format!(
            "Revoked {} (batch {batches}).",
            count(report.revoked, "token")
        ))
    } else {
        Ok(())
    };
    outcome(left, &searched, arguments.dry_run)?;
    unshown.map_or(printed, Err)
}

/// Searches the files for tokens of the configured formats.
async fn search(
    paths: &[PathBuf],
    context: &Context<'_>,
) -> Result<(Vec<Leak>, Searched), Failure> {
    let formats = Formats::of(context.options)?.all();
    if formats.is_empty() {
        return Err(Failure::usage(
            "no token prefix given: pass `--prefix`, or set API_TOKENS_PREFIX, with the prefix that your service is configured with, so that its tokens can be recognized",
        ));
    }
    let paths = paths.to_owned();
    let spinner = progress::spin("Searching");
    let searching = tokio::task::spawn_blocking(move || {
        let (mut search, mut searched) = (Search::new(formats), Searched::default());
        for path in paths {
            searched.search(&path, &mut search)?;
        }
        Ok((search.leaks(), searched))
    });
    let searched = searching.await;
    spinner.finish_and_clear();
    match searched {
        Ok(Ok(searched)) => Ok(searched),
        Ok(Err(search::TooMany)) => Err(Failure::usage(
            "the text contains more than 100,000 different tokens: search fewer files at a time",
        )),
        Err(error) => Err(Failure::failed("cannot search for tokens").because(error)),
    }
}

/// Looks up the records of tokens. Returns them, and how many tokens have none.
async fn look_up(leaks: Vec<Leak>, context: &Context<'_>) -> Result<(Vec<Found>, u64), Failure> {
    let bar = progress::items("Looking up tokens", leaks.len() as u64);
    let lookups = stream::iter(leaks).map(|leak| {
        let bar = bar.clone();
        async move {
            let found = context.backend.find_token(&leak.token).await?;
            bar.inc(1);
            Ok::<_, Failure>(match found {
                FoundToken::Record(record) => Some(Found {
                    leak,
                    record: *record,
                }),
                FoundToken::Unknown | FoundToken::OtherFormat(_) => None,
            })
        }
    });
    let looked_up: Result<Vec<_>, _> = lookups.buffered(LOOKUPS).try_collect().await;
    bar.finish_and_clear();
    let looked_up = looked_up?;
    let total = looked_up.len();
    let found: Vec<_> = looked_up.into_iter().flatten().collect();
    let unknown = (total - found.len()) as u64;
    Ok((found, unknown))
}

fn show(live: &[&Found], report: &Report<'_>) -> Result<(), Failure> {
    let mut listing = Listing::new::<Found>(false);
    for found in live {
        listing.add(*found)?;
    }
    listing.end("No live token found.")?;
    let ended = (report.tokens.len() - live.len()) as u64;
    if ended > 0 {
        let found = count(ended, "token");
        note(&format!("Expired or revoked before: {found}."));
    }
    if report.unknown > 0 {
        let found = count(report.unknown, "token");
        note(&format!(
            "Without a record, because it was purged or belongs to another deployment: {found}."
        ));
    }
    Ok(())
}

async fn revoke(
    ids: &[TokenId],
    context: &Context<'_>,
) -> Result<Vec<Document<Revocation>>, Failure> {
    let spinner = progress::spin("Revoking");
    let mut revocations = Vec::new();
    for ids in ids.chunks(PageSize::MAX) {
        let revocation = context.backend.revoke_many(ids).await;
        revocations.push(revocation.map_err(|failure| {
            spinner.finish_and_clear();
            failure.advising_if_uncertain(|| {
                "Some of the tokens may be revoked. Repeat the command to revoke the others."
                    .to_owned()
            })
        })?);
    }
    spinner.finish_and_clear();
    Ok(revocations)
}

/// Names the tokens that were left out of a revocation, and returns their number.
async fn still_live(ids: &[TokenId], context: &Context<'_>) -> Result<u64, Failure> {
    let lookups = stream::iter(ids).map(|id| async move {
        let token = context.backend.token(*id).await?;
        Ok::<_, Failure>((id, token))
    });
    let mut lookups = pin!(lookups.buffered(LOOKUPS));
    let mut left = 0;
    while let Some((id, token)) = lookups.try_next().await? {
        if report::is_live(&token) {
            note(&format!(
                "Not revoked, because this command uses it: {id}. Replace it, and then run `api-tokens token revoke {id}`."
            ));
            left += 1;
        }
    }
    Ok(left)
}

/// The exit code shows whether live tokens are left, and whether everything was searched.
fn outcome(left: u64, searched: &Searched, dry_run: bool) -> Result<(), Failure> {
    if searched.unreadable_count > 0 {
        return Err(Failure::failed(format!(
            "could not search everything: {} cannot be read",
            count(searched.unreadable_count, "path")
        )));
    }
    match (left, dry_run) {
        (0, _) => Ok(()),
        (left, true) => Err(Failure::refused(format!(
            "found {}; nothing was changed",
            count(left, "live token")
        ))),
        (left, false) => Err(Failure::refused(format!(
            "not everything was revoked: {}",
            count(left, "token")
        ))),
    }
}
