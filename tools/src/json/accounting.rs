//! What volumes cost.
#![forbid(unsafe_code)]

use serde::Serialize;
use thinly_engine::catalogue::VolumeKind;
use thinly_engine::pool::{Accounting, Cost};
use thinly_engine::units::ThinId;

/// What the volumes of a pool cost.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct AccountingJson {
    pub pool: String,
    pub block_bytes: u64,
    pub volumes: Vec<VolumeUsageJson>,
    pub others: Vec<OtherUsageJson>,
    pub set: Option<SetJson>,
    pub totals: TotalsJson,
}

/// What one volume or snapshot costs.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct VolumeUsageJson {
    pub name: String,
    pub kind: &'static str,
    pub origin: Option<String>,
    pub thin_id: Option<u32>,
    pub virtual_bytes: u64,
    #[serde(flatten)]
    pub cost: CostJson,
}

/// What a thin device costs that no volume has.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct OtherUsageJson {
    pub thin_id: u32,
    pub deleted: bool,
    #[serde(flatten)]
    pub cost: CostJson,
}

/// What a thin device costs; all null when it was not in the pool.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
#[allow(clippy::struct_field_names, reason = "units stand last in every name of the contract")]
pub struct CostJson {
    pub mapped_bytes: Option<u64>,
    pub exclusive_bytes: Option<u64>,
    pub shared_bytes: Option<u64>,
    pub metadata_bytes: Option<u64>,
    pub exclusive_metadata_bytes: Option<u64>,
}

/// What several volumes cost together.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
pub struct SetJson {
    pub names: Vec<String>,
    pub exclusive_bytes: u64,
    pub exclusive_metadata_bytes: u64,
}

/// Everything in a pool, each block counted once.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "each field is described in docs/json.md")]
#[allow(clippy::struct_field_names, reason = "units stand last in every name of the contract")]
pub struct TotalsJson {
    pub mapped_bytes: u64,
    pub shared_bytes: u64,
    pub total_data_bytes: u64,
    pub metadata_bytes: u64,
}

impl From<&Accounting> for AccountingJson {
    fn from(accounting: &Accounting) -> Self {
        let volumes = accounting.volumes.iter().map(|volume| VolumeUsageJson {
            name: volume.name.to_string(),
            kind: kind(&volume.kind),
            origin: volume.origin_name.as_ref().map(ToString::to_string),
            thin_id: volume.thin_id.map(ThinId::get),
            virtual_bytes: volume.virtual_bytes.get(),
            cost: volume.cost.map(CostJson::from).unwrap_or_default(),
        });
        let others = accounting.others.iter().map(|other| OtherUsageJson {
            thin_id: other.thin_id.get(),
            deleted: other.is_deleted,
            cost: other.cost.into(),
        });
        Self {
            pool: accounting.pool.to_string(),
            block_bytes: accounting.block_size.bytes().get(),
            volumes: volumes.collect(),
            others: others.collect(),
            set: accounting.set.as_ref().map(|set| SetJson {
                names: set.names.iter().map(ToString::to_string).collect(),
                exclusive_bytes: set.exclusive_bytes.get(),
                exclusive_metadata_bytes: set.exclusive_metadata_bytes.get(),
            }),
            totals: TotalsJson {
                mapped_bytes: accounting.mapped_bytes.get(),
                shared_bytes: accounting.shared_bytes.get(),
                total_data_bytes: accounting.total_bytes.get(),
                metadata_bytes: accounting.metadata_bytes.get(),
            },
        }
    }
}

impl From<Cost> for CostJson {
    fn from(cost: Cost) -> Self {
        Self {
            mapped_bytes: Some(cost.mapped_bytes.get()),
            exclusive_bytes: Some(cost.exclusive_bytes.get()),
            shared_bytes: Some(cost.shared_bytes.get()),
            metadata_bytes: Some(cost.metadata_bytes.get()),
            exclusive_metadata_bytes: Some(cost.exclusive_metadata_bytes.get()),
        }
    }
}

const fn kind(kind: &VolumeKind) -> &'static str {
    match kind {
        VolumeKind::Blank => "blank",
        VolumeKind::Clone { .. } => "clone",
        VolumeKind::Snapshot { .. } => "snapshot",
    }
}
