//! `thinly top`: the model, a terminal, and the threads that look.
//!
//! The screen's thread only waits for what the others send: keys, signals, samples, readings. None of
//! them is waited for at the end but the one that reads metadata, and that for a few seconds: a disk
//! that does not answer keeps nobody at a dead screen.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crossterm::event::{self, KeyEvent};
use nix::sys::signal::{SigSet, Signal};
use thinly_engine::pool::Engine;
use uuid::Uuid;

use super::draw::{Look, draw};
use super::keys::action;
use super::model::{Effect, Model};
use super::reader::{Chosen, Reader};
use super::sample::{Reading, Sample, now};
use super::terminal::Screen;
use super::theme::Theme;
use super::wish::{Wanted, Wish};
use super::{accountant, plain};
use crate::args::Top;
use crate::console::Console;
use crate::failure::Failure;

/// Ages on the screen are told in seconds.
const TICK: Duration = Duration::from_secs(1);

/// How long a reading of metadata may take to end. A kill would leave its metadata snapshot to the
/// next reader.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the screen's thread is sent.
enum Message {
    Sample(Box<Sample>),
    Reading(Uuid, Reading),
    Key(KeyEvent),
    /// The size changed.
    Redraw,
    /// A signal, or a terminal that is gone.
    Stop,
    /// A thread panicked.
    Died,
    /// Metadata is not read any more.
    AccountantLeft,
}

pub(crate) fn run(console: Console<'_>, socket: &Path, arguments: &Top) -> Result<(), Failure> {
    let engine = Engine::new()?;
    let (names, socket) = (arguments.pools.clone(), socket.to_owned());
    let reader = Reader { engine: engine.clone(), names, socket };
    reader.require_all()?;
    if arguments.once || arguments.count.is_some() || console.is_json() || !is_on_terminal() {
        return plain::run(console, &reader, arguments);
    }
    let failed = |action| move |source| Failure::System { action, source };
    // Before any thread exists: each inherits it, and only the one that waits ever sees a signal.
    let signals = block_signals().map_err(failed("block the stop signals"))?;
    let (sender, messages) = channel();
    let wish = Arc::new(Wish::new(arguments.interval));
    let screen = Screen::enter().map_err(failed("take over the terminal"))?;
    let started = start(reader, engine, signals, &wish, &sender);
    let model = Model::new(arguments.interval);
    let outcome = started
        .map_err(failed("start a thread"))
        .and_then(|()| show(screen, model, &wish, &messages));
    wish.end();
    let patience = || messages.recv_timeout(FAREWELL);
    while !matches!(patience(), Ok(Message::AccountantLeft) | Err(_)) {}
    outcome
}

fn is_on_terminal() -> bool {
    io::stdout().is_terminal()
}

fn block_signals() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

/// Starts everybody who sends.
fn start(
    reader: Reader,
    engine: Engine,
    signals: SigSet,
    wish: &Arc<Wish>,
    sender: &Sender<Message>,
) -> io::Result<()> {
    spawn("accountant", sender, {
        let (wish, sender) = (Arc::clone(wish), sender.clone());
        move || {
            let tell = |pool, reading| sender.send(Message::Reading(pool, reading)).is_ok();
            accountant::run(&engine, &wish, &tell);
            let _ = sender.send(Message::AccountantLeft);
        }
    })?;
    spawn("reader", sender, {
        let (wish, sender) = (Arc::clone(wish), sender.clone());
        move || look_again_and_again(&reader, &wish, &sender)
    })?;
    spawn("signals", sender, {
        let sender = sender.clone();
        move || {
            let _ = signals.wait();
            let _ = sender.send(Message::Stop);
        }
    })?;
    let keys = sender.clone();
    spawn("keys", sender, move || pass_keys(&keys))
}

/// A thread whose panic is told of, and not waited for.
fn spawn(
    name: &str,
    sender: &Sender<Message>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let sender = sender.clone();
    let work = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let _ = sender.send(Message::Died);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn look_again_and_again(reader: &Reader, wish: &Wish, sender: &Sender<Message>) {
    loop {
        let wanted = wish.get();
        let sample = reader.look(Chosen::One(wanted.pool));
        if sender.send(Message::Sample(Box::new(sample))).is_err() {
            return;
        }
        let longest = (!wanted.is_paused).then_some(wanted.interval);
        if !wish.wait(wanted, longest) {
            return;
        }
    }
}

fn pass_keys(sender: &Sender<Message>) {
    loop {
        let message = match event::read() {
            Ok(event::Event::Key(key)) => Message::Key(key),
            Ok(event::Event::Resize(..)) => Message::Redraw,
            Ok(_) => continue,
            Err(_) => Message::Stop,
        };
        let is_last = matches!(message, Message::Stop);
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

/// Shows the model until somebody wants it to end. The terminal is given back when this returns.
fn show(
    mut screen: Screen,
    mut model: Model,
    wish: &Wish,
    messages: &Receiver<Message>,
) -> Result<(), Failure> {
    let theme = Theme::of_environment();
    loop {
        let look = Look { theme, now: now() };
        screen.draw(|frame| draw(frame, &mut model, look)).map_err(Failure::Output)?;
        let mut next = match messages.recv_timeout(TICK) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        // One drawing for all that came together.
        while let Some(message) = next {
            match take(&mut model, message)? {
                Effect::Quit => return Ok(()),
                Effect::None => next = messages.try_recv().ok(),
            }
        }
        let (interval, is_paused) = (model.interval, model.is_paused);
        wish.set(Wanted { pool: model.pool, interval, is_paused });
    }
}

fn take(model: &mut Model, message: Message) -> Result<Effect, Failure> {
    match message {
        Message::Sample(sample) => model.take(*sample),
        Message::Reading(pool, reading) => model.take_reading(pool, reading),
        Message::Key(key) => {
            return Ok(action(key, model.mode()).map_or(Effect::None, |it| model.act(it)));
        }
        Message::Redraw | Message::AccountantLeft => {}
        Message::Stop => return Ok(Effect::Quit),
        Message::Died => {
            let source = io::Error::other("a thread ended unexpectedly");
            return Err(Failure::System { action: "look at the pools", source });
        }
    }
    Ok(Effect::None)
}
