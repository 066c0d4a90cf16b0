//! What is wrong with a pool or a volume, in one form for the command, the log, metrics and
//! orchestrators: how bad, a reason in one word, and a sentence. Pure.
#![forbid(unsafe_code)]

use std::fmt;

use super::mode::Health;
use crate::units::Bytes;

/// Data or metadata this full is told of.
const NEARLY_FULL_PERCENT: u64 = 80;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Somebody should look at it in time.
    Warning,
    /// Something is not served.
    Error,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why, in one word that never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// A disk of the pool is not here.
    DeviceMissing,
    /// Labels or journal cannot be read.
    PoolDamaged,
    /// The kernel gave the pool up.
    ThinPoolFailed,
    /// The metadata must be checked before the kernel writes again.
    NeedsCheck,
    /// The kernel allocates nothing and takes no message.
    ThinPoolReadOnly,
    /// No free data block is left.
    ThinPoolOutOfDataSpace,
    /// The writer refuses changes until the pool is opened anew.
    WriterInDoubt,
    /// Filesystems on its volumes met errors, and most often take no writes since.
    FilesystemErrors,
    /// Little data is left.
    DataNearlyFull,
    /// Little metadata is left.
    MetadataNearlyFull,
    /// The metadata may not outlast what volumes can still come to need.
    MetadataMayRunOut,
    /// The pool's life has few snapshots left.
    SnapshotLifetime,
    /// Thin ids that no volume claims.
    OrphanThinIds,
    /// The volume's thin id is not in the pool.
    Lost,
    /// The volume's device is suspended: its users wait.
    Suspended,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// How bad it is.
    pub severity: Severity,
    /// Why, in one word.
    pub reason: Reason,
    /// The same in a sentence, with what to do.
    pub message: String,
}

impl Condition {
    pub(crate) fn new(severity: Severity, reason: Reason, message: impl Into<String>) -> Self {
        Self { severity, reason, message: message.into() }
    }
}

/// What a judgement of a pool goes by; what is not known is left out.
#[derive(Debug, Clone, Default)]
pub struct PoolFacts {
    /// Disks that are not here.
    pub missing_devices: usize,
    /// Whether labels or journal cannot be read.
    pub is_damaged: bool,
    /// What the kernel says, of an open pool.
    pub health: Option<Health>,
    /// Why its writer refuses changes, if it does.
    pub doubt: Option<String>,
    /// Filesystems that went read-only after an error, each as a volume and a place.
    pub fallen_filesystems: Vec<String>,
    /// Data in use and in all.
    pub data: Option<(Bytes, Bytes)>,
    /// Metadata in use and in all.
    pub metadata: Option<(Bytes, Bytes)>,
    /// What volumes may still come to need of the metadata, and what is free.
    pub metadata_outlook: Option<(Bytes, Bytes)>,
    /// Snapshots that were taken in its life, and how many there can be.
    pub snapshot_time: Option<(u32, u32)>,
    /// Thin ids that no volume claims.
    pub orphans: usize,
}

/// What is wrong with a pool, the worst first.
pub fn conditions(facts: &PoolFacts) -> Vec<Condition> {
    use Severity::{Error, Warning};
    let mut found = Vec::new();
    let mut tell = |severity, reason, message: String| {
        found.push(Condition::new(severity, reason, message));
    };
    if facts.missing_devices > 0 {
        let count = facts.missing_devices;
        tell(
            Error,
            Reason::DeviceMissing,
            format!("{count} of its disks are missing; attach them"),
        );
    }
    if facts.is_damaged {
        let message = "its labels or its journal cannot be read; `thinly pool show` says what";
        tell(Error, Reason::PoolDamaged, message.to_owned());
    }
    if let Some(health) = facts.health
        && let Some(reason) = reason_of(health)
    {
        tell(Error, reason, health.advice().to_owned());
    }
    if let Some(doubt) = &facts.doubt {
        tell(Error, Reason::WriterInDoubt, format!("no changes until it is opened anew: {doubt}"));
    }
    if !facts.fallen_filesystems.is_empty() {
        let which = facts.fallen_filesystems.join(", ");
        let message = format!(
            "filesystems met errors and may take no writes until they are mounted again: {which}; \
             unmount each, check it (e2fsck, xfs_repair, btrfs check), and mount it again"
        );
        tell(Error, Reason::FilesystemErrors, message);
    }
    let parts = [
        (Reason::DataNearlyFull, "data", facts.data),
        (Reason::MetadataNearlyFull, "metadata", facts.metadata),
    ];
    for (reason, what, usage) in parts {
        let Some(percent) = usage.map(|(used, total)| percent(used, total)) else { continue };
        if percent >= NEARLY_FULL_PERCENT {
            let message = format!("{percent} % of its {what} is used; free some or let it grow");
            tell(Warning, reason, message);
        }
    }
    if let Some((potential, free)) = facts.metadata_outlook.filter(|(need, free)| need > free) {
        let message = format!(
            "its volumes may come to need {potential} more bytes of metadata and {free} are free; \
             give it more with `thinly pool grow --metadata-by`, or delete snapshots"
        );
        tell(Warning, Reason::MetadataMayRunOut, message);
    }
    if let Some((time, limit)) = facts.snapshot_time.filter(|(time, limit)| *time >= limit / 10 * 9)
    {
        let message = format!("{time} of the {limit} snapshots of its life are taken");
        tell(Warning, Reason::SnapshotLifetime, message);
    }
    if facts.orphans > 0 {
        let message = format!("{} thin ids belong to no volume", facts.orphans);
        tell(Warning, Reason::OrphanThinIds, message);
    }
    found.sort_by_key(|condition| std::cmp::Reverse(condition.severity));
    found
}

