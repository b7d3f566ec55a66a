//! Resolves credentials inside an axum application.
//!
//! ```sh
//! cargo run -- init acme                      # once; then set a key and opt in
//! cargo run -p entail --example axum -- "$HOME/.local/share/entail"
//! curl -s localhost:3000/explain/openai/acme/evals
//! curl -s localhost:3000/ask/openai/acme/evals
//! ```
//!
//! One [`Entail`] serves the whole process. Handlers call it directly: a warm request takes
//! microseconds. A cold one reads the database, and every one appends to the decision log;
//! the crate's documentation says what blocks.
//!
//! This example does not authenticate its callers. A real application does that first, and
//! resolves only the scopes that the caller may use: [`Principal::LocalOwner`] may resolve
//! all of them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use entail::{Entail, Error, ErrorKind, Home, Options, Principal, Request, mask};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os()
        .nth(1)
        .ok_or("give the directory of a home")?;
    let home = Home::open(directory.as_ref())?;
    let entail = Arc::new(Entail::open(&home, Options::default())?);
    // Opening blocks, so the runtime starts afterwards.
    tokio::runtime::Runtime::new()?.block_on(serve(entail))
}

async fn serve(entail: Arc<Entail>) -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/ask/{provider}/{*scope}", get(ask))
        .route("/explain/{provider}/{*scope}", get(explain))
        .with_state(entail);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Gets the credential for one call of the provider. A real application would make the call
/// here, with these headers, and drop the lease.
async fn ask(
    State(entail): State<Arc<Entail>>,
    Path((provider, scope)): Path<(String, String)>,
) -> Result<Response, HttpError> {
    let request = request(&scope, &provider)?;
    let lease = entail.resolve(&Principal::LocalOwner, &request).await?;
    let provider = entail.provider(lease.provider())?;
    let headers: Vec<String> = lease
        .headers(provider)
        .unwrap_or_default()
        .iter()
        .map(|(name, value)| format!("{name}: {}", mask(value)))
        .collect();
    Ok(Json(json!({
        "base_url": lease.base_url(),
        "headers": headers,
        "holder": lease.holder().as_str(),
        "credential": lease.name().as_str(),
    }))
    .into_response())
}

/// Explains what the scope would get, without returning a credential.
async fn explain(
    State(entail): State<Arc<Entail>>,
    Path((provider, scope)): Path<(String, String)>,
) -> Result<Response, HttpError> {
    let request = request(&scope, &provider)?;
    let explanation = entail.explain(&Principal::LocalOwner, &request).await?;
    Ok(Json(json!({
        "decision": explanation.decision,
        "hints": explanation.hints(),
    }))
    .into_response())
}

fn request(scope: &str, provider: &str) -> Result<Request, Error> {
    Ok(Request::new(scope.parse()?, provider.parse()?))
}

/// An error as a response: a status for its kind, its code, and typed hints, which a page
/// could show as buttons.
struct HttpError(Error);

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        HttpError(error)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            ErrorKind::Refused | ErrorKind::NotAuthorized => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unavailable | ErrorKind::NotRecorded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = json!({
            "code": self.0.code(),
            "message": self.0.to_string(),
            "hints": self.0.hints(),
        });
        (status, Json(body)).into_response()
    }
}
