//! Clients that repeat every call until it is answered, and a driver that is killed again and again:
//! at the end there is what the clients were told, with its bytes, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use thinly_tests::csi::CsiBed;
use thinly_tests::gib;

use crate::chaos_belief::Belief;
use crate::chaos_client::{Dice, Worker};
use crate::support::{is_full, nothing_is_left};

const CLIENTS: u64 = 8;

/// How many answers there must be for each kill: fewer calls prove nothing.
const CALLS_PER_KILL: u64 = 12;

/// Kills the driver that many times while the clients work: after some time, and every second one
/// only when enough was answered, however slow the machine is. `may_go_on` ends the waiting.
fn rage(
    bed: &CsiBed,
    kills: u64,
    dice: &mut Dice,
    done: &AtomicU64,
    may_go_on: impl Fn() -> bool,
) -> Result<()> {
    for number in 1..=kills {
        let driver = bed.start()?;
        thread::sleep(Duration::from_millis(dice.below(1500)));
        while number % 2 == 0
            && done.load(Ordering::Relaxed) < number * CALLS_PER_KILL
            && may_go_on()
        {
            thread::sleep(Duration::from_millis(20));
        }
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
    let (stop, done) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    let beliefs: Vec<Belief> = thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (stop, socket, kubelet) = (&stop, bed.socket(), bed.kubelet());
                let (dice, done) = (Dice::new(seed + number), Arc::clone(&done));
                scope
                    .spawn(move || Worker::new(number, (&socket, &kubelet), dice, done)?.work(stop))
            })
            .collect();
        let all_work = || !clients.iter().any(thread::ScopedJoinHandle::is_finished);
        let raged = rage(&bed, kills, &mut Dice::new(seed), &done, all_work);
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
    let done = done.load(Ordering::Relaxed);
    ensure!(done >= kills * CALLS_PER_KILL, "only {done} calls were answered");
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
