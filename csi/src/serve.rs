//! The driver's life: serve at once, open the pools, tend them, let them go.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thinly::admin::AdminServer;
use thinly::socket::SocketError;
use thinly_cluster::Access;
use thinly_csi_wire::controller_server::ControllerServer;
use thinly_csi_wire::group_controller_server::GroupControllerServer;
use thinly_csi_wire::identity_server::IdentityServer;
use thinly_csi_wire::node_server::NodeServer;
use thinly_csi_wire::snapshot_metadata_server::SnapshotMetadataServer;
use thinly_engine::monitor::{Monitor, MonitorStop};
use thinly_engine::pool::Engine;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tower::layer::util::{Identity as NoLayer, Stack};

use crate::admin::Admin;
use crate::cluster::{ClusterMetrics, Controller, LocalPools, Pace, Settings};
use crate::config::{Config, ConfigError};
use crate::controller::ControllerService;
use crate::driver::{Driver, Identity};
use crate::endpoint::{Endpoint, listen};
use crate::failure::chain;
use crate::group::GroupService;
use crate::host::HostError;
use crate::host::paths::KubeletDir;
use crate::identity::IdentityService;
use crate::node::NodeService;
use crate::observe::{self, Metrics, ObserveLayer};
use crate::pools::{Class, Classes};
use crate::snapshot_metadata::SnapshotMetadataService;

/// How often pools are looked after: deleted volumes freed, a handle in doubt replaced.
const ROUND: Duration = Duration::from_secs(3);
/// How long until a pool that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long calls may take to end when the driver is told to stop.
const FAREWELL: Duration = Duration::from_secs(20);
/// Requests beyond this are refused: the largest is a group snapshot of thousands of volumes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A driver that cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Kubelet's directory.
    #[error("kubelet's directory cannot be used; give it with --kubelet-dir")]
    Kubelet(#[from] HostError),
    /// The server itself.
    #[error("serving failed")]
    Transport(#[from] tonic::transport::Error),
    /// The address of its metrics.
    #[error("metrics cannot be served at {address}; give another --metrics-address")]
    Metrics {
        /// The address.
        address: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The system.
    #[error("{action} failed")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn system(action: &'static str) -> impl Fn(std::io::Error) -> ServeError {
    move |source| ServeError::System { action, source }
}

/// What the program is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who it is.
    pub identity: Identity,
    /// Where it serves.
    pub endpoint: Endpoint,
    /// Where its configuration is.
    pub config: PathBuf,
    /// Where it takes changes from the command `thinly`.
    pub admin_socket: PathBuf,
    /// Where it serves metrics, as `HOST:PORT`; nowhere without.
    pub metrics_address: Option<String>,
    /// How old the answer may get to what volumes hold alone; zero is never to ask.
    pub accounting_interval: Duration,
    /// The cluster to act in; none without.
    pub cluster: Option<Access>,
}

/// Serves until SIGTERM or SIGINT. Volumes stay active: the next process goes on with them.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let config = Config::load(&options.config)?;
    let kubelet = KubeletDir::open(&options.identity.kubelet_dir)?;
    let listener = listen(&options.endpoint)?;
    let listener = UnixListener::from_std(listener).map_err(system("taking over the socket"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("waiting for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("waiting for SIGINT"))?;
    let driver = Arc::new(Driver::new(options.identity.clone(), kubelet));
    let of_cluster = options.cluster.is_some().then(ClusterMetrics::default);
    let metrics = Metrics::new(&driver, options.accounting_interval, of_cluster.as_ref());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        let _ = stop.send(true);
    });
    if let Some(address) = &options.metrics_address {
        serve_metrics(address, &metrics, stopped.clone()).await?;
    }
    if let (Some(access), Some(counts)) = (options.cluster.clone(), of_cluster) {
        act_in_cluster(&driver, access, counts, stopped.clone());
    }
    let tending = tokio::spawn(tend(Arc::clone(&driver), options.clone(), config, stopped.clone()));
    let admin = take_changes(&driver, &options.admin_socket);
    tracing::info!(endpoint = %options.endpoint.path().display(), "serving");
    let mut stopping = stopped.clone();
    let served = router(&driver, &metrics).serve_with_incoming_shutdown(
        UnixListenerStream::new(listener),
        async move {
            told(&mut stopping).await;
        },
    );
    let mut waiting = stopped.clone();
    let patience = async move {
        told(&mut waiting).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        done = served => done?,
        // A client that stopped reading a stream must not keep the pools.
        () = patience => tracing::warn!("some answers were not read to their end"),
    }
    let _ = tending.await;
    if let Some(admin) = admin {
        // The changes that are running end first: they are inside of the pools.
        let _ = tokio::task::spawn_blocking(move || admin.stop()).await;
    }
    say_farewell(&driver).await;
    let _ = std::fs::remove_file(options.endpoint.path());
    Ok(())
}

/// Labels snapshots and sends claims here, beside the calls.
fn act_in_cluster(
    driver: &Arc<Driver>,
    access: Access,
    metrics: ClusterMetrics,
    mut stopped: watch::Receiver<bool>,
) {
    let settings = Settings {
        driver_name: driver.identity.driver_name.clone(),
        node: driver.identity.node_id.clone(),
        pace: Pace::default(),
    };
    let driver = Arc::clone(driver);
    let pools = LocalPools::new(move || driver.classes().iter().map(|class| class.uuid).collect());
    let controller = Controller { access, settings, pools, metrics };
    tokio::spawn(controller.run(async move { told(&mut stopped).await }));
}

/// Volumes are served where no command can be as well.
fn take_changes(driver: &Arc<Driver>, socket: &Path) -> Option<AdminServer> {
    match AdminServer::start(socket, Arc::new(Admin::new(Arc::clone(driver)))) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!("changes by the command thinly are refused: {}", chain(&error));
            None
        }
    }
}

