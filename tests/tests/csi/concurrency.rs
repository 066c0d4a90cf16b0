//! Many calls at one time: each gets an answer that is true, and all of them together fit.

use std::collections::BTreeSet;
use std::fs;
use std::thread;

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, block, code, from_volume, mount};
use thinly_tests::gib;
use tonic::{Code, Status};

use crate::support::{active_devices, mib, nothing_is_left};

/// The answers of calls that are made at one time.
fn at_once<T: Send>(
    count: usize,
    call: impl Fn(usize) -> Result<T, Status> + Sync,
) -> Vec<Result<T, Status>> {
    let call = &call;
    thread::scope(|scope| {
        let calls: Vec<_> = (0..count).map(|number| scope.spawn(move || call(number))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

/// Repeats a call for as long as it is told to come back.
pub(crate) fn until_done<T>(mut call: impl FnMut() -> Result<T, Status>) -> Result<T, Status> {
    loop {
        match call() {
            Err(status) if status.code() == Code::Aborted => {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

#[test]
fn a_pool_with_room_for_forty_gives_forty() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "    thin-pool: {overprovision-ratio: 2.0}\n")?;
    let driver = bed.start()?;
    let client = driver.client();
    let all = client.capacity(wire::GetCapacityRequest::default())?.available_capacity;
    // The largest size that fits forty times, in whole steps.
    let bytes = all / 40 / 4096 * 4096;
    ensure!(bytes * 41 > all, "{bytes} of {all}");
    let capability = block(Mode::SingleNodeWriter);
    let answers = at_once(64, |number| client.volume(&format!("v{number}"), bytes, &capability));
    let made: BTreeSet<&str> =
        answers.iter().flatten().map(|volume| volume.volume_id.as_str()).collect();
    ensure!(made.len() == 40, "{} volumes", made.len());
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        ensure!(refused.code() == Code::ResourceExhausted, "{refused:?}");
        for number in [bytes, all - 40 * bytes] {
            let said = refused.message().contains(&number.to_string());
            ensure!(said, "{number} is not in {:?}", refused.message());
        }
        ensure!(refused.message().contains("free"), "{:?}", refused.message());
    }
    ensure!(client.volumes()?.len() == 40);
    // Room that is given back can be had at once.
    let given_back: Vec<&&str> = made.iter().take(5).collect();
    for answer in at_once(5, |number| client.delete_volume(given_back[number])) {
        answer?;
    }
    let answers = at_once(10, |number| client.volume(&format!("w{number}"), bytes, &capability));
    ensure!(answers.iter().flatten().count() == 5, "{answers:?}");
    driver.stop()
}

#[test]
fn one_name_gives_one_object() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let made = at_once(16, |_| until_done(|| client.volume("v", mib(16), &capability)));
    let made: Vec<wire::Volume> = made.into_iter().collect::<Result<_, _>>()?;
    ensure!(made.iter().all(|volume| *volume == made[0]), "{made:?}");
    ensure!(client.volumes()?.len() == 1);
    // Sizes that contradict, for each is the least and the most: one wins, the others are told.
    let sizes = at_once(8, |number| {
        let bytes = mib(8) << (number % 2);
        let capacity_range =
            Some(wire::CapacityRange { required_bytes: bytes, limit_bytes: bytes });
        let request = wire::CreateVolumeRequest {
            name: "w".to_owned(),
            capacity_range,
            volume_capabilities: vec![capability.clone()],
            ..Default::default()
        };
        until_done(|| client.create_volume(request.clone()))
    });
    let won: Vec<i64> = sizes.iter().flatten().map(|volume| volume.capacity_bytes).collect();
    ensure!(won.len() == 4 && won.iter().all(|size| *size == won[0]), "{sizes:?}");
    ensure!(sizes.iter().filter(|answer| code(answer) == Code::AlreadyExists).count() == 4);
    let id = &made[0].volume_id;
    let cut = at_once(16, |_| until_done(|| client.create_snapshot(id, "cut")));
    let cut: Vec<wire::Snapshot> = cut.into_iter().collect::<Result<_, _>>()?;
    ensure!(cut.iter().all(|snapshot| *snapshot == cut[0]), "{cut:?}");
    ensure!(client.snapshots()?.len() == 1);
    driver.stop()
}

#[test]
fn a_source_may_be_deleted_beside_its_copy() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    for round in 0..8 {
        let source = client.volume(&format!("source{round}"), mib(8), &capability)?.volume_id;
        let name = format!("copy{round}");
        let copy = || client.copy(&name, from_volume(&source), mib(8), &capability);
        let (copied, deleted) = thread::scope(|scope| {
            let copied = scope.spawn(|| until_done(copy));
            let deleted = scope.spawn(|| until_done(|| client.delete_volume(&source)));
            (copied.join().unwrap(), deleted.join().unwrap())
        });
        deleted?;
        match copied {
            Ok(copy) => ensure!(client.volumes()? == [copy.clone()], "{copy:?}"),
            Err(status) => ensure!(status.code() == Code::NotFound, "{status:?}"),
        }
        for volume in client.volumes()? {
            client.delete_volume(&volume.volume_id)?;
        }
    }
    driver.stop()?;
    nothing_is_left(&bed)
}

#[test]
fn sixteen_volumes_are_staged_at_once() -> Result<()> {
    let bed = CsiBed::new(&[gib(2)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let mut places = Vec::new();
    for number in 0..16 {
        let id = client.volume(&format!("v{number}"), mib(16), &capability)?.volume_id;
        let (name, file) = (number.to_string(), format!("file{number}"));
        places.push((id, bed.staging(&name)?, bed.target(&name)?, file));
    }
    let answers = at_once(16, |number| {
        let (id, staging, target, file) = &places[number];
        client.stage(id, staging, &capability)?;
        client.publish(id, (staging, target), &capability, false)?;
        fs::write(format!("{target}/{file}"), id)?;
        Ok(())
    });
    answers.into_iter().collect::<Result<(), _>>()?;
    ensure!(bed.mounts()?.len() == 32 && active_devices(&bed)?.len() == 16);
    for (id, _, target, file) in &places {
        ensure!(fs::read_to_string(format!("{target}/{file}"))? == *id, "{file} is of another");
    }
    let answers = at_once(16, |number| {
        let (id, staging, target, _) = &places[number];
        client.unpublish(id, target)?;
        client.unstage(id, staging)?;
        client.delete_volume(id)
    });
    answers.into_iter().collect::<Result<(), _>>()?;
    driver.stop()?;
    nothing_is_left(&bed)
}
