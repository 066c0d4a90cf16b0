//! Calls that outlive their callers: joined when repeated, refused when they contradict.
//!
//! A client gives up after its time-out and asks again, while the change goes on: nothing here is
//! ever cancelled half done. The same request finds the running one and waits for its result; a
//! different request for the same object is told to come back (`ABORTED`), as the specification
//! asks for.
#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prost::Message;
use thinly::admin::Recent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::{Code, Status};
use tracing::Span;

use crate::observe;

/// How a call uses an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It changes the object: nobody else may meanwhile.
    Changes,
    /// It only needs the object to stay: others may need that too.
    Needs,
}

/// An object, named by its identifier, its name or a path, and how a call uses it.
pub(crate) type Hold = (String, Use);

/// The calls that are running.
pub(crate) struct Operations {
    state: Mutex<Running>,
    slots: Arc<Semaphore>,
    recent: Recent,
}

#[derive(Default)]
struct Running {
    /// Each holds a `watch::Receiver<Option<Result<R, Status>>>` for its own answer type.
    calls: HashMap<CallKey, Box<dyn Any + Send>>,
    held: HashMap<String, Held>,
}

type CallKey = (&'static str, Vec<u8>);

#[derive(Debug, Clone, Copy)]
enum Held {
    Changed,
    Needed(usize),
}

type Outcome<R> = Option<Result<R, Status>>;

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.lock();
        f.debug_struct("Operations").field("calls", &running.calls.len()).finish_non_exhaustive()
    }
}

impl Operations {
    /// At most `slots` calls work at one time; the others wait their turn.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            state: Mutex::default(),
            slots: Arc::new(Semaphore::new(slots)),
            recent: Recent::default(),
        }
    }

    /// The calls that ended last, those that only read left out.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Whether no call is running.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().calls.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a blocking thread, or joins the same call when it runs already.
    pub(crate) async fn run<Q, R, W>(
        self: &Arc<Self>,
        rpc: &'static str,
        request: &Q,
        holds: Vec<Hold>,
        work: W,
    ) -> Result<R, Status>
    where
        Q: Message,
        R: Clone + Send + Sync + 'static,
        W: FnOnce() -> Result<R, Status> + Send + 'static,
    {
        let key = (rpc, request.encode_to_vec());
        let span = Span::current();
        if let Some((object, _)) = holds.first() {
            observe::about(object);
        }
        let mut receiver = match self.begin::<R>(&key, &holds)? {
            Begun::Joined(receiver) => receiver,
            Begun::New(sender, receiver) => {
                self.start(Call { key, holds, sender, span, begun: Instant::now() }, work);
                receiver
            }
        };
        let outcome = receiver.wait_for(Option::is_some).await;
        match outcome.ok().and_then(|outcome| (*outcome).clone()) {
            Some(result) => result,
            None => Err(Status::internal(format!("{rpc} ended without a result"))),
        }
    }

    /// Holds objects until the guard is dropped, for work that is no call.
    pub(crate) fn hold(&self, holds: Vec<Hold>) -> Result<Holding<'_>, Status> {
        let mut running = self.lock();
        running.hold_all(&holds)?;
        Ok(Holding { operations: self, holds })
    }

    fn begin<R: Clone + Send + Sync + 'static>(
        &self,
        key: &CallKey,
        holds: &[Hold],
    ) -> Result<Begun<R>, Status> {
        let mut running = self.lock();
        let known = running.calls.get(key);
        if let Some(receiver) = known.and_then(|any| any.downcast_ref()) {
            let receiver: &watch::Receiver<Outcome<R>> = receiver;
            return Ok(Begun::Joined(receiver.clone()));
        }
        running.hold_all(holds)?;
        let (sender, receiver) = watch::channel(None);
        running.calls.insert(key.clone(), Box::new(receiver.clone()));
        Ok(Begun::New(sender, receiver))
    }

    /// Does the call to its end, here and now: what blocks cannot be dropped by a client that goes
    /// away, and the answer needs no second thread to be woken. The runtime moves its other tasks
    /// to another thread meanwhile. While all slots are taken a task waits for one.
    fn start<R, W>(self: &Arc<Self>, call: Call<R>, work: W)
    where
        R: Clone + Send + Sync + 'static,
        W: FnOnce() -> Result<R, Status> + Send + 'static,
    {
        let operations = Arc::clone(self);
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => tokio::task::block_in_place(|| operations.finish(&call, slot, work)),
            Err(_) => {
                tokio::spawn(async move {
                    // Never closed.
                    let Ok(slot) = Arc::clone(&operations.slots).acquire_owned().await else {
                        return;
                    };
                    tokio::task::block_in_place(|| operations.finish(&call, slot, work));
                });
            }
        }
    }

    fn finish<R, W>(&self, call: &Call<R>, slot: OwnedSemaphorePermit, work: W)
    where
        R: Clone + Send + Sync + 'static,
        W: FnOnce() -> Result<R, Status>,
    {
        let _in = call.span.enter();
        // Whatever the work leaves behind a panic is what a crash leaves: the engine recovers it.
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Status::internal(format!("{} failed unexpectedly", call.key.0)))
        });
        drop(slot);
        {
            let mut running = self.lock();
            running.calls.remove(&call.key);
            running.release_all(&call.holds);
        }
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        self.note(&call.key, &call.holds, call.begun, code);
        if call.sender.send(Some(result)).is_err() {
            tracing::info!(code = ?code, "done, and nobody waited for it");
        }
    }

    fn note(&self, (rpc, _): &CallKey, holds: &[Hold], begun: Instant, code: Code) {
        if observe::is_reading(rpc) {
            return;
        }
        let outcome = if code == Code::Ok { "ok" } else { observe::code_name(code) };
        let object = holds.first().map(|(object, _)| object.as_str());
        self.recent.note(None, rpc, object, begun.elapsed(), outcome);
    }
}

