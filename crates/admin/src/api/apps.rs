use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use tower_api_tokens::{AppEdit, AppId, AppQuery, AppRecord, NewApp};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    cursor::Listing,
    extract::{Body, Id, IfMatch, IfMatchText, NoParams, Params, Patch},
    fields::{AppIdText, Cursor, Limit, Name, NamePart},
    tagged,
    values::{MetadataChanges, MetadataText, present},
};
use crate::{operations::Operator, problem::Problem, view::AppView};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/apps", get(list_apps).post(create_app))
        .route(
            "/apps/{app}",
            get(get_app).patch(edit_app).delete(delete_app),
        )
        .route("/apps/{app}/disable", post(disable_app))
        .route("/apps/{app}/enable", post(enable_app))
}

#[derive(OpenApi)]
#[openapi(paths(
    list_apps,
    create_app,
    get_app,
    edit_app,
    delete_app,
    disable_app,
    enable_app
))]
pub(super) struct Paths;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AppParams {
    /// Return only apps whose name contains this text. Ignores the case of ASCII letters.
    #[param(inline, nullable = false)]
    name: Option<NamePart>,
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
}

/// A page of apps.
#[derive(Serialize, ToSchema)]
#[schema(as = AppPage)]
pub(super) struct AppPageView<'r> {
    /// The apps, sorted by identifier.
    items: Vec<AppView<'r>>,
    /// The cursor of the next page, or null on the last page.
    #[schema(required)]
    next: Option<String>,
}

/// The app to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApp)]
pub(super) struct NewAppBody {
    /// The identifier of the app in your platform. If null or absent, a new one is generated.
    #[schema(inline)]
    id: Option<AppIdText>,
    #[schema(inline)]
    name: Name,
    /// The metadata of the app: at most 8,192 bytes for all keys and values. Requires an actor who may grant
    /// everything.
    #[serde(default)]
    #[schema(inline)]
    metadata: MetadataText,
}

/// What to change in an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(super) struct EditApp {
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    name: Option<Name>,
    /// The keys to set, and those to remove, with null. Requires an actor who may grant everything.
    #[serde(default, deserialize_with = "present")]
    #[schema(inline, nullable = false)]
    metadata: Option<MetadataChanges>,
}

/// List apps.
#[utoipa::path(
    get, path = "/apps", tag = "apps", params(AppParams),
    responses((status = OK, description = "A page of apps.", body = AppPageView))
)]
pub(super) async fn list_apps(
    Extension(operator): Extension<Operator>,
    listing: Listing,
    Params(params): Params<AppParams>,
) -> Result<Response, Problem> {
    let mut query = AppQuery::default().limit(Limit::of(params.limit));
    query.name = params.name.map(|NamePart(part)| part);
    if let Some(Cursor(cursor)) = params.cursor {
        query = query.after(listing.position(&cursor, app_id)?);
    }
    let page = operator.list_apps(&query).await?;
    let view = AppPageView {
        items: page.items.iter().map(AppView::from).collect(),
        next: page.next.map(|app| listing.cursor(app.as_str().as_bytes())),
    };
    Ok(Json(view).into_response())
}

fn app_id(position: &[u8]) -> Option<AppId> {
    AppId::new(str::from_utf8(position).ok()?).ok()
}

/// Create an app.
#[utoipa::path(
    post, path = "/apps", tag = "apps", request_body = NewAppBody,
    responses(
        (status = CREATED, description = "The new app.", body = AppView,
            headers(("Location" = String, description = "The URL of the new app, relative to the request."))),
        (status = CONFLICT, description = "An app with this identifier already exists."),
        (status = UNPROCESSABLE_ENTITY, description = "The metadata is too large."),
    )
)]
pub(super) async fn create_app(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Body(new): Body<NewAppBody>,
) -> Result<Response, Problem> {
    let id = new.id.map(|AppIdText(id)| id);
    let new = NewApp::named(new.name.0)
        .id(id)
        .metadata(new.metadata.read()?);
    let app = operator.create_app(new).await?;
    let location = [(LOCATION, format!("apps/{}", app.id))];
    Ok((StatusCode::CREATED, location, shown(&app)).into_response())
}

