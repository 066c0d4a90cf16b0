//! The test bed proves itself with real guests. They take half a minute, and need QEMU: `make test-bed`.
#![allow(clippy::disallowed_methods, reason = "what is tested is a program")]
#![allow(clippy::unwrap_used, reason = "the helpers here belong to the tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// A guest that stays up until the end of a test, also when the test fails.
struct Up {
    dir: PathBuf,
}

impl Up {
    fn new(options: &[&str]) -> Self {
        let up = runner(&[&["up"], options].concat());
        assert!(up.status.success(), "{}", said(&up));
        Self { dir: String::from_utf8(up.stdout).unwrap().trim().into() }
    }

    fn exec(&self, options: &[&str], script: &str) -> Output {
        let dir = self.dir.to_str().unwrap();
        runner(&[&["exec", "--dir", dir], options, &["--", script]].concat())
    }

    fn reboot(&self) {
        let reboot = runner(&["reboot", "--dir", self.dir.to_str().unwrap()]);
        assert!(reboot.status.success(), "{}", said(&reboot));
    }

    fn down(&self) {
        let down = runner(&["down", "--dir", self.dir.to_str().unwrap()]);
        assert!(down.status.success(), "{}", said(&down));
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.dir.exists() {
            self.down();
        }
    }
}

fn runner(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_thinly-guest"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn is_running(dir: &Path) -> bool {
    Command::new(env!("CARGO_BIN_EXE_thinly-guest"))
        .args(["exec", "--timeout", "60", "--dir", dir.to_str().unwrap(), "--", "true"])
        .output()
        .unwrap()
        .status
        .success()
}

#[test]
#[ignore = "boots a guest"]
fn a_guest_runs_commands_and_keeps_its_disks_over_a_reset() {
    let guest = Up::new(&["--disks", "1G 512M:4096"]);

    let done = guest.exec(&[], "echo to stdout; echo to stderr >&2; exit 7");
    assert_eq!(done.status.code(), Some(7), "{}", said(&done));
    assert_eq!(done.stdout, b"to stdout\n");
    assert_eq!(done.stderr, b"to stderr\n");

    let disks = guest.exec(&[], "blockdev --getsize64 --getss $DISKS | xargs");
    assert_eq!(said(&disks), "1073741824 512 536870912 4096\n");

    // All of a large output arrives, in order.
    let much = guest.exec(&[], "seq 200000");
    assert_eq!(String::from_utf8_lossy(&much.stdout).lines().count(), 200_000);
    assert!(much.stdout.ends_with(b"199999\n200000\n"));

    let failed = guest.exec(&["--log"], "echo hello from the test > /dev/kmsg; false");
    assert_eq!(failed.status.code(), Some(1));
    assert!(said(&failed).contains("hello from the test"), "{}", said(&failed));

    let slow = guest.exec(&["--timeout", "2"], "sleep 1000");
    assert_eq!(slow.status.code(), Some(124));
    assert!(said(&slow).contains("Show Blocked State"), "{}", said(&slow));
    assert!(!guest.exec(&[], "pgrep -x sleep").status.success(), "the command was not killed");

    let write = "printf kept | dd of=/dev/vda conv=fsync status=none; touch /root/file; sync";
    assert!(guest.exec(&[], write).status.success());
    guest.reboot();
    let after = guest.exec(&[], "head -c 4 /dev/vda; ls /root/file");
    assert!(after.stdout == b"kept" && !after.status.success(), "{}", said(&after));

    let panicked = guest.exec(&[], "echo c > /proc/sysrq-trigger; sleep 1000");
    assert_eq!(panicked.status.code(), Some(125));
    assert!(said(&panicked).contains("sysrq triggered crash"), "{}", said(&panicked));
    assert!(is_running(&guest.dir), "the guest did not come up after its panic");

    guest.down();
    assert!(!guest.dir.exists());
}

#[test]
#[ignore = "boots a guest"]
fn a_command_that_hangs_in_the_kernel_is_reported_with_what_it_waits_for() {
    let guest = Up::new(&[]);
    // A write to a suspended device waits in the kernel, where no signal reaches it.
    let hang = "truncate -s 8M /scratch/f; L=$(losetup -f --show /scratch/f)
        dmsetup create held --table \"0 16384 linear $L 0\"; dmsetup suspend held
        dd if=/dev/zero of=/dev/mapper/held oflag=direct bs=4096 count=1; true";
    let stuck = guest.exec(&["--timeout", "5"], hang);
    assert_eq!(stuck.status.code(), Some(124));
    let text = said(&stuck);
    assert!(text.contains("could not be killed"), "{text}");
    assert!(text.contains("(dd)") && text.contains("blkdev_direct_IO"), "{text}");
    guest.reboot();
    assert!(guest.exec(&[], "! dmsetup info held").status.success());
}

#[test]
#[ignore = "boots two guests"]
fn two_guests_at_once_do_not_see_each_other_and_a_lease_ends_with_its_holder() {
    let stays = Up::new(&["--disks", "64M"]);
    let flag = tempfile::tempdir().unwrap();
    let disks = flag.path().join("disks");
    let mut leased = Command::new(env!("CARGO_BIN_EXE_thinly-guest"))
        .args(["run", "--disks", "64M", "--keep-disks", disks.to_str().unwrap()])
        .args([
            "--",
            "printf theirs | dd of=/dev/vda conv=fsync status=none; echo ready; sleep 1000",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(leased.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(line, "ready\n");

    let ours = stays.exec(&[], "cmp -n 6 /dev/vda /dev/zero");
    assert!(ours.status.success(), "{}", said(&ours));
    let image = disks.join("disk00.img");
    assert_eq!(&fs::read(&image).unwrap()[..6], b"theirs");
    assert!(has_user(&image));
    leased.kill().unwrap();
    leased.wait().unwrap();
    // The only sign of a guest's end is that nothing holds its disk any more; a guest that stays fails the test
    // by the runner's own time-out.
    while has_user(&image) {
        thread::sleep(Duration::from_millis(100));
    }
    assert!(is_running(&stays.dir));
}

/// Whether any process has the file open.
fn has_user(file: &Path) -> bool {
    let target = file.canonicalize().unwrap();
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|open| open == target))
    })
}
