//! Pages stay good while entries come and go; filters; capacity that can be relied on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, CsiBed, block, code, mount, range};
use thinly_tests::gib;
use tonic::Code;

use crate::support::{elsewhere, mib};

fn ids(page: &wire::ListVolumesResponse) -> Vec<String> {
    let volumes = page.entries.iter().filter_map(|entry| entry.volume.as_ref());
    volumes.map(|volume| volume.volume_id.clone()).collect()
}

fn snapshots(client: &Client, request: wire::ListSnapshotsRequest) -> Result<Vec<String>> {
    let entries = client.list_snapshots(request)?.entries;
    let found = entries.into_iter().filter_map(|entry| entry.snapshot);
    Ok(found.map(|snapshot| snapshot.snapshot_id).collect())
}

#[test]
fn pages_stay_good_while_entries_come_and_go() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let mut made = BTreeSet::new();
    for number in 0..13 {
        made.insert(client.volume(&format!("v{number}"), mib(4), &capability)?.volume_id);
    }
    let whole: BTreeSet<String> = ids(&client.list_volumes("", 0)?).into_iter().collect();
    ensure!(whole == made, "{whole:?}");
    for size in [1, 2, 5, 12, 13, 14, i32::MAX] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = client.list_volumes(&token, size)?;
            ensure!(page.entries.len() <= usize::try_from(size)?, "a page of more than {size}");
            seen.extend(ids(&page));
            ensure!(seen.len() <= made.len(), "pages of {size} have no end: {seen:?}");
            token = page.next_token;
            if token.is_empty() {
                break;
            }
        }
        let distinct: BTreeSet<String> = seen.iter().cloned().collect();
        ensure!(seen.len() == 13 && distinct == made, "pages of {size}: {seen:?}");
    }
    // The page's own last entry vanishes, and others before and behind it.
    let (mut seen, mut gone, mut token) = (Vec::new(), BTreeSet::new(), String::new());
    loop {
        let page = client.list_volumes(&token, 3)?;
        let found = ids(&page);
        token = page.next_token;
        if let (Some(last), false) = (found.last(), token.is_empty()) {
            client.delete_volume(last)?;
            gone.insert(last.clone());
            let behind = made.iter().find(|id| !seen.contains(*id) && !found.contains(id));
            if let (Some(behind), true) = (behind, gone.len() < 3) {
                client.delete_volume(behind)?;
                gone.insert(behind.clone());
            }
        }
        seen.extend(found);
        if token.is_empty() {
            break;
        }
    }
    let distinct: BTreeSet<String> = seen.iter().cloned().collect();
    ensure!(distinct.len() == seen.len(), "an entry was told twice: {seen:?}");
    let kept: BTreeSet<String> = made.difference(&gone).cloned().collect();
    ensure!(gone.len() >= 3 && kept.is_subset(&distinct), "kept {kept:?}, seen {seen:?}");
    driver.stop()
}

#[test]
fn snapshots_are_found_by_what_is_asked_for() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let one = client.volume("one", mib(4), &capability)?.volume_id;
    let other = client.volume("other", mib(4), &capability)?.volume_id;
    let first = client.create_snapshot(&one, "first")?.snapshot_id;
    let second = client.create_snapshot(&one, "second")?.snapshot_id;
    let third = client.create_snapshot(&other, "third")?.snapshot_id;
    let group = client.create_group("both", &[&one, &other])?;
    let asked = |source: &str, snapshot: &str| wire::ListSnapshotsRequest {
        source_volume_id: source.to_owned(),
        snapshot_id: snapshot.to_owned(),
        ..Default::default()
    };
    ensure!(snapshots(client, asked("", ""))?.len() == 5);
    ensure!(snapshots(client, asked(&one, ""))?.len() == 3);
    ensure!(snapshots(client, asked("", &second))? == std::slice::from_ref(&second));
    ensure!(snapshots(client, asked(&other, &third))? == [third]);
    for (source, snapshot) in [
        (other.as_str(), first.as_str()),
        ("x", ""),
        ("", "x"),
        (&elsewhere("vol"), ""),
        ("", &elsewhere("snap")),
        ("", &one),
        ("", &group.group_snapshot_id),
    ] {
        let found = snapshots(client, asked(source, snapshot))?;
        ensure!(found.is_empty(), "{source:?} {snapshot:?}: {found:?}");
    }
    // They are found by their source after it is gone.
    client.delete_volume(&one)?;
    ensure!(snapshots(client, asked(&one, ""))?.len() == 3);
    let page = wire::ListSnapshotsRequest { max_entries: 2, ..asked(&one, "") };
    let page = client.list_snapshots(page)?;
    ensure!(page.entries.len() == 2 && !page.next_token.is_empty(), "{page:?}");
    let rest = wire::ListSnapshotsRequest { starting_token: page.next_token, ..asked(&one, "") };
    ensure!(snapshots(client, rest)?.len() == 1);
    driver.stop()
}

