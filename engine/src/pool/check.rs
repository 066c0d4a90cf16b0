//! Checking a pool: its metadata, and its catalogue against the thin devices that are there.
#![forbid(unsafe_code)]

use std::fmt;

use super::check_again::look_again;
use super::error::PoolError;
use super::located::{Located, linear_segments};
use super::metadata_view::read_metadata;
use super::open::is_open;
use super::segmented::Segmented;
use crate::catalogue::{Catalogue, ThinState, VolumeName};
use crate::dm::Dm;
use crate::layout::Role;
use crate::metadata::{
    BlockSource, CheckReport, MetadataError, Severity, Superblock, SuperblockState, check_closed,
    check_held, highest_mapped_block, read_superblock, settled_superblock,
};
use crate::units::{Bytes, ThinId};

/// What a check of a pool found.
#[derive(Debug, Default)]
pub struct PoolCheck {
    /// In the metadata.
    pub metadata: CheckReport,
    /// Between the catalogue and the metadata.
    pub catalogue: Vec<CatalogueFinding>,
}

/// Where catalogue and metadata do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogueFinding {
    /// A volume's thin device is not in the pool.
    VolumeGone {
        /// The volume.
        name: VolumeName,
        /// The id that it should have.
        thin_id: ThinId,
        /// Whether the pool's recovery has noted that already.
        is_known: bool,
    },
    /// A thin device that the catalogue does not know.
    Orphan {
        /// Its id.
        thin_id: ThinId,
    },
    /// A thin device whose volume is deleted and whose space is not free yet.
    Unreaped {
        /// Its id.
        thin_id: ThinId,
    },
    /// A volume maps data beyond its end.
    BeyondEnd {
        /// The volume.
        name: VolumeName,
        /// Its size.
        size: Bytes,
        /// Where what it maps ends.
        mapped_end: Bytes,
    },
}

impl CatalogueFinding {
    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::VolumeGone { .. } => Severity::Error,
            Self::Orphan { .. } | Self::BeyondEnd { .. } => Severity::Warning,
            Self::Unreaped { .. } => Severity::Note,
        }
    }

    /// What it is, in one word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::VolumeGone { .. } => "VolumeGone",
            Self::Orphan { .. } => "Orphan",
            Self::Unreaped { .. } => "Unreaped",
            Self::BeyondEnd { .. } => "BeyondEnd",
        }
    }

    /// What follows from it.
    pub const fn meaning(&self) -> &'static str {
        match self {
            Self::VolumeGone { .. } => {
                "its data is lost; restore it from elsewhere, then delete it"
            }
            Self::Orphan { .. } => "its space is not free; `thinly pool remove-orphan` deletes it",
            Self::Unreaped { .. } => "its space is freed in the background while a writer runs",
            Self::BeyondEnd { .. } => "this data cannot be reached; growing the volume shows it",
        }
    }
}

impl fmt::Display for CatalogueFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VolumeGone { name, thin_id, is_known } => {
                let known = if *is_known { ", which is known" } else { "" };
                write!(f, "{name} has thin id {thin_id}, which is not in the pool{known}")
            }
            Self::Orphan { thin_id } => {
                write!(f, "thin device {thin_id} is in the pool and belongs to no volume")
            }
            Self::Unreaped { thin_id } => {
                write!(f, "thin device {thin_id} is deleted and not yet freed")
            }
            Self::BeyondEnd { name, size, mapped_end } => {
                write!(f, "{name} is {size} bytes long and maps data up to {mapped_end}")
            }
        }
    }
}

/// Checks a pool, open or closed; nothing is written. `progress` gets nodes met and about their total.
pub(super) fn check(
    dm: &dyn Dm,
    located: &Located,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PoolCheck, PoolError> {
    if is_open(dm, located)? {
        return read_metadata(dm, located, &[], |view| {
            let guess = settled_superblock(view.source)?.metadata_space_map.allocated_blocks;
            let total = view.total_data_blocks;
            let metadata = check_held(view.source, view.superblock, total, &mut |done| {
                progress(done, guess.max(done));
            })?;
            let found = compare(view.source, view.superblock, view.catalogue, &metadata)?;
            let catalogue = look_again(located, view.source, found)?;
            Ok(PoolCheck { metadata, catalogue })
        });
    }
    let (catalogue, _) = located.read_catalogue()?;
    let source = Segmented::open(located, &linear_segments(&catalogue, Role::Metadata)?)?;
    let metadata = check_closed(&source, progress)?;
    let catalogue = match read_superblock(&source) {
        Ok(SuperblockState::Valid(live)) => compare(&source, &live, &catalogue, &metadata)?,
        _ => Vec::new(),
    };
    Ok(PoolCheck { metadata, catalogue })
}

/// Compares the catalogue with the devices that a check has read.
fn compare(
    source: &dyn BlockSource,
    superblock: &Superblock,
    catalogue: &Catalogue,
    report: &CheckReport,
) -> Result<Vec<CatalogueFinding>, PoolError> {
    let mut findings = Vec::new();
    for volume in catalogue.volumes() {
        let Some(thin_id) = volume.thin.id() else { continue };
        let name = volume.name.clone();
        if !report.devices.contains_key(&thin_id) {
            let is_known = matches!(volume.thin, ThinState::Lost(_));
            findings.push(CatalogueFinding::VolumeGone { name, thin_id, is_known });
            continue;
        }
        let highest = match highest_mapped_block(source, superblock, thin_id) {
            Ok(highest) => highest,
            // The check has told of the damage already.
            Err(MetadataError::Node { .. } | MetadataError::BeyondEnd { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let block_bytes = catalogue.pool().block_size.bytes().get();
        let rounded = volume.size.get().div_ceil(block_bytes).saturating_mul(block_bytes);
        let end =
            highest.map_or(0, |highest| (highest.saturating_add(1)).saturating_mul(block_bytes));
        if end > rounded {
            let (size, mapped_end) = (volume.size, Bytes::new(end));
            findings.push(CatalogueFinding::BeyondEnd { name, size, mapped_end });
        }
    }
    for &thin_id in report.devices.keys() {
        if catalogue.tombstones().contains_key(&thin_id) {
            findings.push(CatalogueFinding::Unreaped { thin_id });
        } else if catalogue.owner(thin_id).is_none() {
            findings.push(CatalogueFinding::Orphan { thin_id });
        }
    }
    Ok(findings)
}