async fn serve_metrics(
    address: &str,
    metrics: &Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let fail = |source| ServeError::Metrics { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    tracing::info!(address = %bound, "serving metrics");
    let stopped = async move { told(&mut stopped).await };
    tokio::spawn(observe::serve(listener, Arc::clone(metrics), stopped));
    Ok(())
}

fn router(driver: &Arc<Driver>, metrics: &Metrics) -> Router<Stack<ObserveLayer, NoLayer>> {
    let identity = IdentityServer::new(IdentityService(Arc::clone(driver)));
    let controller = ControllerServer::new(ControllerService(Arc::clone(driver)));
    let group = GroupControllerServer::new(GroupService(Arc::clone(driver)));
    let node = NodeServer::new(NodeService(Arc::clone(driver)));
    let metadata = SnapshotMetadataServer::new(SnapshotMetadataService(Arc::clone(driver)));
    Server::builder()
        .layer(metrics.layer())
        .add_service(identity.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(controller.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(group.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(metadata.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(node.max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// Opens the pools, then looks after them and after SIGHUP, until told to stop.
async fn tend(
    driver: Arc<Driver>,
    options: Options,
    config: Config,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let engine = loop {
        let (driver, config) = (Arc::clone(&driver), config.clone());
        match tokio::task::spawn_blocking(move || open_all(&driver, &config)).await {
            Ok(Ok(engine)) => break Arc::new(engine),
            Ok(Err(error)) => tracing::error!("the pools cannot be opened yet: {error}"),
            Err(error) => tracing::error!("opening the pools failed: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = told(&mut stopped) => return,
        }
    };
    tracing::info!("ready");
    let _watching = watch_space(&driver);
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            _ = hangup.recv() => reload(&driver, &engine, &options).await,
            () = told(&mut stopped) => return,
        }
        for class in driver.classes().iter() {
            let (class, engine) = (Arc::clone(class), Arc::clone(&engine));
            // Not waited for: freeing a large volume takes its time.
            tokio::task::spawn_blocking(move || class.tend(&engine));
        }
    }
}

/// Hears of pools that run low, until what it returns is dropped.
fn watch_space(driver: &Arc<Driver>) -> Option<MonitorStop> {
    let (monitor, stop) = match Monitor::new() {
        Ok(made) => made,
        Err(error) => {
            tracing::error!("pools are not extended: {}", chain(&error));
            return None;
        }
    };
    let driver = Arc::clone(driver);
    let run = move || {
        let look = || driver.classes().iter().for_each(|class| class.extend());
        if let Err(error) = monitor.run(look) {
            tracing::error!("pools are not extended any more: {}", chain(&error));
        }
    };
    // A thread of its own: it sleeps in a system call for most of its life.
    let started = std::thread::Builder::new().name("monitor".to_owned()).spawn(run);
    started.map_or_else(
        |error| {
            tracing::error!("pools are not extended: {error}");
            None
        },
        |_| Some(stop),
    )
}

/// Returns when the driver is to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could tell: that is an end as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn open_all(driver: &Driver, config: &Config) -> Result<Engine, String> {
    let engine = Engine::new().map_err(|error| chain(&error))?;
    let mut list: Vec<Arc<Class>> = Vec::new();
    for class in &config.device_classes {
        match Class::open(&engine, class.clone()) {
            Ok(opened) => list.push(Arc::new(opened)),
            Err(error) => {
                let error = format!("device class {:?}: {}", class.name, chain(&error));
                for class in &list {
                    Class::release(class);
                }
                return Err(error);
            }
        }
    }
    driver.serve_classes(Classes::new(list));
    Ok(engine)
}

/// Takes a changed configuration over, or keeps the old one whole when the new one is wrong.
async fn reload(driver: &Arc<Driver>, engine: &Arc<Engine>, options: &Options) {
    let (driver, engine, path) = (Arc::clone(driver), Arc::clone(engine), options.config.clone());
    let done = tokio::task::spawn_blocking(move || -> Result<(), String> {
        let config = Config::load(&path).map_err(|error| chain(&error))?;
        let before = driver.classes();
        let mut list = Vec::new();
        for class in config.device_classes {
            let known = before.iter().find(|known| known.config.pool == class.pool);
            let made = match known {
                Some(known) => known.with_config(class),
                None => Class::open(&engine, class).map_err(|error| chain(&error))?,
            };
            list.push(Arc::new(made));
        }
        let gone = before
            .iter()
            .filter(|old| !list.iter().any(|class| class.config.pool == old.config.pool));
        let gone: Vec<Arc<Class>> = gone.cloned().collect();
        for class in &list {
            class.apply_rule();
        }
        driver.serve_classes(Classes::new(list));
        for class in &gone {
            class.stop_reaping();
            class.release();
        }
        Ok(())
    });
    match done.await {
        Ok(Ok(())) => tracing::info!("the configuration was read again"),
        Ok(Err(error)) => tracing::error!("the old configuration stays: {error}"),
        Err(error) => tracing::error!("the old configuration stays: {error}"),
    }
}

/// Waits for the calls that are running and lets the pools go in order.
async fn say_farewell(driver: &Arc<Driver>) {
    let deadline = tokio::time::Instant::now() + FAREWELL;
    while !driver.operations.is_idle() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    driver.classes().iter().for_each(|class| class.stop_reaping());
    for class in driver.classes().iter() {
        // A reaper may hold it for a moment: until its step is over. What is not released in order is recovered by the
        // next process.
        while !class.release() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
