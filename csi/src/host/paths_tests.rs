//! Real directories, with the tricks that a pod can play below a mount.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::host::HostErrorKind;

struct Fixture {
    temporary: tempfile::TempDir,
    kubelet: KubeletDir,
}

impl Fixture {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join("kubelet/pods/p")).unwrap();
        fs::create_dir_all(temporary.path().join("outside/p")).unwrap();
        let kubelet = KubeletDir::open(&temporary.path().join("kubelet")).unwrap();
        Self { temporary, kubelet }
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("kubelet")
    }

    fn outside(&self) -> PathBuf {
        self.temporary.path().join("outside")
    }

    fn path(&self, below: &str) -> HostPath {
        self.kubelet.resolve(&self.root().join(below)).unwrap()
    }
}

#[test]
fn only_plain_absolute_paths_below_the_directory_are_accepted() {
    let fixture = Fixture::new();
    let root = fixture.root();
    let root = root.display();
    for path in ["pods/p", "pods/p/volumes/x", "pods/...", "pods/a b", "pods/no\u{308}"] {
        let path = format!("{root}/{path}");
        let resolved = fixture.kubelet.resolve(Path::new(&path)).unwrap();
        assert_eq!(resolved.path(), Path::new(&path));
    }
    let long = "x".repeat(256);
    let wrong = [
        String::new(),
        "/".into(),
        "pods/p".into(),
        format!("{root}"),
        format!("{root}/"),
        format!("{root}/pods/"),
        format!("{root}//pods"),
        format!("/{root}/pods"),
        format!("{root}/./pods"),
        format!("{root}/pods/."),
        format!("{root}/../outside"),
        format!("{root}/pods/.."),
        format!("{root}x/pods"),
        format!("{root}/pods/\0"),
        format!("{root}/{long}"),
        fixture.outside().display().to_string(),
        "/etc/passwd".into(),
    ];
    for path in wrong {
        let error = fixture.kubelet.resolve(Path::new(&path)).unwrap_err();
        assert_eq!(error.kind(), HostErrorKind::Refused, "{path:?}: {error}");
    }
}

#[test]
fn a_directory_that_is_itself_a_link_is_followed_once() {
    let fixture = Fixture::new();
    let link = fixture.temporary.path().join("link");
    symlink(fixture.root(), &link).unwrap();
    let kubelet = KubeletDir::open(&link).unwrap();
    let path = kubelet.resolve(&link.join("pods/p")).unwrap();
    assert_eq!(path.entry().unwrap(), Entry::Directory);
    assert_eq!(path.real_path(), fixture.root().canonicalize().unwrap().join("pods/p"));
    // The link goes elsewhere now; what was opened stays.
    fs::remove_file(&link).unwrap();
    symlink(fixture.outside(), &link).unwrap();
    kubelet.resolve(&link.join("new")).unwrap().create_directory().unwrap();
    assert!(fixture.root().join("new").is_dir());
    assert!(!fixture.outside().join("new").exists());
}

#[test]
fn entries_are_told_apart() {
    let fixture = Fixture::new();
    fs::write(fixture.root().join("file"), "").unwrap();
    symlink("pods", fixture.root().join("link")).unwrap();
    for (path, entry) in [
        ("pods", Entry::Directory),
        ("file", Entry::File),
        ("link", Entry::Other),
        ("nothing", Entry::Missing),
        ("nothing/at/all", Entry::Missing),
    ] {
        assert_eq!(fixture.path(path).entry().unwrap(), entry, "{path}");
    }
    let error = fixture.path("file/below").entry().unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::Exists, "{error}");
}

#[test]
fn no_component_may_be_a_link_whatever_is_done() {
    let fixture = Fixture::new();
    let outside = fixture.outside();
    fs::write(outside.join("empty"), "").unwrap();
    symlink(&outside, fixture.root().join("absolute")).unwrap();
    symlink("../outside", fixture.root().join("relative")).unwrap();
    symlink("pods", fixture.root().join("inside")).unwrap();
    symlink("/proc/self/cwd", fixture.root().join("magic")).unwrap();
    for link in ["absolute", "relative", "inside", "magic"] {
        let below = fixture.path(&format!("{link}/p"));
        let new = fixture.path(&format!("{link}/new"));
        for error in [
            below.entry().unwrap_err(),
            below.open(Entry::Directory).unwrap_err(),
            below.remove().unwrap_err(),
            new.create_directory().unwrap_err(),
            new.create_file().unwrap_err(),
            fixture.path(&format!("{link}/empty")).remove().unwrap_err(),
            fixture.path(link).open(Entry::Directory).unwrap_err(),
        ] {
            assert_eq!(error.kind(), HostErrorKind::Refused, "{link}: {error}");
        }
        // The link itself is neither taken for a directory nor removed.
        let link = fixture.path(link);
        assert_eq!(link.remove().unwrap_err().kind(), HostErrorKind::Exists);
        assert_eq!(link.create_directory().unwrap_err().kind(), HostErrorKind::Exists);
        assert_eq!(link.create_file().unwrap_err().kind(), HostErrorKind::Exists);
    }
    assert!(outside.join("empty").exists() && outside.join("p").is_dir());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
}

