//! Calls joined, refused, outliving their clients.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use thinly_csi_wire::DeleteVolumeRequest;
use tonic::Code;

use super::*;

fn request(id: &str) -> DeleteVolumeRequest {
    DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() }
}

fn changes(name: &str) -> Vec<Hold> {
    vec![(name.to_owned(), Use::Changes)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_is_joined_and_another_one_is_aborted() {
    let operations = Arc::new(Operations::new(4));
    let (go, wait) = mpsc::channel::<()>();
    let runs = Arc::new(AtomicUsize::new(0));
    let first = {
        let (operations, runs) = (Arc::clone(&operations), Arc::clone(&runs));
        tokio::spawn(async move {
            let work = move || {
                runs.fetch_add(1, Ordering::SeqCst);
                wait.recv().unwrap();
                Ok(7)
            };
            operations.run("Delete", &request("a"), changes("a"), work).await
        })
    };
    while runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let joined = {
        let (operations, runs) = (Arc::clone(&operations), Arc::clone(&runs));
        let work = move || {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(8)
        };
        tokio::spawn(
            async move { operations.run("Delete", &request("a"), changes("a"), work).await },
        )
    };
    let refused =
        operations.run("Expand", &request("a"), changes("a"), || Ok(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("another operation on a"), "{refused}");
    let needs = vec![("a".to_owned(), Use::Needs)];
    let refused = operations.run("Clone", &request("b"), needs, || Ok(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    // The second caller is in the map or will find the first call done; let it join first.
    while !joined.is_finished() && Arc::strong_count(&operations) < 3 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 7);
    assert_eq!(joined.await.unwrap().unwrap(), 7);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let free = operations.run("Expand", &request("a"), changes("a"), || Ok(2)).await;
    assert_eq!(free.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_need_one_object_at_a_time() {
    let operations = Arc::new(Operations::new(4));
    let (go, wait) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel::<()>();
    let needs = || vec![("image".to_owned(), Use::Needs)];
    let first = {
        let operations = Arc::clone(&operations);
        tokio::spawn(async move {
            let work = move || {
                started.send(()).unwrap();
                wait.recv().unwrap();
                Ok(())
            };
            operations.run("Clone", &request("one"), needs(), work).await
        })
    };
    tokio::task::spawn_blocking(move || has_started.recv().unwrap()).await.unwrap();
    operations.run("Clone", &request("two"), needs(), || Ok(())).await.unwrap();
    let refused = operations.run("Delete", &request("image"), changes("image"), || Ok(())).await;
    assert_eq!(refused.unwrap_err().code(), Code::Aborted);
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    operations.run("Delete", &request("image"), changes("image"), || Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_for_other_work_is_refused_to_calls_and_the_other_way_round() {
    let operations = Arc::new(Operations::new(4));
    let holding = operations.hold(changes("a")).unwrap();
    let refused = operations.run("Delete", &request("a"), changes("a"), || Ok(1)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Aborted);
    let both = [changes("b"), changes("a")].concat();
    assert_eq!(operations.hold(both).unwrap_err().code(), Code::Aborted);
    // All or none: what comes before the refused one is free.
    operations.run("Delete", &request("b"), changes("b"), || Ok(1)).await.unwrap();
    drop(holding);
    let within = Arc::clone(&operations);
    let work = move || Ok(within.hold(changes("a")).unwrap_err().code());
    let seen = operations.run("Delete", &request("a"), changes("a"), work).await.unwrap();
    assert_eq!(seen, Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_on_when_its_client_is_gone_and_a_panic_is_an_answer() {
    let operations = Arc::new(Operations::new(1));
    let (done, is_done) = mpsc::channel::<()>();
    let call = {
        let operations = Arc::clone(&operations);
        tokio::spawn(async move {
            let work = move || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                done.send(()).unwrap();
                Ok(())
            };
            operations.run("Delete", &request("a"), changes("a"), work).await
        })
    };
    while operations.lock().calls.is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    tokio::task::spawn_blocking(move || is_done.recv().unwrap()).await.unwrap();
    let answer: Result<(), Status> =
        operations.run("Delete", &request("b"), changes("b"), || panic!("a bug")).await;
    assert_eq!(answer.unwrap_err().code(), Code::Internal);
    operations.run("Delete", &request("b"), changes("b"), || Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_change_something_are_remembered_with_what_came_of_them() {
    let operations = Arc::new(Operations::new(4));
    let run = |rpc, holds, result: Result<i32, Status>| {
        let operations = Arc::clone(&operations);
        async move { operations.run(rpc, &request(rpc), holds, || result).await.ok() }
    };
    run("CreateVolume", changes("pvc-1"), Ok(1)).await;
    run("ListVolumes", Vec::new(), Ok(1)).await;
    run("DeleteVolume", changes("gone"), Err(Status::not_found("gone"))).await;
    let done = operations.recent().of(uuid::Uuid::nil());
    let told: Vec<_> = done
        .iter()
        .map(|one| (one.operation.as_str(), one.object.as_deref(), one.outcome.as_str()))
        .collect();
    let expected =
        [("DeleteVolume", Some("gone"), "NotFound"), ("CreateVolume", Some("pvc-1"), "ok")];
    assert_eq!(told, expected);
}
