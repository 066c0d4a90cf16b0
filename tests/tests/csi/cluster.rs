//! The driver as one that acts in its cluster: the shipped program, its own pools, an API server.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use thinly_cluster::fake::FakeCluster;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, block};
use thinly_tests::gib;

use crate::observability::{METRICS, address, page};
use crate::support::{elsewhere, mib};

const CONTENTS: &str = "volumesnapshotcontents";
const CLAIMS: &str = "persistentvolumeclaims";

fn content(name: &str, volume: &str) -> Value {
    let spec = json!({"driver": "thinly.dev", "source": {"volumeHandle": volume}});
    json!({"metadata": {"name": name}, "spec": spec})
}

fn until(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_so() {
        ensure!(began.elapsed() < Duration::from_mins(1), "{what}: it did not happen");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_driver_labels_its_snapshots_and_draws_copies_here() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cluster = runtime.block_on(FakeCluster::start());
    let directory = tempfile::tempdir()?;
    let kubeconfig = cluster.kubeconfig(directory.path(), "of the pod");
    cluster.require_token("of the pod");
    let driver = bed.start_in_cluster(&kubeconfig, &METRICS)?;
    let (client, address) = (driver.client(), address(&driver)?);
    let capability = block(Mode::SingleNodeWriter);
    let volume = client.volume("pvc-1", mib(64), &capability)?.volume_id;

    cluster.put(CONTENTS, content("far", &elsewhere("vol")));
    cluster.put(CONTENTS, content("near", &volume));
    let label = |name: &str| {
        let object = cluster.get(CONTENTS, "", name).unwrap();
        object["metadata"]["labels"]["snapshot.storage.kubernetes.io/managed-by"].clone()
    };
    until("a label", || label("near") == "n1")?;

    let mode = json!({"metadata": {"name": "local"}, "provisioner": "thinly.dev",
        "volumeBindingMode": "WaitForFirstConsumer"});
    cluster.put("storageclasses", mode);
    let own = json!({"namespace": "shop", "name": "web"});
    let spec = json!({"storageClassName": "local", "volumeName": "pvc-1"});
    let bound = json!({"phase": "Bound"});
    cluster.put(CLAIMS, json!({"metadata": own, "spec": spec, "status": bound}));
    let csi = json!({"driver": "thinly.dev", "volumeHandle": volume});
    let spec = json!({"csi": csi, "claimRef": own});
    cluster.put("persistentvolumes", json!({"metadata": {"name": "pvc-1"}, "spec": spec}));
    let source = json!({"kind": "PersistentVolumeClaim", "name": "web"});
    let spec = json!({"storageClassName": "local", "dataSource": source});
    let copy = json!({"metadata": {"namespace": "shop", "name": "copy"}, "spec": spec});
    cluster.put(CLAIMS, copy);
    let node = || {
        let claim = cluster.get(CLAIMS, "shop", "copy").unwrap();
        claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].clone()
    };
    until("a node", || node() == "n1")?;
    ensure!(label("far").is_null());

    let (_, scrape) = page(&address, "/metrics")?;
    for line in [
        "changes_total{duty=\"label\",outcome=\"done\"} 1",
        "up{objects=\"persistentvolumeclaims\"} 1",
    ] {
        ensure!(scrape.contains(&format!("thinly_csi_cluster_{line}\n")), "no {line}: {scrape}");
    }
    client.delete_volume(&volume)?;
    driver.stop()
}
