//! Lists and watches, for as long as the driver runs.
//!
//! A list tells all objects and the version that they are of; a watch goes on from there. A watch
//! that ends is taken up where it was. Only when the cluster has forgotten that version is all
//! listed again: many nodes do this, and a list is dear.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use thinly_cluster::objects::{PersistentVolumeClaim, VolumeSnapshotContent};
use thinly_cluster::told;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;

use super::Pace;
use super::agenda::{Key, Part, Standing, Subject};
use super::back_off::{BackOff, spread};
use super::label::Content;
use super::pin;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// A watch asks the cluster to end it after this, in seconds.
const WATCH_SECONDS: u32 = 290;
/// One that has told nothing for so long hangs on a connection that is none any more.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// What a watch has to say.
#[derive(Debug)]
pub(super) enum News {
    /// A list begins.
    Begin(Part),
    /// An object as it is.
    Told(Key, Standing),
    /// It is no more, or no more one of those that are watched.
    Gone(Key),
    /// A list has ended.
    End(Part),
    /// The cluster answers.
    Well(Part),
    /// The cluster does not know such objects.
    Unknown(Part),
    /// It does not answer, or not as it should.
    Trouble(Part, String),
}

/// Objects that are watched.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    const PART: Part;
    /// Which of them; empty for all.
    const SELECTOR: &'static str;

    fn standing(&self, driver: &str) -> Standing;

    fn key(&self) -> Key {
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        (Self::PART, word(&self.meta().namespace), word(&self.meta().name))
    }
}

impl Watched for VolumeSnapshotContent {
    const PART: Part = Part::Contents;
    /// Those that nobody manages. Of other drivers they may be many, and stay.
    const SELECTOR: &'static str = "!snapshot.storage.kubernetes.io/managed-by";

    fn standing(&self, driver: &str) -> Standing {
        Content::of(self, driver)
            .map_or(Standing::Out, |content| Standing::Wants(Subject::Content(content)))
    }
}

impl Watched for PersistentVolumeClaim {
    const PART: Part = Part::Claims;
    const SELECTOR: &'static str = "";

    fn standing(&self, _: &str) -> Standing {
        match pin::standing(self) {
            pin::Standing::Wants(claim) => Standing::Wants(Subject::Claim(claim)),
            pin::Standing::Chosen => Standing::Chosen,
            pin::Standing::Out => Standing::Out,
        }
    }
}

/// Why a list or watch went no further.
enum Stop {
    /// Nobody listens any more.
    Unheard,
    /// The version is forgotten.
    Forgotten,
    Failed(kube::Error),
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 410 => Self::Forgotten,
            error => Self::Failed(error),
        }
    }
}

/// Tells of all objects of a kind until nobody listens.
pub(super) async fn follow<K: Watched>(
    api: Api<K>,
    driver: String,
    pace: Pace,
    listener: Sender<News>,
) {
    let mut teller = Teller { api, driver, listener, version: None };
    let mut back_off = BackOff::new(pace);
    loop {
        let (is_watch, began) = (teller.version.is_some(), Instant::now());
        let result = teller.step().await;
        let heard = began.elapsed();
        let news = match result {
            Ok(()) if is_watch => None,
            Ok(()) => continue,
            Err(Stop::Unheard) => return,
            Err(Stop::Forgotten) => {
                teller.version = None;
                None
            }
            // A cluster need not know snapshots; claims it does.
            Err(Stop::Failed(kube::Error::Api(status)))
                if status.code == 404 && K::PART == Part::Contents =>
            {
                Some(News::Unknown(K::PART))
            }
            Err(Stop::Failed(error)) => Some(News::Trouble(K::PART, told(&error))),
        };
        if let Some(news) = news
            && teller.listener.send(news).await.is_err()
        {
            return;
        }
        let wait = if is_watch { back_off.after_watch(heard) } else { back_off.grow() };
        sleep(spread(wait)).await;
    }
}

struct Teller<K> {
    api: Api<K>,
    driver: String,
    listener: Sender<News>,
    /// What is told so far; `None`: nothing.
    version: Option<String>,
}

impl<K: Watched> Teller<K> {
    /// One whole list, or one watch until it ends.
    async fn step(&mut self) -> Result<(), Stop> {
        match self.version.clone() {
            None => self.list().await,
            Some(version) => self.watch(&version).await,
        }
    }

    async fn list(&mut self) -> Result<(), Stop> {
        let mut page = ListParams::default().labels(K::SELECTOR).limit(PAGE);
        self.tell(News::Begin(K::PART)).await?;
        loop {
            let list = self.api.list(&page).await?;
            for object in &list.items {
                self.tell_object(object).await?;
            }
            if let Some(token) = list.metadata.continue_.filter(|token| !token.is_empty()) {
                page.continue_token = Some(token);
                continue;
            }
            self.tell(News::End(K::PART)).await?;
            self.tell(News::Well(K::PART)).await?;
            self.version = Some(list.metadata.resource_version.unwrap_or_default());
            return Ok(());
        }
    }

    async fn watch(&mut self, version: &str) -> Result<(), Stop> {
        let params = WatchParams::default().labels(K::SELECTOR).timeout(WATCH_SECONDS);
        let mut events = pin!(self.api.clone().watch(&params, version).await?);
        self.tell(News::Well(K::PART)).await?;
        // Silence ends it like its end.
        while let Ok(Some(event)) = timeout(SILENCE_MAX, events.next()).await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.tell_object(&object).await?;
                    self.note(object.meta().resource_version.clone());
                }
                WatchEvent::Deleted(object) => {
                    self.tell(News::Gone(object.key())).await?;
                    self.note(object.meta().resource_version.clone());
                }
                WatchEvent::Bookmark(mark) => self.note(Some(mark.metadata.resource_version)),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
        }
        Ok(())
    }

    fn note(&mut self, version: Option<String>) {
        self.version = version.or(self.version.take());
    }

    async fn tell_object(&self, object: &K) -> Result<(), Stop> {
        self.tell(News::Told(object.key(), object.standing(&self.driver))).await
    }

    async fn tell(&self, news: News) -> Result<(), Stop> {
        self.listener.send(news).await.map_err(|_| Stop::Unheard)
    }
}
