//! Waiting for events of any dm device.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::command::Command;
use super::control::Control;
use super::error::DmError;
use super::probe::Feature;
use super::{buffer::IoctlBuffer, control::malformed, flags::DmFlags, request};

/// One open control node has one arm state: whoever waits opens a [`Control`] of its own.
///
/// The order that loses nothing: arm, then list devices and compare their event numbers, then
/// wait. What happens after the arming ends the wait.
impl Control {
    /// From now on, events of any dm device make the node readable.
    pub fn arm_poll(&self) -> Result<(), DmError> {
        self.require(Feature::EventPoll)?;
        let command = Command::ArmPoll;
        let mut buffer = IoctlBuffer::new(0);
        malformed(command, request::header(&mut buffer, DmFlags::NONE))?;
        self.issue(command, &mut buffer).map_err(|source| DmError::General { command, source })
    }

    /// Waits until an event has come since the arming, or until `timeout` has passed; `None` waits
    /// for ever. Says whether an event has come. A signal ends the wait like a timeout.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, DmError> {
        let mut descriptors = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        Ok(poll_for(&mut descriptors, timeout)? > 0)
    }

    /// The same, ended also by a stop: by anything that `stop` becomes readable or hangs up for.
    pub fn wait_or_stop(
        &self,
        stop: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<Wake, DmError> {
        let mut descriptors = [self.as_fd(), stop].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll_for(&mut descriptors, timeout)?;
        Ok(match descriptors.map(|descriptor| descriptor.any().unwrap_or(false)) {
            [_, true] => Wake::Stop,
            [true, false] => Wake::Event,
            [false, false] => Wake::TimedOut,
        })
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// An event has come since the arming.
    Event,
    /// Whoever waits is to end.
    Stop,
    /// Neither; a signal counts as this.
    TimedOut,
}

/// How many descriptors are ready.
fn poll_for(descriptors: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<i32, DmError> {
    let timeout = match timeout {
        None => PollTimeout::NONE,
        Some(timeout) => PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX),
    };
    match poll(descriptors, timeout) {
        Ok(ready) => Ok(ready),
        Err(Errno::EINTR) => Ok(0),
        Err(errno) => Err(DmError::Wait { source: errno.into() }),
    }
}
