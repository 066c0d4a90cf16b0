//! Bad calls about snapshots, groups and listings.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, block};
use thinly_tests::gib;
use tonic::Code;

use crate::support::{Judge, elsewhere, mib};

#[test]
fn bad_calls_on_snapshots_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start_with(&["--alpha"])?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let one = client.volume("one", mib(16), &capability)?.volume_id;
    let other = client.volume("other", mib(16), &capability)?.volume_id;
    let snapshot = client.create_snapshot(&one, "cut")?.snapshot_id;
    let mut judge = Judge::new(&bed, client)?;
    let long = "x".repeat(129);
    for (what, source, name, wanted) in [
        ("no name", one.as_str(), "", Code::InvalidArgument),
        ("a long name", &one, &long, Code::InvalidArgument),
        ("a control character", &one, "a\u{1b}b", Code::InvalidArgument),
        ("no source", "", "new", Code::InvalidArgument),
        ("a garbage source", "x", "new", Code::NotFound),
        ("a source elsewhere", &elsewhere("vol"), "new", Code::NotFound),
        ("a snapshot as the source", &snapshot, "new", Code::NotFound),
        ("the same name of another source", &other, "cut", Code::AlreadyExists),
    ] {
        judge.hear(what, wanted, client.create_snapshot(source, name))?;
    }
    let request = wire::CreateSnapshotRequest {
        source_volume_id: one.clone(),
        name: "new".to_owned(),
        parameters: BTreeMap::from([("compress".to_owned(), "yes".to_owned())]),
        ..Default::default()
    };
    let call = async { client.controller().create_snapshot(request).await };
    judge.hear("an unknown parameter", Code::InvalidArgument, client.answer(call))?;
    judge.hear("deletion of nothing", Code::InvalidArgument, client.delete_snapshot(""))?;
    for (id, wanted) in [
        ("", Code::InvalidArgument),
        ("x", Code::NotFound),
        (&elsewhere("snap"), Code::NotFound),
        (&one, Code::NotFound),
    ] {
        if !id.is_empty() {
            judge.hear(&format!("deletion of {id}"), Code::Ok, client.delete_snapshot(id))?;
        }
        let request = wire::GetSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        let call = async { client.controller().get_snapshot(request).await };
        judge.hear(&format!("GetSnapshot {id}"), wanted, client.answer(call))?;
    }
    for (id, wanted) in [
        ("", Code::InvalidArgument),
        ("x", Code::NotFound),
        (&elsewhere("vol"), Code::NotFound),
        (&snapshot, Code::NotFound),
    ] {
        let request = wire::ControllerGetVolumeRequest { volume_id: id.to_owned() };
        let call = async { client.controller().controller_get_volume(request).await };
        judge.hear(&format!("ControllerGetVolume {id}"), wanted, client.answer(call))?;
    }
    judge.verdict()
}

#[test]
fn bad_pages_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    for name in ["a", "b", "c"] {
        let id = client.volume(name, mib(4), &capability)?.volume_id;
        client.create_snapshot(&id, name)?;
    }
    let token = client.list_volumes("", 1)?.next_token;
    ensure!(!token.is_empty() && client.list_volumes(&token, 0)?.entries.len() == 2);
    let mut judge = Judge::new(&bed, client)?;
    let snapshots = |starting_token: &str, max_entries: i32| {
        let starting_token = starting_token.to_owned();
        client.list_snapshots(wire::ListSnapshotsRequest {
            max_entries,
            starting_token,
            ..Default::default()
        })
    };
    let flipped: String = token.chars().rev().collect();
    let cut = &token[..token.len() - 1];
    for forged in ["1", "garbage", "../..", "\u{0}", cut, &flipped, &token.to_uppercase()] {
        judge.hear(
            &format!("volumes after {forged:?}"),
            Code::Aborted,
            client.list_volumes(forged, 0),
        )?;
        judge.hear(&format!("snapshots after {forged:?}"), Code::Aborted, snapshots(forged, 0))?;
    }
    judge.hear("a token of the volumes", Code::Aborted, snapshots(&token, 0))?;
    for negative in [-1, i32::MIN] {
        let listed = client.list_volumes("", negative);
        judge.hear("negative volumes", Code::InvalidArgument, listed)?;
        judge.hear("negative snapshots", Code::InvalidArgument, snapshots("", negative))?;
    }
    let request = wire::GetCapacityRequest {
        parameters: BTreeMap::from([("x".to_owned(), "y".to_owned())]),
        ..Default::default()
    };
    judge.hear("an unknown parameter", Code::InvalidArgument, client.capacity(request))?;
    judge.verdict()
}

#[test]
fn bad_calls_on_groups_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let capability = block(Mode::SingleNodeWriter);
    let one = client.volume("one", mib(16), &capability)?.volume_id;
    let other = client.volume("other", mib(16), &capability)?.volume_id;
    let alone = client.create_snapshot(&one, "alone")?.snapshot_id;
    let group = client.create_group("both", &[&one, &other])?;
    let members: Vec<&str> = group.snapshots.iter().map(|it| it.snapshot_id.as_str()).collect();
    ensure!(members.len() == 2, "{group:?}");
    let id = group.group_snapshot_id.as_str();
    let mut judge = Judge::new(&bed, client)?;
    let (far, long) = (elsewhere("vol"), "x".repeat(129));
    for (what, name, sources, wanted) in [
        ("no name", "", vec![one.as_str(), &other], Code::InvalidArgument),
        ("a long name", &long, vec![&one, &other], Code::InvalidArgument),
        ("no source", "new", vec![], Code::InvalidArgument),
        ("an empty source", "new", vec![&one, ""], Code::InvalidArgument),
        ("one source twice", "new", vec![&one, &one], Code::InvalidArgument),
        ("a garbage source", "new", vec![&one, "x"], Code::NotFound),
        ("a source elsewhere", "new", vec![&far, &one], Code::NotFound),
        ("a snapshot as a source", "new", vec![&one, &alone], Code::NotFound),
        ("the same name of fewer", "both", vec![&one], Code::AlreadyExists),
        ("the same name of others", "both", vec![&one, "x"], Code::AlreadyExists),
    ] {
        judge.hear(what, wanted, client.create_group(name, &sources))?;
    }
    for (what, id, members, wanted) in [
        ("no group", "", members.clone(), Code::InvalidArgument),
        ("a garbage group", "x", members.clone(), Code::NotFound),
        ("a group elsewhere", &elsewhere("group"), members.clone(), Code::NotFound),
        ("a snapshot as a group", &alone, members.clone(), Code::NotFound),
        ("a member too few", id, vec![members[0]], Code::InvalidArgument),
        ("a stranger", id, vec![members[0], members[1], &alone], Code::InvalidArgument),
    ] {
        judge.hear(&format!("get: {what}"), wanted, client.group(id, &members))?;
        let wanted = if wanted == Code::NotFound { Code::Ok } else { wanted };
        judge.hear(&format!("delete: {what}"), wanted, client.delete_group(id, &members))?;
    }
    for member in members {
        let deleted = client.delete_snapshot(member);
        judge.hear("deletion of a member", Code::InvalidArgument, deleted)?;
    }
    judge.verdict()
}
