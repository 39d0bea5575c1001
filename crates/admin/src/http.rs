//! The HTTP port: `/health` (the process lives), `/ready` (it can serve SQL now), `/metrics`.

use crate::metrics::Registry;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;

type Check = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

/// What `/ready` asks.
pub struct Health {
    ready: Box<Check>,
}

impl Health {
    /// `ready` says whether a statement would be served now, or why not.
    pub fn new<F, R>(ready: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { ready: Box::new(move || Box::pin(ready())) }
    }
}

/// Answers until `shutdown` completes.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    health: Health,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let health = Arc::new(health);
    let app = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route(
            "/ready",
            get(move || async move {
                match (health.ready)().await {
                    Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                    Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], registry.render())
                    .into_response()
            }),
        );
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}
