//! Many calls at a time.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};
use thinly_csi_wire::volume_capability::access_mode::Mode;

use super::{Sides, engine_bytes, engine_name, volume_bytes};
use crate::csi::mount;

/// How many calls are under way at a time.
const IN_FLIGHT: usize = 32;

/// Calls a second.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// `CreateVolume` over the socket.
    pub calls: f64,
    /// `Probe` over the socket.
    pub probes: f64,
    /// The engine's create, in this process.
    pub engine: f64,
}

impl Rates {
    /// How many could be had where every call is an empty call and an engine's create and the two
    /// share the same processors: less than either alone.
    pub fn of_both(&self) -> f64 {
        1.0 / (self.probes.recip() + self.engine.recip())
    }

    /// What is reached of what the slower part allows.
    pub fn share(&self) -> f64 {
        self.calls / self.probes.min(self.engine)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{IN_FLIGHT} in flight: {:.0} CreateVolume a second; {:.0} Probe, {:.0} engine, {:.0} of both \
             on shared processors; share {:.2}",
            self.calls,
            self.probes,
            self.engine,
            self.of_both(),
            self.share()
        )
    }
}

/// Runs `work` `count` times on as many threads as are in flight; tells how often a second.
fn rate(count: usize, work: impl Fn() -> Result<()> + Sync) -> Result<f64> {
    let left = AtomicUsize::new(count);
    let take =
        || left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let worker = || -> Result<()> {
            while take().is_ok() {
                work()?;
            }
            Ok(())
        };
        let workers: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a worker failed"))??;
        }
        Ok(())
    })?;
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let count = count as f64;
    Ok(count / began.elapsed().as_secs_f64())
}

pub(super) fn measure(sides: &Sides, count: usize) -> Result<Rates> {
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let probes = rate(count, || {
        anyhow::ensure!(sides.client.is_ready(), "the driver is not ready any more");
        Ok(())
    })?;
    let engine = rate(count, || {
        sides.pool.create_volume(&engine_name(&sides.name())?, engine_bytes())?;
        Ok(())
    })?;
    let calls = rate(count, || {
        sides.client.volume(&sides.name(), volume_bytes(), &capability)?;
        Ok(())
    })?;
    Ok(Rates { calls, probes, engine })
}
