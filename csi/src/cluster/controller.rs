//! The controller's life: connect, listen, act.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Instant;

use kube::{Api, Client};
use thinly_cluster::Access;
use thinly_cluster::objects::{PersistentVolumeClaim, VolumeSnapshotContent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use uuid::Uuid;

use super::agenda::{Agenda, Outcome, Part};
use super::back_off::{BackOff, spread};
use super::label::is_label;
use super::metrics::ClusterMetrics;
use super::watching::{News, follow};
use super::work::{RedactedClient, Worker};
use super::{LocalPools, Settings};

/// How much the watches may tell ahead.
const AHEAD: usize = 64;

/// The controller.
#[derive(Debug)]
pub struct Controller {
    /// Where the cluster is.
    pub access: Access,
    /// Who acts.
    pub settings: Settings,
    /// Which pools are here.
    pub pools: LocalPools,
    /// Where it counts.
    pub metrics: ClusterMetrics,
}

/// How a watch was when that was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Well,
    Unknown,
    Trouble(String),
}

impl Controller {
    /// Acts until `stopped`. Whatever fails is tried again.
    pub async fn run(self, stopped: impl Future<Output = ()>) {
        let acting = async {
            loop {
                self.act().await;
                sleep(spread(self.settings.pace.first)).await;
            }
        };
        tokio::select! {
            () = acting => {}
            () = stopped => {}
        }
    }

    /// Acts until a watch ends, which none does by itself.
    async fn act(&self) {
        let node = &self.settings.node;
        if !is_label(node) {
            tracing::error!(
                node,
                "snapshots of this node cannot be taken: its name cannot be a label (63 letters, digits, '-', '_', '.')"
            );
        }
        let client = self.connect().await;
        tracing::info!(node, "the controller of this node watches the cluster");
        let (listener, mut news) = mpsc::channel(AHEAD);
        // Ends with this.
        let mut watches = JoinSet::new();
        let (driver, pace) = (&self.settings.driver_name, self.settings.pace);
        let contents: Api<VolumeSnapshotContent> = Api::all(client.clone());
        watches.spawn(follow(contents, driver.clone(), pace, listener.clone()));
        let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
        watches.spawn(follow(claims, driver.clone(), pace, listener));
        let (settings, pools, metrics) = (&self.settings, &self.pools, &self.metrics);
        let worker = Worker { client: RedactedClient(client), settings, pools, metrics };
        let mut desk = Desk::new(self);
        let mut look = interval(pace.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = desk.next_due().map(tokio::time::Instant::from_std);
            let alarm = async move {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // First what the watches tell: however much there is to be done, they never wait for it.
                biased;
                Some(news) = news.recv() => desk.hear(news),
                Some(ended) = watches.join_next() => {
                    tracing::error!("a watch of the cluster ended, all begin anew: {ended:?}");
                    return;
                }
                _ = look.tick() => desk.look_at_pools(),
                () = alarm => desk.work(&worker).await,
            }
        }
    }

    async fn connect(&self) -> Client {
        let mut back_off = BackOff::new(self.settings.pace);
        let mut last = None;
        loop {
            match self.access.client().await {
                Ok(client) => return client,
                Err(error) => {
                    let why = error.to_string();
                    if last.as_ref() != Some(&why) {
                        tracing::warn!("the cluster is not looked after: {why}");
                        last = Some(why);
                    }
                }
            }
            sleep(spread(back_off.grow())).await;
        }
    }
}

/// What is known at the moment.
struct Desk<'a> {
    controller: &'a Controller,
    agenda: Agenda,
    states: BTreeMap<Part, State>,
    pools: Vec<Uuid>,
    /// Nothing is asked of the cluster before this.
    not_before: Option<Instant>,
}

impl<'a> Desk<'a> {
    fn new(controller: &'a Controller) -> Self {
        let agenda = Agenda::new(controller.settings.pace, spread);
        let pools = controller.pools.list();
        Self { controller, agenda, states: BTreeMap::new(), pools, not_before: None }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Begin(part) => self.agenda.begin(part),
            News::End(part) => {
                self.agenda.end(part);
                self.count_failing();
            }
            News::Told(key, standing) => self.agenda.take(key, standing, Instant::now()),
            News::Gone(key) => {
                self.agenda.forget(&key);
                self.count_failing();
            }
            News::Well(part) => self.note(part, State::Well),
            News::Unknown(part) => self.note(part, State::Unknown),
            News::Trouble(part, why) => self.note(part, State::Trouble(why)),
        }
    }

    /// When something is to be done next.
    fn next_due(&self) -> Option<Instant> {
        let due = self.agenda.next_due()?;
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// Says what has changed, once.
    fn note(&mut self, part: Part, state: State) {
        let last = self.states.get(&part);
        if last == Some(&state) {
            return;
        }
        let (objects, duty) = (part.name(), part.duty());
        match &state {
            State::Well if last.is_none() => tracing::info!(objects, "watching"),
            State::Well => tracing::info!(objects, "watching again"),
            State::Unknown => tracing::info!(objects, "the cluster has no such objects"),
            State::Trouble(why) => tracing::warn!(objects, duty, "they cannot be watched: {why}"),
        }
        // A cluster without snapshots lacks nothing.
        let is_up = !matches!(state, State::Trouble(_));
        self.controller.metrics.set_up(part, is_up);
        self.states.insert(part, state);
    }

    fn look_at_pools(&mut self) {
        let pools = self.controller.pools.list();
        if pools != self.pools {
            self.pools = pools;
            self.agenda.reconsider(Instant::now());
        }
    }

    /// One thing that is due.
    async fn work(&mut self, worker: &Worker<'_>) {
        let Some((key, subject)) = self.agenda.next(Instant::now()) else { return };
        let outcome = worker.work(subject).await;
        let why = match &outcome {
            Outcome::Trouble(why) => Some(why.clone()),
            _ => None,
        };
        let now = Instant::now();
        let pause = self.controller.settings.pace.first / if why.is_some() { 8 } else { 50 };
        self.not_before = Some(now + spread(pause));
        if self.agenda.settle(&key, outcome, now) {
            let (part, namespace, name) = &key;
            let (duty, why) = (part.duty(), why.unwrap_or_default());
            tracing::warn!(duty, namespace, name, "it is tried again: {why}");
        }
        self.count_failing();
    }

    fn count_failing(&self) {
        for part in Part::ALL {
            self.controller.metrics.set_failing(part, self.agenda.troubled(part));
        }
    }
}