#[test]
fn the_capacity_that_is_told_can_be_had() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "    thin-pool: {overprovision-ratio: 1.5}\n")?;
    let driver = bed.start()?;
    let client = driver.client();
    let ask = |request: wire::GetCapacityRequest| -> Result<i64> {
        let answer = client.capacity(request)?;
        ensure!(answer.maximum_volume_size == Some(answer.available_capacity), "{answer:?}");
        Ok(answer.available_capacity)
    };
    let all = ask(wire::GetCapacityRequest::default())?;
    ensure!(all > mib(1024), "{all}");
    for (mode, wanted) in [(Mode::SingleNodeWriter, all), (Mode::MultiNodeMultiWriter, 0)] {
        let volume_capabilities = vec![mount("ext4", mode)];
        let told = ask(wire::GetCapacityRequest { volume_capabilities, ..Default::default() })?;
        ensure!(told == wanted, "{mode:?}: {told}");
    }
    for (node, wanted) in [("n1", all), ("n2", 0)] {
        let node = ("topology.thinly.dev/node".to_owned(), node.to_owned());
        let place = wire::Topology { segments: BTreeMap::from([node]) };
        let accessible_topology = Some(place);
        let told = ask(wire::GetCapacityRequest { accessible_topology, ..Default::default() })?;
        ensure!(told == wanted, "{told}");
    }
    let capability = block(Mode::SingleNodeWriter);
    let more = client.volume("more", all + 1, &capability);
    ensure!(code(&more) == Code::ResourceExhausted, "{more:?}");
    let small = client.volume("small", mib(100), &capability)?;
    let rest = ask(wire::GetCapacityRequest::default())?;
    ensure!(rest == all - mib(100), "{rest} of {all}");
    client.volume("rest", rest, &capability)?;
    ensure!(ask(wire::GetCapacityRequest::default())? == 0);
    let none = client.volume("none", 1, &capability);
    ensure!(code(&none) == Code::ResourceExhausted, "{none:?}");
    // Growth counts too, and says so with the code that lets the resizer give up.
    let grown = client.expand(&small.volume_id, mib(200));
    ensure!(code(&grown) == Code::OutOfRange, "{grown:?}");
    let copy = wire::CreateVolumeRequest {
        name: "copy".to_owned(),
        capacity_range: range(mib(100)),
        volume_capabilities: vec![capability],
        volume_content_source: Some(thinly_tests::csi::from_volume(&small.volume_id)),
        ..Default::default()
    };
    let copy = client.create_volume(copy);
    ensure!(code(&copy) == Code::ResourceExhausted, "{copy:?}");
    // Snapshots promise nothing that could be written.
    client.create_snapshot(&small.volume_id, "cut")?;
    client.delete_volume(&small.volume_id)?;
    ensure!(ask(wire::GetCapacityRequest::default())? == mib(100));
    driver.stop()
}

#[test]
fn without_a_limit_the_largest_volume_can_be_had_many_times() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let told = client.capacity(wire::GetCapacityRequest::default())?.available_capacity;
    let staging = bed.staging("a")?;
    for number in 0..4 {
        let volume = client.volume(&format!("huge{number}"), told, &capability)?;
        ensure!(volume.capacity_bytes == told, "{volume:?}");
        client.stage(&volume.volume_id, &staging, &capability)?;
        client.unstage(&volume.volume_id, &staging)?;
    }
    driver.stop()
}
