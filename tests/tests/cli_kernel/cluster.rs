//! What lies between a pool and a cluster: adopt, forget, audit, and what deletion then refuses.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json as value};
use thinly::exit::Exit;
use thinly_cluster::fake::FakeCluster;
use thinly_engine::catalogue::{ObjectKind, Provision, ProvisionKey, VolumeName};
use thinly_engine::pool::Engine;
use thinly_tests::sh;

use crate::program::{TestPool, json, refused, text, thinly};

/// A file with these lines, gone when the directory is.
fn list(directory: &tempfile::TempDir, lines: &[&str]) -> PathBuf {
    let path = directory.path().join("handles");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// How `audit` ends, and what it answers.
fn audit(pool: &TestPool, handles: &[&str]) -> (Option<i32>, Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = list(&directory, handles);
    let output = thinly(&["audit", &pool.name, "--handles", file.to_str().unwrap(), "--json"]);
    let answer = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), answer)
}

/// The exit code of a difference, as a program sees it.
const DIFFERS: Option<i32> = Some(11);

fn shown(pool: &TestPool, volume: &str) -> Value {
    json(&["volume", "show", &pool.path(volume)])
}

#[test]
fn a_volume_is_adopted_compared_and_forgotten_with_its_bytes() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let (web, handle) = (pool.path("web"), shown(&pool, "web")["csi_handle"].clone());
    let handle = handle.as_str().unwrap();

    let adopted = json(&["adopt", &web, "--node", "n1", "--claim", "shop/data"]);
    assert_eq!((&adopted["handle"], &adopted["adopted"]), (&handle.into(), &true.into()));
    let spec = &adopted["manifest"]["spec"];
    assert_eq!(
        spec["csi"],
        value!({"driver": "thinly.dev", "volumeHandle": handle, "fsType": "ext4"})
    );
    assert_eq!(
        (&spec["capacity"]["storage"], &spec["volumeMode"]),
        (&"268435456".into(), &"Filesystem".into())
    );
    assert_eq!(spec["claimRef"]["namespace"], "shop");
    let view = shown(&pool, "web");
    assert_eq!(
        (&view["provision_key"], &view["state"]),
        (&"volume/thinly-web".into(), &"inactive".into())
    );
    assert_eq!(view["attributes"], value!({"access": "mount", "filesystem": "ext4"}));

    let again = json(&["adopt", &web, "--node", "n1", "--claim", "shop/data"]);
    assert_eq!((&again["adopted"], &again["manifest"]), (&false.into(), &adopted["manifest"]));
    let yaml = text(&["adopt", &web, "--node", "n1"]);
    assert!(yaml.contains(&format!("    volumeHandle: {handle}\n")), "{yaml}");
    refused(&["adopt", &web, "--access", "block"], Exit::Refused, &["access mount", "forget"]);
    refused(&["adopt", &web, "--fs-type", "xfs"], Exit::Refused, &["holds ext4"]);
    refused(&["volume", "delete", &web], Exit::Refused, &[handle, "claim", "thinly forget"]);
    assert_eq!(shown(&pool, "web")["provision_key"], "volume/thinly-web");

    let (code, answer) = audit(&pool, &["# of n1", "", handle]);
    assert_eq!(
        (code, &answer["agrees"], &answer["agreed_count"]),
        (Some(0), &true.into(), &1.into())
    );
    let (code, answer) = audit(&pool, &[]);
    assert_eq!((code, &answer["unnamed"][0]["handle"]), (DIFFERS, &handle.into()));

    let active = json(&["volume", "activate", &web]);
    refused(&["forget", &web], Exit::InUse, &["web", "deactivate"]);
    assert!(active["device"].is_string() && shown(&pool, "web")["provision_key"].is_string());
    json(&["volume", "deactivate", &web]);
    assert!(text(&["forget", &web]).contains("no cluster knows it any more"));
    assert!(text(&["forget", &web]).contains("nothing changed"));
    assert!(json(&["forget", &web])["provision_key"].is_null());
    let (code, answer) = audit(&pool, &[handle]);
    assert_eq!((code, &answer["dangling"][0]["fault"]), (DIFFERS, &"not_adopted".into()));
    assert_eq!(pool.told("web"), "monday");
    json(&["volume", "delete", &web]);
    let (code, answer) = audit(&pool, &[handle]);
    assert_eq!((code, &answer["dangling"][0]["fault"]), (DIFFERS, &"absent".into()));
}

