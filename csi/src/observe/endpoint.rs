//! The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`.
#![forbid(unsafe_code)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::layer::ObserveLayer;
use super::pools::Pools;
use super::rpc::RpcMetrics;
use super::sample::Sampler;
use crate::cluster::ClusterMetrics;
use crate::driver::Driver;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
#[derive(Debug)]
pub(crate) struct Metrics {
    driver: Arc<Driver>,
    registry: Registry,
    rpcs: RpcMetrics,
    /// One scrape at a time: were the kernel to hang, scrapes would wait and not take threads.
    turn: Semaphore,
}

impl Metrics {
    /// `accounting` is how old the answer may get to what volumes hold alone.
    pub(crate) fn new(
        driver: &Arc<Driver>,
        accounting: Duration,
        cluster: Option<&ClusterMetrics>,
    ) -> Arc<Self> {
        let mut registry = Registry::default();
        let rpcs = RpcMetrics::new(&mut registry);
        if let Some(cluster) = cluster {
            cluster.register(&mut registry);
        }
        let (sampler, of) = (Sampler::new(accounting), Arc::clone(driver));
        registry.register_collector(Box::new(Pools(move || sampler.sample(&of))));
        Arc::new(Self { driver: Arc::clone(driver), registry, rpcs, turn: Semaphore::new(1) })
    }

    /// What the services are wrapped in.
    pub(crate) fn layer(&self) -> ObserveLayer {
        ObserveLayer(self.rpcs.clone())
    }
}

/// Serves until `stopped`.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "the process lives\n"))
        .route("/readyz", get(ready))
        .with_state(metrics);
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
    if let Err(error) = served {
        tracing::error!("metrics are no longer served: {error}");
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let failed =
        |why: String| (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], why);
    let Ok(_turn) = metrics.turn.acquire().await else {
        return failed("the driver is ending\n".to_owned());
    };
    let asked = Arc::clone(&metrics);
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        encode(&mut text, &asked.registry).map(|()| text)
    });
    match text.await {
        Ok(Ok(text)) => (StatusCode::OK, [(CONTENT_TYPE, OPEN_METRICS)], text),
        Ok(Err(error)) => failed(format!("the metrics cannot be written: {error}\n")),
        Err(error) => failed(format!("the metrics cannot be read: {error}\n")),
    }
}

async fn ready(State(metrics): State<Arc<Metrics>>) -> (StatusCode, String) {
    let not_yet = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
    if !metrics.driver.is_ready() {
        return not_yet("the pools are not open yet\n".to_owned());
    }
    let closed = metrics.driver.classes();
    let closed = closed.iter().find_map(|class| class.pool().err());
    closed.map_or_else(
        || (StatusCode::OK, "all pools are open\n".to_owned()),
        |status| not_yet(format!("{}\n", status.message())),
    )
}
