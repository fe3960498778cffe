//! Run `cargo run -p example-rate-limits`, and then the command that it prints several times. Ctrl-C stops
//! it.

use std::{env, error::Error, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use example_rate_limits::{plans::PlanLimits, refusals::RefusalLimit, service};
use governor::{Quota, clock::DefaultClock};
use tokio::{net::TcpListener, signal, time::interval};
use tower_api_tokens::{ApiTokens, AppEdit, MemoryStore, MetadataPatch, NewToken, TokenFormat};

/// How many refused requests a client may send at once. One is added each second.
const REFUSALS: NonZeroU32 = NonZeroU32::new(60).unwrap();

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    let plans = Arc::new(PlanLimits::new());
    let quota = Quota::per_second(NonZeroU32::MIN).allow_burst(REFUSALS);
    let refusals = Arc::new(RefusalLimit::new(quota, DefaultClock::default()));
    let service = service(&tokens, &plans, Arc::clone(&refusals));

    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:3004".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    for plan in ["free", "pro"] {
        let app = tokens.create_app(plan).await?;
        let edit = AppEdit::default().metadata(MetadataPatch::default().set("plan", plan));
        tokens.edit_app(&app.id, None, edit).await?;
        let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;
        let token = issued.token().expose();
        println!(
            "try, on plan {plan}: curl -i -H 'Authorization: Bearer {token}' http://{address}/invoices"
        );
    }
    tokio::spawn(async move {
        let mut minutes = interval(Duration::from_secs(60));
        loop {
            minutes.tick().await;
            plans.sweep();
            refusals.sweep();
        }
    });
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async { signal::ctrl_c().await.unwrap_or_default() })
        .await?;
    Ok(())
}
