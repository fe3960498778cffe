use tower_api_tokens::{ApiTokens, AppEdit, AppId, AppPrincipal, LifecycleError, MetadataPatch};

/// Runs when a customer changes their plan.
async fn set_plan(tokens: &ApiTokens, customer: &AppId, plan: &str) -> Result<(), LifecycleError> {
    let edit = AppEdit::default().metadata(MetadataPatch::default().set("plan", plan));
    tokens.edit_app(customer, None, edit).await.map(drop)
}

/// Returns the maximum number of rows that the caller's plan allows in an export.
fn row_limit(app: &AppPrincipal) -> usize {
    match app.app_metadata("plan") {
        Some("enterprise") => usize::MAX,
        Some("pro") => 1_000_000,
        _ => 1_000,
    }
}

async fn export(app: AppPrincipal) -> String {
    format!("up to {} rows", row_limit(&app))
}
