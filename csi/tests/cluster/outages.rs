//! A server that is away, refuses, or fails.

use serde_json::json;
use thinly_cluster::fake::Fault;
use thinly_csi::ObjectKind;

use crate::bench::{Bench, CONTENTS, content, here};

fn ours(bench: &Bench, name: &str) {
    bench.fake.put(CONTENTS, content(name, &json!({"volumeHandle": here(ObjectKind::Volume)})));
}

const UP: &str = "up{objects=\"volumesnapshotcontents\"} 1";
const DOWN: &str = "up{objects=\"volumesnapshotcontents\"} 0";

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let mut bench = Bench::silent().await;
    ours(&bench, "c");
    bench.start("n1");
    bench.until_metric(DOWN).await;
    while bench.log.lines("cannot be watched") < 2 {
        tokio::task::yield_now().await;
    }
    bench.fake.serve().await;
    bench.until_labelled("c").await;
    bench.until_metric(UP).await;
    bench.until_metric("up{objects=\"persistentvolumeclaims\"} 1").await;
    // Once for each of the two watches, however often it was tried.
    assert_eq!(bench.log.lines("cannot be watched"), 2);
    assert_eq!(bench.log.lines("watching again"), 2);
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_and_told_of_once() {
    let mut bench = Bench::new().await;
    bench.fake.fail(Fault::lasting("GET", "contents", 500));
    ours(&bench, "c");
    bench.start("n1");
    bench.fake.until("four tries", |_| bench.lists(CONTENTS) >= 4).await;
    bench.until_metric(DOWN).await;
    assert_eq!(bench.log.lines("cannot be watched"), 1);
    bench.fake.heal();
    bench.until_labelled("c").await;
    bench.until_metric(UP).await;
    // A watch that breaks later goes on without a list.
    let lists = bench.lists(CONTENTS);
    bench.fake.fail(Fault::lasting("WATCH", "contents", 500));
    bench.fake.end_watches();
    bench.until_metric(DOWN).await;
    ours(&bench, "d");
    bench.fake.heal();
    bench.until_labelled("d").await;
    bench.until_metric(UP).await;
    assert_eq!(bench.lists(CONTENTS), lists);
}

#[tokio::test]
async fn a_right_that_lacks_is_told_once_and_tried_again() {
    let bench = Bench::started().await;
    bench.fake.fail(Fault::lasting("PATCH", "contents", 403));
    ours(&bench, "c");
    bench.fake.until("four tries", |fake| fake.count("PATCH", "/c") >= 4).await;
    bench.until_metric("failing{duty=\"label\"} 1").await;
    assert_eq!(bench.log.lines("it is tried again"), 1);
    assert_eq!(bench.log.lines("lists the rights"), 1);
    bench.fake.heal();
    bench.until_labelled("c").await;
    bench.until_metric("failing{duty=\"label\"} 0").await;
}

#[tokio::test]
async fn a_wrong_token_is_told_as_what_it_is() {
    let mut bench = Bench::new().await;
    bench.fake.require_token("another one");
    ours(&bench, "c");
    bench.start("n1");
    bench.fake.until("two tries", |_| bench.lists(CONTENTS) >= 2).await;
    bench.until_metric(DOWN).await;
    while bench.log.lines("401") < 2 {
        tokio::task::yield_now().await;
    }
    assert!(bench.patched().is_empty());
    bench.fake.require_token(crate::bench::TOKEN);
    bench.until_labelled("c").await;
}
