//! Where a cluster is, and who asks.
#![forbid(unsafe_code)]

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::error::ClusterError;

/// How long until an address that does not answer is given up.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an answer may be silent. A watch ends earlier by itself.
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// Where a cluster is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A pod: by its service account, or by the file that `KUBECONFIG` names.
    Pod,
    /// A person: by a kubeconfig (`KUBECONFIG` or `~/.kube/config` when none is named), or in a pod
    /// by its service account.
    Person {
        /// The file.
        kubeconfig: Option<PathBuf>,
        /// The context in it; its current one when none is named.
        context: Option<String>,
    },
}

impl Access {
    /// A client. Nothing is asked of the cluster yet.
    pub async fn client(&self) -> Result<Client, ClusterError> {
        Ok(self.connect().await?.0)
    }

    /// The same, and the cluster's address.
    pub(crate) async fn connect(&self) -> Result<(Client, String), ClusterError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_MAX);
        config.read_timeout = Some(SILENCE_MAX);
        config.reset_reader_on_write = true;
        // Without TLS (`kubectl proxy`) a machine that trusts nobody can ask as well.
        if config.cluster_url.scheme_str() == Some("http") {
            config.root_cert.get_or_insert_default();
        }
        // The driver tries again by itself, and says that it does.
        config.default_retry = matches!(self, Self::Person { .. });
        let address = config.cluster_url.to_string();
        let client = Client::try_from(config)
            .map_err(|error| ClusterError::of_access("they cannot be used", &error))?;
        Ok((client, address))
    }

    async fn config(&self) -> Result<Config, ClusterError> {
        match self {
            Self::Pod if env::var_os("KUBECONFIG").is_some() => {
                let read = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
                read.map_err(|error| ClusterError::of_access("the file in KUBECONFIG", &error))
            }
            Self::Pod => Config::incluster().map_err(|error| {
                ClusterError::of_access("the service account (KUBECONFIG is not set)", &error)
            }),
            Self::Person { kubeconfig: Some(path), context } => {
                let what = path.display().to_string();
                let failed = |error| ClusterError::of_access(&what, &error);
                let file = Kubeconfig::read_from(path).map_err(failed)?;
                Config::from_custom_kubeconfig(file, &options(context.as_ref()))
                    .await
                    .map_err(failed)
            }
            Self::Person { kubeconfig: None, context } => {
                match Config::from_kubeconfig(&options(context.as_ref())).await {
                    Ok(config) => Ok(config),
                    Err(error) => {
                        // In a pod nobody names one. A name that is wrong must not lead to another cluster.
                        let is_named = context.is_some() || env::var_os("KUBECONFIG").is_some();
                        let pod = (!is_named).then(Config::incluster).and_then(Result::ok);
                        pod.ok_or_else(|| {
                            ClusterError::of_access(
                                "the kubeconfig; name one by --kubeconfig",
                                &error,
                            )
                        })
                    }
                }
            }
        }
    }
}

fn options(context: Option<&String>) -> KubeConfigOptions {
    KubeConfigOptions { context: context.cloned(), ..KubeConfigOptions::default() }
}
