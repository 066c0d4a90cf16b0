//! I/O limits reach the cgroup of the pod that uses a volume.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, mount};
use thinly_tests::{gib, mib, sh};
use tonic::Code;
use uuid::Uuid;

/// The cgroup of a pod, where kubelet would put it.
struct Pod {
    uid: Uuid,
    cgroup: PathBuf,
}

impl Pod {
    fn new() -> Result<Self> {
        let uid = Uuid::new_v4();
        let parent = Path::new("/sys/fs/cgroup/kubepods/burstable");
        fs::create_dir_all(parent)?;
        for directory in
            ["/sys/fs/cgroup", "/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/kubepods/burstable"]
        {
            fs::write(format!("{directory}/cgroup.subtree_control"), "+io")?;
        }
        let cgroup = parent.join(format!("pod{uid}"));
        fs::create_dir(&cgroup)?;
        Ok(Self { uid, cgroup })
    }

    fn limits(&self) -> Result<String> {
        Ok(fs::read_to_string(self.cgroup.join("io.max"))?)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.cgroup);
    }
}

fn limits(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (format!("thinly.dev/{key}"), (*value).to_owned())).collect()
}

#[test]
fn limits_follow_a_volume_to_its_pods() -> Result<()> {
    sh("mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup")?;
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let volume = client.create_volume(wire::CreateVolumeRequest {
        name: "limited".to_owned(),
        capacity_range: thinly_tests::csi::range(i64::try_from(mib(64))?),
        volume_capabilities: vec![capability.clone()],
        mutable_parameters: limits(&[("read-bytes-per-second", "1048576")]),
        ..Default::default()
    })?;
    let id = &volume.volume_id;
    let pod = Pod::new()?;
    let (staging, target) = (bed.staging("a")?, bed.target(&pod.uid.to_string())?);
    client.stage(id, &staging, &capability)?;
    client.publish(id, (&staging, &target), &capability, false)?;
    let found = pod.limits()?;
    ensure!(found.contains("rbps=1048576 wbps=max"), "{found:?}");

    let modify = |parameters| {
        let request = wire::ControllerModifyVolumeRequest {
            volume_id: id.clone(),
            mutable_parameters: parameters,
            ..Default::default()
        };
        client.wait(client.controller().controller_modify_volume(request))
    };
    modify(limits(&[("write-operations-per-second", "100")]))?;
    let found = pod.limits()?;
    ensure!(found.contains("rbps=1048576") && found.contains("wiops=100"), "{found:?}");
    let wrong = limits(&[("write-operations-per-second", "7"), ("speed", "1")]);
    let refused = modify(wrong).map(|_| ());
    ensure!(thinly_tests::csi::code(&refused) == Code::InvalidArgument, "{refused:?}");
    ensure!(pod.limits()? == found, "half of a refused request took effect");
    modify(limits(&[("read-bytes-per-second", "max"), ("write-operations-per-second", "max")]))?;
    ensure!(!pod.limits()?.contains("rbps=1"), "{:?}", pod.limits()?);

    client.unpublish(id, &target)?;
    client.unstage(id, &staging)?;
    client.delete_volume(id)?;
    driver.stop()
}
