//! Hearing of what happens to pools, without asking again and again.
//!
//! The device-mapper tells of every event on one descriptor: a pool that falls to its low-water mark,
//! one that is full, one whose metadata runs low, and also every device that is made or removed. An
//! event does not say whose it is, so whoever hears of one looks at its pools.
#![forbid(unsafe_code)]

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

use crate::dm::{Control, DmError, Wake};

/// Looked at this often when nothing is heard: what no event tells of, such as metadata that fills
/// up slowly above the kernel's mark.
const LOOK_AT_LEAST: Duration = Duration::from_mins(1);

/// Between two looks: a machine that makes hundreds of devices a second is not to spend its time
/// looking.
const PAUSE_MS: u16 = 50;

/// A monitor that cannot be had, or that ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The device-mapper.
    #[error(transparent)]
    Dm(#[from] DmError),
    /// No pipe, or it cannot be waited for.
    #[error("cannot wait for an end: {0}; free some file descriptors and start again")]
    Stop(#[from] io::Error),
}

/// Waits for events of the device-mapper.
#[derive(Debug)]
pub struct Monitor {
    control: Control,
    stop: PipeReader,
}

/// Ends its monitor when it is dropped.
#[derive(Debug)]
pub struct MonitorStop {
    _writer: PipeWriter,
}

impl Monitor {
    /// A monitor, and what ends it.
    pub fn new() -> Result<(Self, MonitorStop), MonitorError> {
        let (stop, writer) = io::pipe()?;
        // Each open node is armed by itself.
        let control = Control::open()?;
        Ok((Self { control, stop }, MonitorStop { _writer: writer }))
    }

    /// Looks now, after every event, and once a minute, until its [`MonitorStop`] is gone.
    ///
    /// Armed before each look, so that what happens during it is heard of after it.
    pub fn run(&self, mut look: impl FnMut()) -> Result<(), MonitorError> {
        loop {
            self.control.arm_poll()?;
            look();
            if self.is_stopped_within(PAUSE_MS)?
                || self.control.wait_or_stop(self.stop.as_fd(), Some(LOOK_AT_LEAST))? == Wake::Stop
            {
                return Ok(());
            }
        }
    }

    fn is_stopped_within(&self, milliseconds: u16) -> Result<bool, MonitorError> {
        let mut descriptors = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, PollTimeout::from(milliseconds)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}
