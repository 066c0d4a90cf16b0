//! The cgroup of a pod, found by the path that kubelet publishes a volume at.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use thinly_engine::block_device::DeviceNumber;
use uuid::Uuid;

use super::error::{HostError, Result};

/// Where version 2 of cgroups is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The pod that a path below kubelet's directory is for: `pods/UID/...`. A path of another shape is
/// nobody's.
pub fn pod_of(kubelet: &Path, target: &Path) -> Option<Uuid> {
    let mut below = target.strip_prefix(kubelet).ok()?.components();
    if below.next() != Some(Component::Normal("pods".as_ref())) {
        // A block volume's target is at plugins/.../publish/VOLUME/UID.
        return target.file_name()?.to_str().and_then(|name| Uuid::try_parse(name).ok());
    }
    match below.next()? {
        Component::Normal(uid) => Uuid::try_parse(uid.to_str()?).ok(),
        _ => None,
    }
}

/// Where the two drivers of kubelet put a pod of each class.
fn candidates(root: &Path, pod: Uuid) -> impl Iterator<Item = PathBuf> {
    let (dashes, underlines) = (pod.to_string(), pod.to_string().replace('-', "_"));
    ["", "burstable", "besteffort"].into_iter().flat_map(move |class| {
        let plain = root.join("kubepods").join(class).join(format!("pod{dashes}"));
        let (slice, dash) = match class {
            "" => (root.join("kubepods.slice"), String::new()),
            class => (
                root.join("kubepods.slice").join(format!("kubepods-{class}.slice")),
                format!("{class}-"),
            ),
        };
        [plain, slice.join(format!("kubepods-{dash}pod{underlines}.slice"))]
    })
}

/// Limits what a pod may do with a device. `false` when the pod has no cgroup here (yet).
pub fn limit(pod: Uuid, device: DeviceNumber, limits: &str) -> Result<bool> {
    limit_below(Path::new(ROOT), pod, device, limits)
}

fn limit_below(root: &Path, pod: Uuid, device: DeviceNumber, limits: &str) -> Result<bool> {
    for directory in candidates(root, pod) {
        let file = directory.join("io.max");
        match fs::write(&file, format!("{device}{limits}\n")) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let (action, said) = ("limiting I/O by", String::new());
                return Err(HostError::Kernel { action, path: file, source, said });
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    #[test]
    fn a_pod_is_found_in_the_paths_of_kubelet() {
        let kubelet = Path::new("/var/lib/kubelet");
        let of = |below: &str| pod_of(kubelet, &kubelet.join(below));
        let pod = Uuid::try_parse(POD).ok();
        assert_eq!(of(&format!("pods/{POD}/volumes/kubernetes.io~csi/pv/mount")), pod);
        let block = format!("plugins/kubernetes.io/csi/volumeDevices/publish/pv/{POD}");
        assert_eq!(of(&block), pod);
        assert_eq!(of("pods/a/mount"), None);
        assert_eq!(of("plugins/x/globalmount"), None);
        assert_eq!(pod_of(kubelet, Path::new("/elsewhere/pods")), None);
    }

    #[test]
    fn every_place_of_a_pod_is_tried() {
        let root = tempfile::tempdir().unwrap();
        let pod = Uuid::try_parse(POD).unwrap();
        let device = DeviceNumber { major: 253, minor: 7 };
        assert!(!limit_below(root.path(), pod, device, " rbps=1").unwrap());
        let places: Vec<PathBuf> = candidates(root.path(), pod).collect();
        assert_eq!(places.len(), 6);
        for place in places {
            fs::create_dir_all(&place).unwrap();
            // A plain file stands in for the kernel's: what is written is looked at.
            fs::write(place.join("io.max"), "").unwrap();
            assert!(limit_below(root.path(), pod, device, " rbps=1").unwrap());
            assert_eq!(fs::read_to_string(place.join("io.max")).unwrap(), "253:7 rbps=1\n");
            fs::remove_dir_all(&place).unwrap();
        }
    }
}