const fn reason_of(health: Health) -> Option<Reason> {
    match health {
        Health::Writable => None,
        Health::OutOfDataSpace => Some(Reason::ThinPoolOutOfDataSpace),
        Health::ReadOnly => Some(Reason::ThinPoolReadOnly),
        Health::NeedsCheck => Some(Reason::NeedsCheck),
        Health::Failed => Some(Reason::ThinPoolFailed),
    }
}

fn percent(used: Bytes, total: Bytes) -> u64 {
    let percent = u128::from(used.get()) * 100 / u128::from(total.get().max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// What changed between two judgements: what is new or reads otherwise, and what is over.
pub fn changes<'a>(
    before: &'a [Condition],
    now: &'a [Condition],
) -> (Vec<&'a Condition>, Vec<&'a Condition>) {
    let has = |list: &[Condition], reason| list.iter().any(|it| it.reason == reason);
    let begun = now.iter().filter(|condition| !has(before, condition.reason)).collect();
    let over = before.iter().filter(|condition| !has(now, condition.reason)).collect();
    (begun, over)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(facts: &PoolFacts) -> Vec<Reason> {
        conditions(facts).into_iter().map(|condition| condition.reason).collect()
    }

    fn share(used: u64) -> (Bytes, Bytes) {
        (Bytes::new(used), Bytes::new(100))
    }

    #[test]
    fn a_pool_that_is_well_has_none() {
        let well = PoolFacts {
            health: Some(Health::Writable),
            data: Some(share(79)),
            metadata: Some(share(79)),
            metadata_outlook: Some(share(100)),
            snapshot_time: Some((89, 100)),
            ..PoolFacts::default()
        };
        assert!(reasons(&well).is_empty());
    }

    #[test]
    fn each_has_its_reason_and_errors_come_first() {
        let facts = PoolFacts {
            missing_devices: 1,
            fallen_filesystems: vec!["web at /srv".to_owned()],
            health: Some(Health::OutOfDataSpace),
            data: Some(share(80)),
            metadata: Some(share(95)),
            metadata_outlook: Some(share(101)),
            snapshot_time: Some((90, 100)),
            orphans: 3,
            ..PoolFacts::default()
        };
        let expected = [
            Reason::DeviceMissing,
            Reason::ThinPoolOutOfDataSpace,
            Reason::FilesystemErrors,
            Reason::DataNearlyFull,
            Reason::MetadataNearlyFull,
            Reason::MetadataMayRunOut,
            Reason::SnapshotLifetime,
            Reason::OrphanThinIds,
        ];
        assert_eq!(reasons(&facts), expected);
        for (health, reason) in [
            (Health::ReadOnly, Reason::ThinPoolReadOnly),
            (Health::NeedsCheck, Reason::NeedsCheck),
            (Health::Failed, Reason::ThinPoolFailed),
        ] {
            let facts = PoolFacts { health: Some(health), ..PoolFacts::default() };
            assert_eq!(reasons(&facts), [reason]);
        }
        let doubt = PoolFacts { doubt: Some("x".into()), is_damaged: true, ..PoolFacts::default() };
        assert_eq!(reasons(&doubt), [Reason::PoolDamaged, Reason::WriterInDoubt]);
    }

    #[test]
    fn a_change_is_told_once() {
        let of = |reason, message| Condition::new(Severity::Warning, reason, message);
        let before = [of(Reason::DataNearlyFull, "80 %"), of(Reason::OrphanThinIds, "1")];
        let now = [of(Reason::DataNearlyFull, "81 %"), of(Reason::Lost, "gone")];
        let (begun, over) = changes(&before, &now);
        assert_eq!((begun, over), (vec![&now[1]], vec![&before[1]]));
    }

    #[test]
    fn words_are_camel_case_and_differ() {
        let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.iter().all(|word| word.chars().all(char::is_alphanumeric)));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }
}