#[test]
fn what_is_on_a_volume_decides_how_it_is_used() {
    let pool = TestPool::new();
    for name in ["blank", "device", "raw"] {
        pool.create_volume(name, "64M");
    }
    let mode = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["adopt", arguments[0], "--node", "n1"]
            .iter()
            .chain(&arguments[1..])
            .copied()
            .collect();
        let spec = json(&arguments)["manifest"]["spec"].take();
        (spec["volumeMode"].clone(), spec["csi"]["fsType"].clone())
    };
    let xfs = mode(&[&pool.path("blank"), "--fs-type", "xfs"]);
    assert_eq!(xfs, ("Filesystem".into(), "xfs".into()));
    assert_eq!(mode(&[&pool.path("blank")]), xfs, "the second answer is another one");
    assert_eq!(mode(&[&pool.path("device")]), ("Block".into(), Value::Null));
    assert_eq!(shown(&pool, "blank")["state"], "pending", "it was activated");

    let raw = pool.path("raw");
    let device = json(&["volume", "activate", &raw])["device"].clone();
    sh(&format!("echo precious | dd of={} bs=4k conv=sync,fsync", device.as_str().unwrap()))
        .unwrap();
    json(&["volume", "deactivate", &raw]);
    refused(&["adopt", &raw, "--access", "mount"], Exit::Refused, &["raw", "--access block"]);
    refused(&["adopt", &raw, "--fs-type", "ext4"], Exit::Refused, &["raw", "no filesystem"]);
    let view = shown(&pool, "raw");
    assert!(view["provision_key"].is_null() && view["state"] == "inactive", "{view}");
    assert_eq!(mode(&[&raw]), ("Block".into(), Value::Null));
}

#[test]
fn a_name_of_the_cluster_is_given_once() {
    let pool = TestPool::new();
    pool.create_volume("a", "64M");
    pool.create_volume("b", "64M");
    pool.create_volume("\u{e4}", "64M");
    json(&["adopt", &pool.path("a"), "--pv-name", "disk-1"]);
    let taken = ["adopt", &pool.path("b"), "--pv-name", "disk-1"];
    refused(&taken, Exit::Exists, &["volume/disk-1", "choose another one"]);
    assert!(shown(&pool, "b")["provision_key"].is_null());
    let umlaut = pool.path("\u{e4}");
    refused(&["adopt", &umlaut], Exit::Usage, &["lower-case", "--pv-name"]);
    assert_eq!(json(&["adopt", &umlaut, "--pv-name", "ae"])["manifest"]["metadata"]["name"], "ae");
    refused(&["adopt", &pool.path("absent")], Exit::NotFound, &["absent", "volume list"]);
    refused(&["forget", &pool.path("absent")], Exit::NotFound, &["absent", "volume list"]);
}

#[test]
fn a_snapshot_is_adopted_as_one() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let s = pool.path("s");
    refused(&["adopt", &s, "--access", "mount"], Exit::Usage, &["--access", "snapshot"]);
    let adopted = json(&["adopt", &s, "--claim", "shop/monday"]);
    assert_eq!(adopted["manifest"]["kind"], "VolumeSnapshotContent");
    let spec = &adopted["manifest"]["spec"];
    assert_eq!(spec["source"]["snapshotHandle"], adopted["handle"]);
    assert_eq!(spec["volumeSnapshotRef"]["name"], "monday");
    assert_eq!(shown(&pool, "s")["provision_key"], "snapshot/thinly-s");
    let handle = adopted["handle"].as_str().unwrap();
    refused(&["snapshot", "delete", &s], Exit::Refused, &[handle, "VolumeSnapshot", "forget"]);
    json(&["forget", &s]);
    json(&["snapshot", "delete", &s]);
}