#[test]
fn a_component_that_is_swapped_for_a_link_leads_nowhere() {
    let fixture = Fixture::new();
    let target = fixture.path("pods/p/target");
    assert_eq!(target.entry().unwrap(), Entry::Missing);
    fs::rename(fixture.root().join("pods"), fixture.root().join("moved")).unwrap();
    symlink(fixture.outside(), fixture.root().join("pods")).unwrap();
    assert_eq!(target.create_directory().unwrap_err().kind(), HostErrorKind::Refused);
    assert_eq!(target.create_file().unwrap_err().kind(), HostErrorKind::Refused);
    assert_eq!(fs::read_dir(fixture.outside().join("p")).unwrap().count(), 0);
}

#[test]
fn swapping_while_files_are_made_never_gets_one_outside() {
    let fixture = Fixture::new();
    let root = fixture.root();
    fs::create_dir(root.join("plain")).unwrap();
    symlink(fixture.outside(), root.join("link")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let exchange = || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let (one, other) = (root.join("plain"), root.join("link"));
            rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags).unwrap();
        }
    };
    let (mut made, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(exchange);
        for number in 0_u32.. {
            match fixture.path(&format!("plain/{number}")).create_file() {
                Ok(()) => made += 1,
                Err(error) => {
                    assert_eq!(error.kind(), HostErrorKind::Refused, "{error}");
                    refused += 1;
                }
            }
            if (made > 100 && refused > 100) || number > 1_000_000 {
                break;
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(made > 0 && refused > 0, "both sides of the race were seen: {made} {refused}");
    assert_eq!(fs::read_dir(fixture.outside()).unwrap().count(), 1, "only what was there");
}

#[test]
fn making_is_repeatable_and_needs_the_parent() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let directory = fixture.path("pods/p/d");
    directory.create_directory().unwrap();
    directory.create_directory().unwrap();
    let mode = fs::metadata(directory.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o027, 0, "nothing for others, no writing by the group: {mode:o}");
    let file = fixture.path("pods/p/f");
    file.create_file().unwrap();
    file.create_file().unwrap();
    assert_eq!(file.create_directory().unwrap_err().kind(), HostErrorKind::Exists);
    assert_eq!(directory.create_file().unwrap_err().kind(), HostErrorKind::Exists);
    let orphan = fixture.path("pods/none/d");
    assert_eq!(orphan.create_directory().unwrap_err().kind(), HostErrorKind::NotFound);
    assert_eq!(orphan.create_file().unwrap_err().kind(), HostErrorKind::NotFound);
}

#[test]
fn only_what_is_empty_is_removed() {
    let fixture = Fixture::new();
    let path = fixture.path("pods/p/x");
    assert!(!path.remove().unwrap());
    assert!(!fixture.path("pods/none/x").remove().unwrap());
    path.create_directory().unwrap();
    fs::write(path.path().join("entry"), "").unwrap();
    assert_eq!(path.remove().unwrap_err().kind(), HostErrorKind::Exists);
    fs::remove_file(path.path().join("entry")).unwrap();
    assert!(path.remove().unwrap());
    path.create_file().unwrap();
    fs::write(path.path(), "contents").unwrap();
    assert_eq!(path.remove().unwrap_err().kind(), HostErrorKind::Exists);
    fs::write(path.path(), "").unwrap();
    assert!(path.remove().unwrap());
    std::os::unix::net::UnixListener::bind(path.path()).unwrap();
    assert_eq!(path.remove().unwrap_err().kind(), HostErrorKind::Exists);
    assert_ne!(path.entry().unwrap(), Entry::Missing);
}
