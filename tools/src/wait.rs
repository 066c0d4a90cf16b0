//! Opening a pool whose disks come late: at boot they appear one after the other.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use thinly_engine::pool::{Engine, Pool, PoolError};

/// Between two looks at the disks.
const PAUSE: Duration = Duration::from_millis(500);

/// Opens a pool, or takes it over where it is open; what keeps coming is waited for. `tell` hears
/// once of each thing that is missing.
pub(crate) fn open_within(
    engine: &Engine,
    name: &str,
    devices: &[PathBuf],
    patience: Duration,
    take_over: bool,
    tell: &mut dyn FnMut(&str),
) -> Result<(Pool, bool), PoolError> {
    let deadline = Instant::now() + patience;
    let mut told = String::new();
    loop {
        let opened = if take_over {
            match engine.attach(name) {
                Err(PoolError::NotOpen { .. }) => {
                    engine.open_pool(name, devices).map(|pool| (pool, true))
                }
                attached => attached.map(|pool| (pool, false)),
            }
        } else {
            engine.open_pool(name, devices).map(|pool| (pool, true))
        };
        match opened {
            Err(error) if may_come(&error) && Instant::now() < deadline => {
                let text = error.to_string();
                if text != told {
                    tell(&text);
                    told = text;
                }
                thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
            }
            other => return other,
        }
    }
}

/// Whether another disk may be all that is needed. Labels that contradict each other never are.
const fn may_come(error: &PoolError) -> bool {
    matches!(
        error,
        PoolError::NoPool { .. } | PoolError::Incomplete { .. } | PoolError::JournalMissing { .. }
    )
}