/// Get an app.
#[utoipa::path(
    get, path = "/apps/{app}", tag = "apps", params(("app" = inline(AppIdText), Path)),
    responses(
        (status = OK, description = "The app.", body = AppView),
        (status = NOT_FOUND, description = "The app does not exist."),
    )
)]
pub(super) async fn get_app(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(AppIdText(id)): Id<AppIdText>,
) -> Result<Response, Problem> {
    let app = operator.get_app(&id).await?;
    Ok(shown(&app))
}

/// Edit an app.
///
/// A JSON merge patch (RFC 7396). Absent fields stay the same.
#[utoipa::path(
    patch, path = "/apps/{app}", tag = "apps",
    request_body(content(
        (EditApp = "application/merge-patch+json"),
        (EditApp = "application/json"),
    )),
    params(
        ("app" = inline(AppIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The edited app.", body = AppView),
        (status = NOT_FOUND, description = "The app does not exist."),
        (status = PRECONDITION_FAILED, description = "The app has another version."),
        (status = UNPROCESSABLE_ENTITY, description = "The metadata would be too large."),
    )
)]
pub(super) async fn edit_app(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(AppIdText(id)): Id<AppIdText>,
    IfMatch(version): IfMatch,
    Patch(body): Patch<EditApp>,
) -> Result<Response, Problem> {
    let mut edit = AppEdit::default();
    edit.name = body.name.map(|Name(name)| name);
    edit.metadata = body
        .metadata
        .map(MetadataChanges::into_patch)
        .unwrap_or_default();
    if edit.is_empty() {
        return Err(Problem::no_changes());
    }
    let app = operator.edit_app(&id, version, edit).await?;
    Ok(shown(&app))
}

/// Delete an app.
///
/// Deletes the app and the records of its tokens, all of which must be expired or revoked. Requires an
/// actor who may grant everything.
#[utoipa::path(
    delete, path = "/apps/{app}", tag = "apps", params(
        ("app" = inline(AppIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = NO_CONTENT, description = "The app was deleted."),
        (status = NOT_FOUND, description = "The app does not exist."),
        (status = CONFLICT, description = "The app has live tokens. `live_tokens` is their number."),
        (status = PRECONDITION_FAILED, description = "The app has another version."),
    )
)]
pub(super) async fn delete_app(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(AppIdText(id)): Id<AppIdText>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    operator.expecting(version).delete_app(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Disable an app.
///
/// Rejects all tokens of the app until it is enabled again.
#[utoipa::path(
    post, path = "/apps/{app}/disable", tag = "apps", params(
        ("app" = inline(AppIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The disabled app.", body = AppView),
        (status = NOT_FOUND, description = "The app does not exist."),
        (status = PRECONDITION_FAILED, description = "The app has another version."),
    )
)]
pub(super) async fn disable_app(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(AppIdText(id)): Id<AppIdText>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    let app = operator.expecting(version).disable_app(&id).await?;
    Ok(shown(&app))
}

/// Enable an app.
///
/// Accepts the app's tokens again, except those that are revoked or expired.
#[utoipa::path(
    post, path = "/apps/{app}/enable", tag = "apps", params(
        ("app" = inline(AppIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "The enabled app.", body = AppView),
        (status = NOT_FOUND, description = "The app does not exist."),
        (status = PRECONDITION_FAILED, description = "The app has another version."),
    )
)]
pub(super) async fn enable_app(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(AppIdText(id)): Id<AppIdText>,
    IfMatch(version): IfMatch,
) -> Result<Response, Problem> {
    let app = operator.expecting(version).enable_app(&id).await?;
    Ok(shown(&app))
}

fn shown(app: &AppRecord) -> Response {
    (tagged(app.version()), Json(AppView::from(app))).into_response()
}
