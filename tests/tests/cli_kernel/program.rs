//! Running the real program, and a pool for it to work on.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use thinly::exit::Exit;
use thinly_tests::{Disks, gib, sh};

/// Runs the program as it is installed, and waits for it.
#[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
pub(crate) fn thinly(arguments: &[&str]) -> Output {
    Command::new("thinly").args(arguments).output().unwrap()
}

/// What it answers to a person.
pub(crate) fn text(arguments: &[&str]) -> String {
    let output = thinly(arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it answers to a program; it must have nothing to complain of.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let output = thinly(&arguments);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// Runs it where it must refuse: its exit code is `exit`, its message holds all of `words`, in
/// JSON and in plain text, and it answers nothing.
pub(crate) fn refused(arguments: &[&str], exit: Exit, words: &[&str]) {
    let plain = thinly(arguments);
    assert!(!plain.status.success(), "{arguments:?} was done: {plain:?}");
    refused_in_json(arguments, exit, words);
    assert_eq!(plain.status.code(), Some(exit.code().into()), "{arguments:?}");
    let told = String::from_utf8_lossy(&plain.stderr);
    for word in words {
        assert!(told.contains(word), "{arguments:?}: no {word:?} in {told:?}");
    }
    assert!(plain.stdout.is_empty(), "{arguments:?}");
}

/// The same in JSON alone: half the time, where the text was looked at elsewhere.
pub(crate) fn refused_in_json(arguments: &[&str], exit: Exit, words: &[&str]) {
    let in_json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let output = thinly(&in_json);
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(last).unwrap_or_else(|_| {
        panic!("{arguments:?}: exit {}, {told:?} is no error in JSON", output.status)
    });
    let message = value["error"]["message"].as_str().unwrap();
    assert_eq!(value["error"]["kind"], exit.kind(), "{arguments:?}: {message}");
    assert_eq!(value["error"]["exit_code"], exit.code(), "{arguments:?}");
    assert_eq!(output.status.code(), Some(exit.code().into()), "{arguments:?}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: no {word:?} in {message:?}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

/// The first and the last MiB of each disk, past the page cache, as one number.
pub(crate) fn ends_of(disks: &[&Path]) -> Vec<String> {
    let end_of = |disk: &&Path| {
        sh(&format!(
            "size=$(blockdev --getsize64 {0}); \
             (dd if={0} bs=1M count=1 iflag=direct status=none; \
              dd if={0} bs=1M skip=$((size / 1048576 - 1)) iflag=direct status=none) | sha256sum",
            disk.display()
        ))
        .unwrap()
    };
    disks.iter().map(end_of).collect()
}

/// A pool of this test's own. Its disks take everything above them along when they go.
pub(crate) struct TestPool {
    pub(crate) name: String,
    pub(crate) disks: Disks,
}

impl TestPool {
    pub(crate) fn new() -> Self {
        Self::on(&[gib(2)])
    }

    /// A pool on disks of these sizes.
    pub(crate) fn on(sizes_bytes: &[u64]) -> Self {
        let disks = Disks::new(sizes_bytes).unwrap();
        let name = pool_name("p");
        let paths: Vec<&str> = disks.paths().iter().map(|path| path.to_str().unwrap()).collect();
        let mut arguments = vec!["pool", "create", &name];
        arguments.extend(paths);
        json(&arguments);
        Self { name, disks }
    }

    /// `POOL/NAME`.
    pub(crate) fn path(&self, volume: &str) -> String {
        format!("{}/{volume}", self.name)
    }

    pub(crate) fn create_volume(&self, volume: &str, size: &str) -> Value {
        json(&["volume", "create", &self.path(volume), "--size", size])
    }

    /// Makes a volume with a filesystem that holds one file, and leaves it inactive.
    pub(crate) fn create_filled(&self, volume: &str, text: &str) {
        self.create_volume(volume, "256M");
        let active = json(&["volume", "activate", &self.path(volume)]);
        let device = active["device"].as_str().unwrap();
        sh(&format!("mkfs.ext4 -q {device}")).unwrap();
        let mount = Mount::new(device, "");
        fs::write(mount.file("told"), text).unwrap();
        drop(mount);
        json(&["volume", "deactivate", &self.path(volume)]);
    }

    /// What the file of [`TestPool::create_filled`] holds in this volume or snapshot.
    pub(crate) fn told(&self, volume: &str) -> String {
        let active = json(&["volume", "activate", &self.path(volume)]);
        let mount = Mount::new(active["device"].as_str().unwrap(), "-o ro,noload");
        let text = fs::read_to_string(mount.file("told")).unwrap();
        drop(mount);
        json(&["volume", "deactivate", &self.path(volume)]);
        text
    }
}

/// A pool name that no other test has.
pub(crate) fn pool_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A mounted filesystem, gone when it is dropped.
pub(crate) struct Mount {
    directory: tempfile::TempDir,
}

impl Mount {
    pub(crate) fn new(device: &str, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        sh(&format!("mount {options} {device} {}", directory.path().display())).unwrap();
        Self { directory }
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = sh(&format!("umount {}", self.directory.path().display())) {
            eprintln!("{error:#}");
        }
    }
}