/// A call that has begun.
struct Call<R> {
    key: CallKey,
    holds: Vec<Hold>,
    sender: watch::Sender<Outcome<R>>,
    span: Span,
    begun: Instant,
}

enum Begun<R> {
    Joined(watch::Receiver<Outcome<R>>),
    New(watch::Sender<Outcome<R>>, watch::Receiver<Outcome<R>>),
}

/// Objects that are held; let go on drop.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    operations: &'a Operations,
    holds: Vec<Hold>,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.operations.lock().release_all(&self.holds);
    }
}

impl Running {
    /// Takes all of them, or none.
    fn hold_all(&mut self, holds: &[Hold]) -> Result<(), Status> {
        if let Some((name, _)) = holds.iter().find(|(name, how)| self.refuses(name, *how)) {
            return Err(Status::aborted(format!(
                "another operation on {name} is running; ask again"
            )));
        }
        for (name, how) in holds {
            self.hold(name, *how);
        }
        Ok(())
    }

    fn release_all(&mut self, holds: &[Hold]) {
        for (name, how) in holds {
            self.release(name, *how);
        }
    }

    fn refuses(&self, name: &str, how: Use) -> bool {
        match (self.held.get(name), how) {
            (None, _) | (Some(Held::Needed(_)), Use::Needs) => false,
            (Some(_), _) => true,
        }
    }

    fn hold(&mut self, name: &str, how: Use) {
        let held = match (self.held.get(name), how) {
            (_, Use::Changes) => Held::Changed,
            (Some(Held::Needed(count)), Use::Needs) => Held::Needed(count + 1),
            (_, Use::Needs) => Held::Needed(1),
        };
        self.held.insert(name.to_owned(), held);
    }

    fn release(&mut self, name: &str, how: Use) {
        match (self.held.get(name), how) {
            (Some(Held::Needed(count)), Use::Needs) if *count > 1 => {
                let count = count - 1;
                self.held.insert(name.to_owned(), Held::Needed(count));
            }
            _ => {
                self.held.remove(name);
            }
        }
    }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
