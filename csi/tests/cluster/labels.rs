//! Snapshots that get their node.

use serde_json::{Value, json};
use thinly_cluster::fake::Fault;
use thinly_csi::ObjectKind;

use crate::bench::{Bench, CONTENTS, MANAGED_BY, content, elsewhere, here};

fn of_volume() -> Value {
    json!({"volumeHandle": here(ObjectKind::Volume)})
}

/// Something of n1 that is told after everything that was put before. Once it has its label,
/// everything before was looked at.
async fn last(bench: &Bench) {
    bench.fake.put(CONTENTS, content("z-last", &of_volume()));
    bench.until_labelled("z-last").await;
}

#[tokio::test]
async fn what_is_of_this_node_gets_its_label_and_nothing_else_does() {
    let mut bench = Bench::new().await;
    let fake = &bench.fake;
    fake.require_token(crate::bench::TOKEN);
    fake.put(CONTENTS, content("dynamic", &of_volume()));
    let told = json!({"snapshotHandle": here(ObjectKind::Snapshot)});
    fake.put(CONTENTS, content("told", &told));
    let mut foreign = content("a-other-driver", &of_volume());
    foreign["spec"]["driver"] = json!("other.example");
    fake.put(CONTENTS, foreign);
    let far = json!({"volumeHandle": elsewhere(ObjectKind::Volume)});
    fake.put(CONTENTS, content("a-other-node", &far));
    let far = json!({"snapshotHandle": elsewhere(ObjectKind::Snapshot)});
    fake.put(CONTENTS, content("a-other-node-told", &far));
    fake.put(CONTENTS, content("a-strange", &json!({"volumeHandle": "i-123"})));
    let mut ending = content("ending", &of_volume());
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    fake.put(CONTENTS, ending);
    for (name, node) in [("a-managed", "n2"), ("a-ours-already", "n1")] {
        let mut managed = content(name, &of_volume());
        managed["metadata"]["labels"] = json!({MANAGED_BY: node, "keep": "me"});
        bench.fake.put(CONTENTS, managed);
    }
    bench.start("n1");
    for name in ["dynamic", "told", "ending"] {
        bench.until_labelled(name).await;
    }
    last(&bench).await;
    let mut patched = bench.patched();
    patched.sort_unstable();
    assert_eq!(patched, ["dynamic", "ending", "told", "z-last"]);
    assert_eq!(bench.label("a-managed").as_deref(), Some("n2"));
    let request = bench.fake.seen().into_iter().find(|seen| seen.method == "PATCH").unwrap();
    assert!(request.query.contains("fieldManager=thinly-csi"), "{request:?}");
    assert!(request.body["metadata"]["resourceVersion"].is_string(), "{request:?}");
    bench.until_metric("changes_total{duty=\"label\",outcome=\"done\"} 4").await;
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let bench = Bench::started().await;
    last(&bench).await;
    bench.fake.end_watches();
    bench.fake.put(CONTENTS, content("later", &of_volume()));
    bench.until_labelled("later").await;
    bench.fake.until("a second watch", |fake| fake.count("WATCH", CONTENTS) == 2).await;
    let froms: Vec<String> = bench
        .fake
        .seen()
        .iter()
        .filter(|seen| seen.method == "WATCH" && seen.path.contains(CONTENTS))
        .map(|seen| seen.query.rsplit('=').next().unwrap().to_owned())
        .collect();
    assert_ne!(froms[0], froms[1], "what was told is not told again");
    // A bookmark moves the place where it goes on, without an object.
    bench.fake.bookmark();
    bench.fake.end_watches();
    let goes_on = |mark: &str| {
        let seen = bench.fake.seen();
        let watches = seen.iter().filter(|seen| seen.method == "WATCH");
        watches.filter(|seen| seen.path.contains(CONTENTS) && seen.query.contains(mark)).count() > 0
    };
    // 100 at first; "z-last" and "later" are put and patched; then the bookmark.
    bench.fake.until("a watch from the bookmark", |_| goes_on("resourceVersion=105")).await;
    assert_eq!(bench.lists(CONTENTS), 1);
    let selector = bench.fake.seen().iter().all(|seen| {
        !matches!(seen.method.as_str(), "WATCH") || seen.query.contains("allowWatchBookmarks=true")
    });
    assert!(selector, "{:?}", bench.fake.seen());
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_listed_anew() {
    let bench = Bench::started().await;
    last(&bench).await;
    // The watches that are open are told 410 in an event.
    bench.fake.forget_history();
    bench.fake.put(CONTENTS, content("second", &of_volume()));
    bench.until_labelled("second").await;
    assert_eq!(bench.lists(CONTENTS), 2);
    // This one is refused with 410 when it begins.
    bench.fake.fail(Fault::once("WATCH", CONTENTS, 410));
    bench.fake.end_watches();
    bench.fake.until("a third list", |_| bench.lists(CONTENTS) == 3).await;
    bench.fake.put(CONTENTS, content("third", &of_volume()));
    bench.until_labelled("third").await;
    assert_eq!(bench.log.lines("WARN"), 0, "forgetting is no trouble");
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let mut bench = Bench::new().await;
    bench.fake.page(2);
    for name in ["a", "b", "c", "d", "e"] {
        bench.fake.put(CONTENTS, content(name, &of_volume()));
    }
    // Patched in the order of their names: who is labelled leaves the list that is selected.
    bench.start("n1");
    for name in ["a", "b", "c", "d", "e"] {
        bench.until_labelled(name).await;
    }
}

#[tokio::test]
async fn a_conflict_is_looked_at_anew() {
    let bench = Bench::started().await;
    let mut changed = content("c", &of_volume());
    changed["metadata"]["annotations"] = json!({"somebody": "was here"});
    let rival = Some((CONTENTS, changed));
    bench.fake.fail(Fault { rival, ..Fault::once("PATCH", "/c", 409) });
    bench.fake.put(CONTENTS, content("c", &of_volume()));
    bench.until_labelled("c").await;
    let object = bench.fake.get(CONTENTS, "", "c").unwrap();
    assert_eq!(object["metadata"]["annotations"]["somebody"], "was here");
    bench.until_metric("changes_total{duty=\"label\",outcome=\"conflict\"} 1").await;
}

#[tokio::test]
async fn who_was_faster_keeps_what_he_labelled() {
    let bench = Bench::started().await;
    let mut taken = content("c", &of_volume());
    taken["metadata"]["labels"] = json!({MANAGED_BY: "n2"});
    bench.fake.fail(Fault { rival: Some((CONTENTS, taken)), ..Fault::once("PATCH", "/c", 409) });
    bench.fake.put(CONTENTS, content("c", &of_volume()));
    bench.fake.until("a conflict", |fake| fake.count("PATCH", "/c") == 1).await;
    last(&bench).await;
    assert_eq!(bench.label("c").as_deref(), Some("n2"));
    assert_eq!(bench.patched(), ["c", "z-last"]);
    // One that is gone by then is no trouble either.
    bench.fake.fail(Fault::once("PATCH", "/gone", 404));
    bench.fake.put(CONTENTS, content("gone", &of_volume()));
    bench.fake.until("a try", |fake| fake.count("PATCH", "/gone") >= 1).await;
    bench.until_metric("failing{duty=\"label\"} 0").await;
    assert_eq!(bench.log.lines("WARN"), 0);
}

#[tokio::test]
async fn pools_that_open_late_are_noticed() {
    let mut bench = Bench::new().await;
    bench.set_pools(false);
    bench.fake.put(CONTENTS, content("c", &of_volume()));
    bench.start("n1");
    bench.until_metric("up{objects=\"volumesnapshotcontents\"} 1").await;
    assert!(bench.patched().is_empty());
    bench.set_pools(true);
    bench.until_labelled("c").await;
}

#[tokio::test]
async fn a_name_that_cannot_be_a_label_is_told_and_nothing_is_labelled() {
    let mut bench = Bench::new().await;
    bench.fake.put(CONTENTS, content("c", &of_volume()));
    bench.start(&"n".repeat(64));
    bench.until_metric("up{objects=\"volumesnapshotcontents\"} 1").await;
    bench.until_metric("up{objects=\"persistentvolumeclaims\"} 1").await;
    assert_eq!(bench.log.lines("cannot be a label"), 1);
    assert!(bench.patched().is_empty());
}
