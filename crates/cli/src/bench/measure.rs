//! Measures stores.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use indicatif::ProgressBar;
use tower_api_tokens::{
    Answer, AppId, AppQuery, StoreError, TokenDigest, TokenRegistry, TokenStore,
    testing::latency::{Comparison, ComparisonError, Kind, LoadTest, Phase, Progress},
};

use super::{
    arguments::{Arguments, Load},
    names::check_names,
    seed,
};
use tower_api_tokens_sqlx::Driver;

use crate::{
    failure::Failure,
    options::Options,
    progress,
    session::{Purpose, Session, no_store},
};

/// A load test fills an empty store, which may be in memory.
const PURPOSE: Purpose = Purpose::Fill { in_memory: true };

/// The longest measurement: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A store to measure, with the app that was added to it.
struct Opened {
    session: Session,
    app: Option<AppId>,
}

/// Measures all stores in the options at the same rate.
pub(super) async fn measure(
    arguments: &Arguments,
    options: &Options,
) -> Result<Comparison, Failure> {
    let load = &arguments.load;
    if load.miss + load.unknown + load.garbage + load.revoked > 1.0 + 1e-9 {
        return Err(Failure::usage(
            "`--miss`, `--unknown`, `--garbage` and `--revoked` add up to more than 100%; cache hits make up the rest",
        ));
    }
    let duration = Duration::try_from_secs_f64(load.seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| {
            Failure::usage(
                "`--seconds` is too long: a measurement takes at most a day, 86,400 seconds",
            )
        })?;
    let urls: Vec<_> = options.store.iter().filter(|url| !url.is_empty()).collect();
    if urls.is_empty() {
        return Err(no_store());
    }
    check_names(&arguments.names, urls.len(), "stores")?;
    let names: Vec<_> = (0..)
        .zip(&urls)
        .map(|(n, url)| match arguments.names.get(n) {
            Some(name) => &**name,
            None => default_name(url),
        })
        .collect();
    for (n, name) in names.iter().enumerate() {
        if names[..n].contains(name) {
            return Err(Failure::usage(format!(
                "several stores are named `{name}`: give each its own `--name`, in the same order",
            )));
        }
    }
    let mut opened = Vec::new();
    let bar = progress::items("Preparing", 0);
    let measured = async {
        let mut tests = Vec::new();
        for (url, name) in urls.into_iter().zip(names) {
            let session = Session::open_at(url, options, PURPOSE).await?;
            opened.push(Opened { session, app: None });
            if let Some(opened) = opened.last_mut() {
                tests.push(opened.prepare(name, load, &bar).await?);
            }
        }
        let comparison = match load.rate {
            Some(rate) => Comparison::measure_at(&mut tests, rate, duration).await?,
            None => Comparison::measure(&mut tests, duration).await?,
        };
        Ok(comparison)
    };
    let measured: Result<_, Failure> = measured.await;
    bar.finish_and_clear();
    // The inserted tokens are of no further use, even if measuring failed.
    let mut closed = Ok(());
    for opened in opened {
        closed = closed.and(opened.close().await);
    }
    let measured = measured?;
    closed.map(|()| measured)
}

/// The default name of a store. It repeats no part of the URL, which may hold a password.
fn default_name(url: &str) -> &'static str {
    Driver::of_url(url).map_or("store", Driver::name)
}

impl Opened {
    async fn prepare(
        &mut self,
        name: &str,
        load: &Load,
        bar: &ProgressBar,
    ) -> Result<LoadTest, Failure> {
        let session = &self.session;
        let query = AppQuery::default().limit(1);
        if !load.add_to_existing && !session.registry.apps(&query).await?.items.is_empty() {
            return Err(Failure::refused(
                "the store already holds apps: use an empty store, or pass `--add-to-existing` to add an app for the test and disable it afterwards",
            ));
        }
        let app = session.operator.create_app("Load test").await?;
        self.app = Some(app.id);
        let seeded = seed::insert(&*session.registry, &app, load.tokens).await?;
        let test = LoadTest::builder(Store(Arc::clone(&session.registry)))
            .name(name)
            .format(seeded.format)
            .with_live(seeded.live.iter().map(|token| token.expose()))
            .with_revoked(seeded.revoked.iter().map(|token| token.expose()))
            .share(Kind::Miss, load.miss)
            .share(Kind::Unknown, load.unknown)
            .share(Kind::Garbage, load.garbage)
            .share(Kind::Revoked, load.revoked)
            .skew(load.skew)
            .concurrency(load.concurrency)
            .on_progress(show_progress(bar.clone(), name));
        Ok(test.prepare().await.map_err(ComparisonError::from)?)
    }

    async fn close(self) -> Result<(), Failure> {
        let disabled = match &self.app {
            Some(app) => self.session.operator.disable_app(app).await.map(|_| ()),
            None => Ok(()),
        };
        self.session.close().await;
        disabled.map_err(Failure::from)
    }
}

fn show_progress(bar: ProgressBar, name: &str) -> impl FnMut(Progress) + Send + use<> {
    let name = name.to_owned();
    move |progress| {
        let doing = match progress.phase {
            Phase::Preparing => "Preparing",
            Phase::Saturating => "Saturating",
            _ => "Measuring",
        };
        bar.set_message(format!("{doing} {name}"));
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    }
}

/// Presents the registry as a store.
#[derive(Debug)]
struct Store(Arc<dyn TokenRegistry>);

#[async_trait]
impl TokenStore for Store {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.0.find(digest).await
    }
}