#[test]
fn a_group_is_known_and_forgotten_as_a_whole() {
    let pool = TestPool::new();
    pool.create_filled("db", "rows");
    pool.create_filled("log", "lines");
    {
        let name = |text: &str| VolumeName::new(text).unwrap();
        let members = [(name("db"), name("db-1")), (name("log"), name("log-1"))];
        let key = ProvisionKey::of(ObjectKind::Group, "monday").unwrap();
        let provision = Provision::new(key, std::collections::BTreeMap::new()).unwrap();
        let engine = Engine::new().unwrap();
        let attached = engine.attach(&pool.name).unwrap();
        attached.provision_group(&name("monday"), &members, provision).unwrap();
        attached.release().unwrap();
    }
    let (code, answer) = audit(&pool, &[]);
    let unnamed = answer["unnamed"].as_array().unwrap();
    assert_eq!((code, unnamed.len()), (DIFFERS, 3));
    let group = unnamed.iter().find(|one| one["name"] == "monday").unwrap()["handle"].clone();
    let group = group.as_str().unwrap();
    assert!(group.contains(".group."), "{group}");
    let member = pool.path("db-1");
    let way_out = format!("thinly forget {} --group", pool.path("monday"));
    refused(&["snapshot", "delete", &member], Exit::Refused, &[group, &way_out]);
    refused(&["forget", &member], Exit::Refused, &[group, &way_out]);
    let known = json(&["adopt", &member]);
    assert_eq!(
        (&known["adopted"], &known["handle"]),
        (&false.into(), &shown(&pool, "db-1")["csi_handle"])
    );
    refused(&["forget", &pool.path("tuesday"), "--group"], Exit::NotFound, &["tuesday"]);

    json(&["volume", "activate", &member]);
    refused(&["forget", &pool.path("monday"), "--group"], Exit::InUse, &["db-1", "deactivate"]);
    json(&["volume", "deactivate", &member]);
    let forgotten = json(&["forget", &pool.path("monday"), "--group"]);
    assert_eq!(forgotten.as_array().unwrap().len(), 2);
    assert!(text(&["forget", &pool.path("monday"), "--group"]).contains("nothing changed"));
    let (code, answer) = audit(&pool, &[group]);
    assert_eq!((code, &answer["dangling"][0]["name"]), (DIFFERS, &"monday".into()));
    assert_eq!(pool.told("db-1"), "rows");
    json(&["snapshot", "delete", &member]);
}

#[test]
fn an_audit_reads_standard_input_and_changes_nothing() {
    let pool = TestPool::new();
    pool.create_volume("a", "64M");
    let handle = json(&["adopt", &pool.path("a")])["handle"].clone();
    let handle = handle.as_str().unwrap();
    let far = "v1.00000000.vol.00112233-4455-4677-8899-aabbccddeeff";
    let before = json(&["pool", "show", &pool.name]);
    let told =
        sh(&format!("echo '[\"{handle}\", \"{far}\"]' | thinly audit {} --handles -", pool.name))
            .unwrap();
    assert!(told.contains("Objects with their handle:     1") && told.contains(far), "{told}");
    let file = tempfile::tempdir().unwrap();
    let file = list(&file, &[handle, "v1.oops"]);
    let bad = ["audit", &pool.name, "--handles", file.to_str().unwrap()];
    refused(&bad, Exit::Usage, &["line 2", "v1.oops"]);
    assert_eq!(json(&["pool", "show", &pool.name]), before);
    // Beside a writer it answers as well.
    let writer = Engine::new().unwrap().attach(&pool.name).unwrap();
    assert_eq!(audit(&pool, &[handle]).0, Some(0));
    assert_eq!(json(&["adopt", &pool.path("a")])["adopted"], false);
    refused(&["forget", &pool.path("a")], Exit::InUse, &["another writer"]);
    writer.release().unwrap();
}

