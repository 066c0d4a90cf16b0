//! The trees: details, devices, and the mappings of every device.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::super::btree::{Visitor, damage, walk};
use super::super::details::{DeviceDetails, thin_id};
use super::super::error::{KeyRange, MetadataError, Tree};
use super::super::fault::NodeFault;
use super::super::mappings::TIME_BITS;
use super::super::node::Node;
use super::super::owner::Owner;
use super::super::superblock::Superblock;
use super::super::survey::{Below, Reached, Root, Surveyor, survey};
use super::{Check, CheckFinding, Part};
use crate::units::ThinId;

impl Check<'_> {
    /// Reads all trees below the live superblock and below a held one, and counts references.
    pub(super) fn trees(
        &mut self,
        live: &Superblock,
        held: Option<&Superblock>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), MetadataError> {
        let mut roots = self.upper_trees(live, true)?;
        let live_roots = roots.len();
        if let Some(held) = held {
            self.count_superblock(held.block);
            roots.extend(self.upper_trees(held, false)?);
        }
        for root in &roots {
            if let Some(details) = self.report.devices.get(&root.device) {
                let newest = details.creation_time.max(details.snapshotted_time);
                self.check_time(root.device, newest, live.time);
            }
        }
        let mut reading = Reading { check: self, now: live.time, late: HashSet::new(), progress };
        let below = survey(reading.check.source, &roots, &mut reading)?;
        self.compare(roots.get(..live_roots).unwrap_or_default(), &below);
        Ok(())
    }

    /// Reads the two trees above the mappings; gives the roots below them.
    fn upper_trees(
        &mut self,
        superblock: &Superblock,
        is_live: bool,
    ) -> Result<Vec<Root>, MetadataError> {
        let mut upper = Upper { check: self, entered: HashSet::new(), is_live, roots: Vec::new() };
        walk(upper.check.source, Tree::Details, superblock.device_details_root, &mut upper)?;
        walk(upper.check.source, Tree::Devices, superblock.data_mapping_root, &mut upper)?;
        Ok(upper.roots)
    }

    /// Details and mappings must tell of the same devices.
    fn compare(&mut self, roots: &[Root], below: &[Below]) {
        let mut without: HashSet<ThinId> = self.report.devices.keys().copied().collect();
        for (root, below) in roots.iter().zip(below) {
            let device = root.device;
            self.report.device_count += 1;
            match self.report.devices.get(&device).map(|details| details.mapped_blocks.get()) {
                None if !self.incomplete => self.report.add(CheckFinding::NoDetails { device }),
                Some(stored) if stored != below.mappings && !self.incomplete => {
                    let found = below.mappings;
                    self.report.add(CheckFinding::MappedBlocks { device, stored, found });
                }
                _ => {}
            }
            without.remove(&device);
        }
        if !self.incomplete {
            let mut without: Vec<ThinId> = without.into_iter().collect();
            without.sort_unstable();
            for device in without {
                self.report.add(CheckFinding::NoMappings { device });
            }
        }
    }

    fn check_time(&mut self, device: ThinId, time: u32, now: u32) {
        if time > now {
            self.report.add(CheckFinding::FromTheFuture { device, time, now });
        }
    }
}

/// The trees of details and of devices, which share nodes only with those of a metadata snapshot.
struct Upper<'a, 'b> {
    check: &'a mut Check<'b>,
    entered: HashSet<u64>,
    is_live: bool,
    roots: Vec<Root>,
}

impl Visitor for Upper<'_, '_> {
    fn enter(&mut self, tree: Tree, block: u64, keys: KeyRange) -> Result<bool, MetadataError> {
        let part = if tree == Tree::Details { Part::Details } else { Part::Devices };
        let Some(before) = self.check.metadata.increment(block) else {
            let block_count = self.check.metadata.total_blocks();
            let fault = NodeFault::BeyondEnd { block_count };
            self.check.damaged(damage(self.check.source, tree, block, keys, fault));
            return Ok(false);
        };
        let is_twice = !self.entered.insert(block);
        let was = *self.check.upper.entry(block).or_insert(part);
        if is_twice || was != part {
            self.check.damaged(damage(self.check.source, tree, block, keys, NodeFault::Reused));
            return Ok(false);
        }
        Ok(before == 0)
    }

    fn damaged(&mut self, damage: MetadataError) -> Result<(), MetadataError> {
        self.check.damaged(damage);
        Ok(())
    }

    fn visit(&mut self, tree: Tree, node: &Node) -> Result<(), MetadataError> {
        for index in (0..node.entries()).filter(|_| !node.is_internal()) {
            let id = match thin_id(self.check.source, tree, node, index) {
                Ok(id) => id,
                Err(damage) => {
                    self.check.damaged(damage);
                    continue;
                }
            };
            if tree == Tree::Devices {
                let block = node.number(index);
                let owners = [Owner::SEVERAL; 2];
                self.roots.push(Root { device: id, block, owners, mask: 0 });
            } else if self.is_live {
                self.check.report.devices.insert(id, DeviceDetails::parse(node.value(index)));
            }
        }
        Ok(())
    }
}

/// The mappings.
struct Reading<'a, 'b> {
    check: &'a mut Check<'b>,
    now: u32,
    /// Devices that were reported for a mapping from the future: one is enough.
    late: HashSet<ThinId>,
    progress: &'a mut dyn FnMut(u64),
}

impl Surveyor for Reading<'_, '_> {
    fn damaged(&mut self, damage: MetadataError) -> Result<(), MetadataError> {
        self.check.damaged(damage);
        Ok(())
    }

    fn node(&mut self, reached: &Reached) -> Result<(), MetadataError> {
        for _ in 0..reached.references {
            self.check.metadata.increment(reached.block);
        }
        if self.check.upper.contains_key(&reached.block) {
            let tree = Tree::Mappings(reached.device);
            let (block, keys) = (reached.block, reached.keys);
            self.check.damaged(damage(self.check.source, tree, block, keys, NodeFault::Reused));
        }
        self.check.report.node_count += 1;
        (self.progress)(self.check.report.node_count);
        Ok(())
    }

    fn leaf(&mut self, reached: &Reached, leaf: &Node<&[u8]>) -> Result<(), MetadataError> {
        let mut newest = 0;
        for index in 0..leaf.entries() {
            let value = leaf.number(index);
            let data_block = value >> TIME_BITS;
            newest = newest.max(value & ((1 << TIME_BITS) - 1));
            if self.check.data.increment(data_block).is_none() {
                let (key, total) = (leaf.key(index), self.check.data.total_blocks());
                let fault = NodeFault::DataBlockBeyondEnd { key, data_block, total };
                let (tree, block) = (Tree::Mappings(reached.device), reached.block);
                self.check.damaged(damage(self.check.source, tree, block, reached.keys, fault));
            }
        }
        let newest = u32::try_from(newest).unwrap_or(u32::MAX);
        if newest > self.now && self.late.insert(reached.device) {
            self.check.check_time(reached.device, newest, self.now);
        }
        Ok(())
    }
}
