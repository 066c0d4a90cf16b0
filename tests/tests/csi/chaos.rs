//! Clients that repeat every call until it is answered, and a driver that is killed again and again:
//! at the end there is what the clients were told, with its bytes, and nothing else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use thinly_tests::csi::CsiBed;
use thinly_tests::gib;

use crate::chaos_belief::Belief;
use crate::chaos_client::{Dice, Worker};
use crate::support::{is_full, nothing_is_left};

const CLIENTS: u64 = 8;

/// Kills the driver that many times while the clients work, and leaves one running.
fn rage(bed: &CsiBed, kills: usize, dice: &mut Dice) -> Result<()> {
    for _ in 0..kills {
        let driver = bed.start()?;
        // Sometimes at once, sometimes in the middle of work.
        thread::sleep(Duration::from_millis(dice.below(1500)));
        driver.crash()?;
    }
    Ok(())
}

#[test]
fn what_clients_were_told_survives_a_driver_that_is_killed() -> Result<()> {
    let kills = if is_full() { 50 } else { 10 };
    let bed = CsiBed::new(&[gib(4)], "")?;
    bed.start()?.stop()?;
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() >> 10)?;
    println!("seed {seed}");
    let stop = AtomicBool::new(false);
    let beliefs: Vec<Belief> = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (stop, socket, kubelet) = (&stop, bed.socket(), bed.kubelet());
                let dice = Dice::new(seed + number);
                scope.spawn(move || Worker::new(number, &socket, &kubelet, dice)?.work(stop))
            })
            .collect();
        let raged = rage(&bed, kills, &mut Dice::new(seed));
        // The last driver answers what is still being asked.
        let driver = bed.start();
        stop.store(true, Ordering::SeqCst);
        let beliefs = clients.into_iter().map(|client| client.join().unwrap()).collect();
        raged?;
        driver?.stop()?;
        beliefs
    })
    .with_context(|| format!("seed {seed}"))?;

    let driver = bed.start()?;
    let client = driver.client();
    let told: BTreeSet<&str> = beliefs.iter().flat_map(Belief::volumes).collect();
    let volumes = client.volumes()?;
    let found: BTreeSet<&str> = volumes.iter().map(|it| it.volume_id.as_str()).collect();
    ensure!(found == told, "volumes: {:?}", found.symmetric_difference(&told));
    let told: BTreeSet<&str> = beliefs.iter().flat_map(Belief::snapshots).collect();
    let snapshots = client.snapshots()?;
    let found: BTreeSet<&str> = snapshots.iter().map(|it| it.snapshot_id.as_str()).collect();
    ensure!(found == told, "snapshots: {:?}", found.symmetric_difference(&told));
    let done: u64 = beliefs.iter().map(|belief| belief.done).sum();
    ensure!(done > 100, "only {done} calls were answered: this proves nothing");
    for belief in &beliefs {
        belief.check_and_delete(client).with_context(|| format!("seed {seed}"))?;
    }
    driver.stop()?;
    nothing_is_left(&bed)?;
    let left = volumes.len() + snapshots.len();
    println!(
        "proof driver-kills: killed={kills} acknowledged={done} objects={left} lost=0 leaked=0 suspended=0"
    );
    Ok(())
}