/// A PersistentVolume of this driver, as a cluster has it.
fn persistent_volume(name: &str, handle: &str) -> Value {
    let csi = value!({"driver": "thinly.dev", "volumeHandle": handle});
    value!({"metadata": {"name": name}, "spec": {"csi": csi}})
}

#[test]
fn an_audit_asks_the_cluster_itself() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    pool.create_volume("db", "64M");
    let handle = |answer: Value| answer["handle"].as_str().unwrap().to_owned();
    let web = handle(json(&["adopt", &pool.path("web")]));
    let db = handle(json(&["adopt", &pool.path("db")]));
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let snapshot = handle(json(&["adopt", &pool.path("s")]));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let fake = runtime.block_on(FakeCluster::start());
    let directory = tempfile::tempdir().unwrap();
    let config = fake.kubeconfig(directory.path(), "secret");
    let ask = ["audit", &pool.name, "--kube", "--kubeconfig", config.to_str().unwrap()];
    let audit = || {
        let output = thinly(&[&ask[..], &["--json"]].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.stdout.is_empty(), "{told}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };

    fake.require_token("secret");
    fake.put("persistentvolumes", persistent_volume("pv-web", &web));
    let gone = web.rsplit_once('.').unwrap().0.to_owned() + ".00112233-4455-4677-8899-aabbccddeeff";
    fake.put("persistentvolumes", persistent_volume("pv-gone", &gone));
    fake.put("persistentvolumes", persistent_volume("pv-by-hand", "i-1234"));
    fake.put("persistentvolumes", persistent_volume("pv-web-copied", &web));
    let spec = value!({"driver": "thinly.dev", "source": {"snapshotHandle": snapshot}});
    let content = value!({"metadata": {"name": "s"}, "spec": spec});
    fake.put("volumesnapshotcontents", content);
    let (code, answer) = audit();
    assert_eq!((code, &answer["agreed_count"]), (DIFFERS, &2.into()), "{answer}");
    let unnamed = answer["unnamed"].as_array().unwrap();
    assert_eq!((unnamed.len(), &unnamed[0]["handle"]), (1, &db.as_str().into()));
    let dangling = answer["dangling"].as_array().unwrap();
    assert_eq!((dangling.len(), &dangling[0]["object"]), (1, &"PersistentVolume/pv-gone".into()));
    let copied = value!({
        "object": "PersistentVolume/pv-web-copied", "handle": web, "also": "PersistentVolume/pv-web",
    });
    let by_hand =
        value!({"object": "PersistentVolume/pv-by-hand", "handle": "i-1234", "also": null});
    assert_eq!(answer["malformed"], value!([by_hand, copied]));

    fake.remove("persistentvolumes", "", "pv-gone");
    fake.remove("persistentvolumes", "", "pv-by-hand");
    fake.remove("persistentvolumes", "", "pv-web-copied");
    fake.put("persistentvolumes", persistent_volume("pv-db", &db));
    let (code, answer) = audit();
    assert_eq!((code, &answer["agreed_count"]), (Some(0), &3.into()), "{answer}");
    // What is of another driver is none of ours.
    let other = [&ask[..], &["--driver-name", "other.example"]].concat();
    assert_eq!(thinly(&other).status.code(), DIFFERS);

    fake.require_token("another");
    refused(&ask, Exit::Permission, &["persistentvolumes", "not allowed"]);
    let elsewhere = [&ask[..], &["--context", "elsewhere"]].concat();
    refused(&elsewhere, Exit::Internal, &["persistentvolumes", "127.0.0.1:1"]);
    let absent = ["audit", &pool.name, "--kube", "--kubeconfig", "/nowhere"];
    refused(&absent, Exit::NotFound, &["/nowhere"]);
    refused(&["audit", &pool.name], Exit::Usage, &["--handles", "--kube"]);
    assert!(fake.seen().iter().all(|seen| seen.method == "GET"), "{:?}", fake.seen());
}
