//! One call at a time.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use thinly_benches::{Samples, timed};
use thinly_csi_wire::volume_capability::access_mode::Mode;

use super::{Sides, engine_bytes, engine_name, volume_bytes};
use crate::csi::mount;

/// Medians with a number of volumes.
#[derive(Debug, Clone, Copy)]
pub struct Single {
    /// How many volumes each pool holds.
    pub volumes: usize,
    /// A `CreateVolume` over the socket.
    pub call: Duration,
    /// An empty call: `Probe`.
    pub probe: Duration,
    /// The engine's create, in this process.
    pub engine: Duration,
}

impl Single {
    /// The call against the sum of its parts.
    pub fn ratio(&self) -> f64 {
        self.call.as_secs_f64() / (self.probe + self.engine).as_secs_f64()
    }
}

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(
            f,
            "CreateVolume, {:>5} volumes: {:>7.2} ms; Probe {:.2} ms + engine {:.2} ms; ratio {:.2}",
            self.volumes,
            millis(self.call),
            millis(self.probe),
            millis(self.engine),
            self.ratio()
        )
    }
}

/// Makes volumes that stay, on both sides.
pub(super) fn fill(sides: &Sides, count: usize) -> Result<()> {
    let capability = mount("ext4", Mode::SingleNodeWriter);
    for _ in 0..count {
        let name = sides.name();
        sides.client.volume(&name, volume_bytes(), &capability)?;
        sides.pool.create_volume(&engine_name(&name)?, engine_bytes())?;
    }
    Ok(())
}

/// The three take turns, so that what drifts on the host meets all alike.
pub(super) fn measure(sides: &Sides, volumes: usize, rounds: usize) -> Result<Single> {
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let (mut call, mut probe, mut engine) =
        (Samples::default(), Samples::default(), Samples::default());
    let warm_up = rounds.min(3);
    for round in 0..rounds + warm_up {
        let name = sides.name();
        let (ready, probed) = timed(|| Ok(sides.client.is_ready()))?;
        ensure!(ready, "the driver is not ready any more");
        let (volume, called) =
            timed(|| Ok(sides.client.volume(&name, volume_bytes(), &capability)?))?;
        let of_engine = engine_name(&name)?;
        let (_, created) = timed(|| Ok(sides.pool.create_volume(&of_engine, engine_bytes())?))?;
        sides.client.delete_volume(&volume.volume_id)?;
        sides.pool.delete(&of_engine)?;
        if round >= warm_up {
            call.push(called);
            probe.push(probed);
            engine.push(created);
        }
    }
    let (call, probe, engine) = (call.median(), probe.median(), engine.median());
    Ok(Single { volumes, call, probe, engine })
}
