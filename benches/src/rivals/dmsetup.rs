//! The rival: a program that keeps its own book and has `dmsetup` do the work.
//!
//! This is how containerd's devmapper snapshotter drives dm-thin: every step is first noted as
//! intended in a small database, then done by a `dmsetup` of its own, then noted as done. Its
//! database syncs the disk twice for each note. Here a note is one durable write of a block, which
//! is less. The program asks for no status, so neither does this.

use std::path::{Path, PathBuf};

use anyhow::Result;
use thinly_engine::units::{Bytes, ThinId};

use super::floor::Floor;
use crate::program;

/// `dmsetup` on the pool of the floor.
#[derive(Debug)]
pub struct Dmsetup<'a> {
    floor: &'a Floor,
    program: PathBuf,
}

impl<'a> Dmsetup<'a> {
    /// Works beside the floor on its pool: take ids from there.
    pub fn new(floor: &'a Floor) -> Self {
        Self { floor, program: program::path("dmsetup") }
    }

    /// Makes a thin.
    pub fn create_thin(&self, id: ThinId) -> Result<()> {
        self.message(&format!("create_thin {id}"))
    }

    /// Makes the device of a thin.
    pub fn activate(&self, id: ThinId, size: Bytes) -> Result<PathBuf> {
        let name = self.floor.names().thin(id)?;
        let (sectors, pool) = (size.to_sectors_exact()?, self.floor.pool());
        let table = format!("0 {sectors} thin {}:{} {id}", pool.major, pool.minor);
        self.step(&["create", name.as_str(), "--noudevsync", "--table", &table])?;
        Ok(Path::new("/dev/mapper").join(name.as_str()))
    }

    /// Takes a snapshot of an active origin.
    pub fn snapshot(&self, origin: ThinId, id: ThinId) -> Result<()> {
        let name = self.floor.names().thin(origin)?;
        self.step(&["suspend", name.as_str(), "--noudevsync"])?;
        let made = self.message(&format!("create_snap {id} {origin}"));
        self.step(&["resume", name.as_str(), "--noudevsync"])?;
        made
    }

    /// Removes the device of a thin.
    pub fn deactivate(&self, id: ThinId) -> Result<()> {
        let name = self.floor.names().thin(id)?;
        self.step(&["remove", "--retry", name.as_str(), "--noudevsync"])
    }

    /// Frees a thin.
    pub fn delete(&self, id: ThinId) -> Result<()> {
        self.message(&format!("delete {id}"))
    }

    fn message(&self, message: &str) -> Result<()> {
        let pool = &self.floor.names().pool_device;
        self.step(&["message", pool.as_str(), "0", message, "--noudevsync"])
    }

    fn step(&self, arguments: &[&str]) -> Result<()> {
        self.floor.write_record()?;
        program::output(program::command(&self.program).args(arguments))?;
        self.floor.write_record()
    }
}
