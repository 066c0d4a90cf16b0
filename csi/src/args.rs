//! What the program is started with.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use thinly_cluster::Access;
use thinly_csi::serve::Options;
use thinly_csi::{Endpoint, Identity};
use thinly_engine::catalogue::{DRIVER_NAME, TOPOLOGY_KEY};

/// The CSI driver of Thinly: volumes on the disks of this node.
#[derive(Debug, Parser)]
#[allow(clippy::doc_markdown, reason = "the comments are the help, which knows no markdown")]
#[command(name = "thinly-csi", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Where to serve: the URL of a unix socket, as <unix:///run/thinly/csi.sock>
    #[arg(long, env = "CSI_ENDPOINT", value_name = "URL")]
    endpoint: Endpoint,
    /// This node's name in the cluster
    #[arg(long, env = "NODE_NAME", value_name = "NAME", value_parser = node_id)]
    node_id: String,
    /// The device classes to serve; read again on SIGHUP
    #[arg(long, value_name = "FILE", default_value = "/etc/thinly/config.yaml")]
    config: PathBuf,
    /// The driver's name in the cluster
    #[arg(long, value_name = "NAME", default_value = DRIVER_NAME, value_parser = driver_name)]
    driver_name: String,
    /// The topology key whose value is the node's name
    #[arg(long, value_name = "KEY", default_value = TOPOLOGY_KEY)]
    topology_key: String,
    /// Kubelet's directory; nothing outside of it is mounted on
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: PathBuf,
    /// Offer what the specification calls alpha: GET_VOLUME, GET_SNAPSHOT, SnapshotMetadata
    #[arg(long)]
    alpha: bool,
    /// Leave growing to the node's call and announce no EXPAND_VOLUME and MODIFY_VOLUME of the
    /// controller: for many nodes whose resizers follow one leader
    #[arg(long)]
    node_expansion: bool,
    /// Where to take changes from the command thinly while the driver holds the pools
    #[arg(long, value_name = "PATH", default_value = thinly::admin::DEFAULT_SOCKET)]
    admin_socket: PathBuf,
    /// Where to serve /metrics, /healthz and /readyz; nowhere without it
    #[arg(long, value_name = "HOST:PORT")]
    metrics_address: Option<String>,
    /// Seconds until a scrape has it found out anew what each volume holds alone, for which the pool's
    /// metadata is read once; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    accounting_interval: u64,
    /// Act in the cluster: label the snapshots of this node for its sidecar, and send claims that are
    /// filled from something on this node to it. By the pod's service account, or by KUBECONFIG
    #[arg(long, env = "CLUSTER_CONTROLLER")]
    cluster_controller: bool,
    /// How to log on standard error; what, is chosen by RUST_LOG (info by default)
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

fn node_id(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        length if length > 256 => Err(format!("it has {length} bytes; the limit is 256")),
        _ => Ok(text.to_owned()),
    }
}

fn driver_name(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let ends = text.bytes().next().into_iter().chain(text.bytes().last());
    let ends_well = ends.map(|byte| byte.is_ascii_alphanumeric()).reduce(|a, b| a && b);
    if text.len() > 63 || !text.bytes().all(is_inner) || ends_well != Some(true) {
        return Err("a name is 1 to 63 letters, digits, '-' and '.', as a domain has".to_owned());
    }
    Ok(text.to_owned())
}

impl Args {
    pub(crate) fn into_options(self) -> Options {
        Options {
            identity: Identity {
                driver_name: self.driver_name,
                node_id: self.node_id,
                topology_key: self.topology_key,
                kubelet_dir: self.kubelet_dir,
                alpha: self.alpha,
                node_expansion: self.node_expansion,
            },
            endpoint: self.endpoint,
            config: self.config,
            admin_socket: self.admin_socket,
            metrics_address: self.metrics_address,
            accounting_interval: Duration::from_secs(self.accounting_interval),
            cluster: self.cluster_controller.then_some(Access::Pod),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_agree_with_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn names_that_a_cluster_would_refuse_are_refused_here() {
        for bad in ["", "-a", "a.", "a/b", &"a".repeat(64)] {
            assert!(driver_name(bad).is_err(), "{bad}");
        }
        assert!(driver_name("thinly.dev").is_ok());
        assert!(node_id("").is_err());
        assert!(node_id(&"n".repeat(257)).is_err());
    }
}
