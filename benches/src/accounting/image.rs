//! The images that are asked about.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use thinly_engine::metadata::generate::{Generated, Shape, Spread, generate};
use thinly_engine::units::ThinId;

use crate::program::{self, command};

/// An image to be made.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: &'static str,
    shape: Shape,
}

/// The images of a run.
pub(super) fn shapes(small: bool) -> [Named; 4] {
    let size = if small { Size::SMALL } else { Size::FULL };
    let snapshots = |spread| Shape::snapshots(size.snapshotted_mappings, size.snapshots, spread);
    [
        Named { name: "one volume", shape: Shape::one_volume(size.volume_mappings) },
        Named { name: "snapshots, clustered", shape: snapshots(Spread::Clustered) },
        Named { name: "snapshots, random", shape: snapshots(Spread::Random) },
        Named {
            name: "many small volumes",
            shape: Shape::small_volumes(size.small_volumes, size.small_mappings),
        },
    ]
}

/// How large the images are.
struct Size {
    volume_mappings: u64,
    snapshotted_mappings: u64,
    snapshots: u32,
    small_volumes: u32,
    small_mappings: u64,
}

impl Size {
    const FULL: Self = Self {
        volume_mappings: 4_000_000,
        snapshotted_mappings: 1_000_000,
        snapshots: 100,
        small_volumes: 5_000,
        small_mappings: 300,
    };
    const SMALL: Self = Self {
        volume_mappings: 20_000,
        snapshotted_mappings: 10_000,
        snapshots: 5,
        small_volumes: 50,
        small_mappings: 300,
    };
}

/// What an image holds.
#[derive(Debug, Clone, Serialize)]
pub struct ImageFacts {
    /// Its name in the rows.
    pub name: &'static str,
    /// How many thin devices it has.
    pub device_count: usize,
    /// How many blocks the largest volume maps.
    pub volume_mapping_count: u64,
    /// How many blocks change from one snapshot to the next.
    pub changed_block_count: u64,
    /// How many data blocks are in use.
    pub used_data_block_count: u64,
    /// How many metadata blocks are in use.
    pub used_metadata_block_count: u64,
}

impl fmt::Display for ImageFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device_count, volume_mapping_count, changed_block_count, .. } = self;
        write!(f, "{device_count} devices of up to {volume_mapping_count} mappings")?;
        if *changed_block_count > 0 {
            write!(f, " with {changed_block_count} changed between two")?;
        }
        let blocks = self.used_metadata_block_count;
        write!(f, ", {blocks} metadata blocks ({} MiB)", blocks / 256)
    }
}

/// A file that goes when it is no more needed, and when the run fails too.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What the run ended with is the one thing to tell.
        let _ = fs::remove_file(&self.0);
    }
}

/// A generated image.
#[derive(Debug)]
pub(super) struct Image {
    file: Temporary,
    pub(super) facts: ImageFacts,
    /// Two snapshots, of which one was taken right after the other.
    pub(super) neighbours: Option<(ThinId, ThinId)>,
    devices: Vec<ThinId>,
}

impl Image {
    pub(super) fn generate(named: &Named, scratch: &Path) -> Result<Self> {
        let path = scratch.join("accounting.metadata");
        let file = File::create_new(&path).with_context(|| {
            format!("making {}: what is there is not overwritten", path.display())
        })?;
        let temporary = Temporary(path);
        let Named { name, shape } = named;
        let Generated { devices, used_metadata_blocks, used_data_blocks, .. } =
            generate(shape, &file).with_context(|| format!("generating {name}"))?;
        file.sync_all()?;
        let facts = ImageFacts {
            name,
            device_count: devices.len(),
            volume_mapping_count: shape.mappings_max,
            changed_block_count: shape.changed_blocks,
            used_data_block_count: used_data_blocks.get(),
            used_metadata_block_count: used_metadata_blocks.get(),
        };
        let neighbours = (shape.snapshots_each > 1)
            .then_some(devices.len() / 2)
            .and_then(|middle| Some((*devices.get(middle)?, *devices.get(middle + 1)?)));
        Ok(Self { file: temporary, facts, neighbours, devices })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.file.0
    }

    /// Fails unless `thin_check` accepts the image, and ours and theirs dump the same of the first
    /// and of the last device.
    pub(super) fn verify(&self, thinly: Option<&Path>) -> Result<()> {
        program::output(command(program::path("thin_check")).arg(self.path()))?;
        let Some(thinly) = thinly else { return Ok(()) };
        for id in [self.devices.first(), self.devices.last()].into_iter().flatten() {
            let id = id.to_string();
            let theirs = program::output(
                command(program::path("thin_dump")).args(["--dev-id", &id]).arg(self.path()),
            )?;
            let ours = program::output(
                command(thinly).args(["image", "dump", "--dev-id", &id]).arg(self.path()),
            )?;
            ensure!(ours == theirs, "thin_dump and thinly differ on device {id}");
        }
        Ok(())
    }
}
