//! The only way for a test to skip: the kernel is too old for what it tests, and was found to be.

use std::cmp::Ordering;
use std::fmt;
use std::fs;

use thinly_guest::test_run::SKIP_MARK;

/// A kernel's version, as far as features go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// The running kernel's.
    pub fn running() -> anyhow::Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Self::parse(&release).ok_or_else(|| anyhow::anyhow!("no kernel version: {release:?}"))
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Whether a test may skip, because the probe did not find the feature on a kernel older than `since`.
///
/// # Panics
/// When the kernel is new enough to have it: then the probe is wrong, and a skip would hide that.
#[allow(clippy::panic, reason = "a failed expectation of a test is a panic")]
#[allow(clippy::print_stdout, reason = "the runner reads the reason there")]
pub fn is_unsupported(feature: &str, is_found: bool, since: KernelVersion) -> bool {
    let running = match KernelVersion::running() {
        Ok(running) => running,
        Err(e) => panic!("{e:#}"),
    };
    match judge(is_found, running.cmp(&since)) {
        Verdict::Run => false,
        Verdict::Skip => {
            println!("{SKIP_MARK}kernel {running} has no {feature}, which came with {since}");
            true
        }
        Verdict::Fail => {
            panic!(
                "kernel {running} has {feature} since {since}, but the probe says it is unsupported"
            )
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Run,
    Skip,
    Fail,
}

fn judge(is_found: bool, running_to_since: Ordering) -> Verdict {
    match (is_found, running_to_since) {
        (true, _) => Verdict::Run,
        (false, Ordering::Less) => Verdict::Skip,
        (false, _) => Verdict::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let old = KernelVersion::parse("6.1.0-56-cloud-amd64\n").unwrap();
        let new = KernelVersion::parse("6.12.117+deb13-cloud-amd64\n").unwrap();
        assert_eq!((old, new), (KernelVersion(6, 1), KernelVersion(6, 12)));
        assert!(old < KernelVersion(6, 2) && KernelVersion(6, 2) < new);
    }

    #[test]
    fn a_kernel_that_has_the_feature_permits_no_skip() {
        assert_eq!(judge(true, Ordering::Less), Verdict::Run);
        assert_eq!(judge(true, Ordering::Greater), Verdict::Run);
        assert_eq!(judge(false, Ordering::Less), Verdict::Skip);
        assert_eq!(judge(false, Ordering::Equal), Verdict::Fail);
        assert_eq!(judge(false, Ordering::Greater), Verdict::Fail);
    }

    #[test]
    #[should_panic(expected = "the probe says it is unsupported")]
    fn a_wrong_probe_fails_the_test() {
        is_unsupported("a feature of every kernel", false, KernelVersion(2, 6));
    }
}
