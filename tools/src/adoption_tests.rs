//! What is decided, case by case.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_engine::catalogue::ProvisionKey;
use thinly_engine::layout::FilesystemFacts;
use thinly_engine::units::Bytes;
use uuid::Uuid;

use super::*;
use ClusterAccess::{Block, Mount};
use FilesystemChoice::{Ext4, Xfs};

const UUID: Uuid = Uuid::from_u128(9);

fn holds(name: &'static str) -> Carried {
    Carried::Filesystem(FilesystemFacts { name, length: Bytes::new(1 << 30), uuid: UUID })
}

fn luks() -> Carried {
    Carried::Other("LUKS".to_owned())
}

fn formatting() -> Content {
    Content::Formatting { filesystem: "ext4".to_owned(), filesystem_uuid: UUID }
}

fn formatted() -> Content {
    Content::Formatted { filesystem: "ext4".to_owned(), filesystem_uuid: UUID }
}

fn wish(access: Option<ClusterAccess>, filesystem: Option<FilesystemChoice>) -> Wish {
    Wish { access, filesystem }
}

#[test]
fn what_a_volume_holds_decides_and_what_was_written_is_never_formatted() {
    use Carried::Nothing;
    use Content::{Blank, Touched};
    let nothing = wish(None, None);
    let mount = wish(Some(Mount), None);
    let block = wish(Some(Block), None);
    let xfs = wish(None, Some(Xfs));
    for (content, carried, wish, wanted) in [
        (Blank, Nothing, nothing, (Block, None, Blank)),
        (Blank, Nothing, mount, (Mount, Some("ext4"), Blank)),
        (Blank, Nothing, xfs, (Mount, Some("xfs"), Blank)),
        (Blank, Nothing, block, (Block, None, Blank)),
        // A catalogue that is older than the data, by a restored backup.
        (Blank, holds("ext4"), nothing, (Mount, Some("ext4"), Touched)),
        (Blank, luks(), nothing, (Block, None, Touched)),
        (Touched, Nothing, nothing, (Block, None, Touched)),
        (Touched, luks(), block, (Block, None, Touched)),
        (Touched, holds("xfs"), nothing, (Mount, Some("xfs"), Touched)),
        (Touched, holds("xfs"), xfs, (Mount, Some("xfs"), Touched)),
        (Touched, holds("btrfs"), block, (Block, None, Touched)),
        (formatted(), holds("ext4"), mount, (Mount, Some("ext4"), formatted())),
        // Somebody may have used it since the driver was cut off.
        (formatting(), holds("ext4"), nothing, (Mount, Some("ext4"), Touched)),
        (formatting(), Nothing, nothing, (Block, None, Touched)),
    ] {
        let case = format!("{content:?}, {carried:?}, {wish:?}");
        let adoption =
            decide(&content, &carried, wish).unwrap_or_else(|why| panic!("{case}: {why}"));
        let (access, filesystem, content) = wanted;
        assert_eq!(
            (adoption.access, adoption.filesystem.as_deref()),
            (access, filesystem),
            "{case}"
        );
        assert_eq!(adoption.content, content, "{case}");
    }
}

#[test]
fn what_the_driver_would_refuse_is_refused_before() {
    let mount = wish(Some(Mount), None);
    for (content, carried, wish, word) in [
        (Content::Touched, Carried::Nothing, mount, "no filesystem that is known"),
        (Content::Touched, Carried::Nothing, wish(None, Some(Ext4)), "no filesystem"),
        (Content::Touched, luks(), mount, "holds LUKS"),
        (Content::Blank, luks(), mount, "holds LUKS"),
        (formatting(), Carried::Nothing, mount, "no filesystem"),
        (formatted(), Carried::Nothing, mount, "no filesystem"),
        (Content::Touched, holds("xfs"), wish(None, Some(Ext4)), "holds xfs, not ext4"),
    ] {
        let refused = decide(&content, &carried, wish).unwrap_err();
        assert!(refused.contains(word), "{content:?}, {carried:?}: {refused}");
    }
}

fn kept(attributes: &[(&str, &str)]) -> Provision {
    let attributes: BTreeMap<String, String> =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Provision::new(ProvisionKey::new("volume/v").unwrap(), attributes).unwrap()
}

#[test]
fn what_a_cluster_knows_is_told_as_it_was_kept() {
    let nothing = wish(None, None);
    let mount = kept(&[("access", "mount")]);
    let adopted = kept(&[("access", "mount"), ("filesystem", "xfs")]);
    let block = kept(&[("access", "block")]);
    for (kept, content, carried, wish, wanted) in [
        (&mount, Content::Blank, None, nothing, (Mount, None)),
        (&mount, Content::Blank, None, wish(None, Some(Xfs)), (Mount, Some("xfs"))),
        (&mount, formatted(), None, nothing, (Mount, Some("ext4"))),
        (&mount, formatting(), None, nothing, (Mount, Some("ext4"))),
        (&mount, Content::Touched, Some(holds("btrfs")), nothing, (Mount, Some("btrfs"))),
        (&adopted, Content::Touched, None, nothing, (Mount, Some("xfs"))),
        (&adopted, Content::Blank, None, wish(Some(Mount), None), (Mount, Some("xfs"))),
        (&block, Content::Touched, Some(holds("ext4")), nothing, (Block, None)),
        (&block, Content::Touched, None, wish(Some(Block), None), (Block, None)),
        // Nothing was kept: another orchestrator's.
        (&kept(&[]), Content::Touched, None, nothing, (Block, None)),
        (&kept(&[]), formatted(), None, nothing, (Mount, Some("ext4"))),
        (&kept(&[]), formatted(), None, wish(Some(Block), None), (Block, None)),
    ] {
        let (access, filesystem) = describe(kept, &content, carried.as_ref(), wish).unwrap();
        assert_eq!((access, filesystem.as_deref()), wanted, "{kept:?}, {content:?}, {carried:?}");
    }
}

#[test]
fn another_use_than_the_kept_one_is_refused() {
    let (mount, block) = (kept(&[("access", "mount")]), kept(&[("access", "block")]));
    for (kept, wish, words) in [
        (&mount, wish(Some(Block), None), ["access mount and not block", "forget it first"]),
        (&block, wish(Some(Mount), None), ["access block and not mount", "forget it first"]),
        (&block, wish(None, Some(Ext4)), ["access block and not mount", "--fs-type"]),
        (&mount, wish(None, Some(Xfs)), ["holds ext4", "not xfs"]),
    ] {
        let refused = describe(kept, &formatted(), None, wish).unwrap_err();
        assert!(words.iter().all(|word| refused.contains(word)), "{refused}");
    }
}
