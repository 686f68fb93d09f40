//! How can MLflow's own pages be used? They have a port of their own, beside our pages, with MLflow's paths
//! alone: their scripts reach what clients of MLflow reach, and nothing else of the server.

mod files;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension,
    extract::Path,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};

use crate::{
    error::ServerError,
    jobs::blocking,
    listen::{self, Running},
    reply::Refusal,
    routes,
};
pub use files::MlflowPages;

/// What their scripts need besides what ours may: styles in the page, workers and pictures that they make,
/// and code that they make, without which some charts are not drawn.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
    connect-src 'self'; worker-src 'self' blob:; frame-src 'self' blob:; \
    manifest-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

impl Running {
    /// Opens a port for MLflow's own pages; it closes with the server. The keys, the rules and the bounds
    /// are those of the server.
    ///
    /// # Errors
    /// When the address is taken, cannot be used, or could be reached by others without a key.
    pub async fn open_mlflow_pages(
        &mut self,
        addr: SocketAddr,
        pages: MlflowPages,
    ) -> Result<SocketAddr, ServerError> {
        let (listener, addr) = listen::bind(addr, self.shared.auth, &self.data_dir)?;
        let router = routes::beside(&self.shared, Arc::new(pages));
        self.open(listener, addr, router);
        tracing::info!(%addr, "listening for MLflow's pages");
        Ok(addr)
    }
}

type Pages = Extension<Arc<MlflowPages>>;

/// `GET /`
pub(crate) async fn first(Extension(pages): Pages) -> Result<Response, Refusal> {
    let found = blocking(move |_| Ok(pages.first())).await?;
    sent("/index.html", found)
}

/// `GET /static-files/{*path}`
pub(crate) async fn file(
    Extension(pages): Pages,
    Path(path): Path<String>,
) -> Result<Response, Refusal> {
    let wanted = path.clone();
    let found = blocking(move |_| Ok(pages.read(&wanted))).await?;
    sent(&path, found)
}

fn sent(path: &str, found: Option<Vec<u8>>) -> Result<Response, Refusal> {
    let Some(bytes) = found else {
        return Err(ServerError::NoSuchPath { path: path.chars().take(200).collect() }.into());
    };
    let kept = match path.starts_with("static/") {
        // The names there change with the bytes.
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let policy = HeaderName::from_static("content-security-policy");
    let headers = [
        (header::CONTENT_TYPE, files::kind(path)),
        (header::CACHE_CONTROL, kept),
        (policy, CONTENT_POLICY),
    ];
    Ok((headers, bytes).into_response())
}
