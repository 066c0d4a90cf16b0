//! One command's frames, from the client's side.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Output;
use crate::protocol::{Body, Frame, read_frame, write_frame};
use crate::run_dir::{CONTROL_SOCKET, RunDir};

/// One command's frames.
pub(crate) struct Conversation {
    stream: UnixStream,
    frames: Receiver<io::Result<Option<Frame>>>,
}

impl Conversation {
    pub(crate) fn open(run: &RunDir, first: Body) -> Result<Self> {
        let stream = run.connect(CONTROL_SOCKET).context("the guest is not running")?;
        let mut reader = stream.try_clone()?;
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || {
            loop {
                let frame = read_frame(&mut reader);
                let is_last = !matches!(frame, Ok(Some(_)));
                if sender.send(frame).is_err() || is_last {
                    break;
                }
            }
        });
        let mut conversation = Self { stream, frames };
        conversation.tell(first)?;
        Ok(conversation)
    }

    pub(crate) fn tell(&mut self, body: Body) -> Result<()> {
        Ok(write_frame(&mut self.stream, &Frame { channel: 0, body })?)
    }

    pub(crate) fn pass_stdin(&self) -> Result<()> {
        let mut stream = self.stream.try_clone()?;
        thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            loop {
                let body = match io::stdin().read(&mut buffer) {
                    Ok(0) | Err(_) => Body::StdinEnd,
                    Ok(length) => Body::Stdin(buffer[..length].to_vec()),
                };
                let is_last = matches!(body, Body::StdinEnd);
                if write_frame(&mut stream, &Frame { channel: 0, body }).is_err() || is_last {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Passes output on until the command ends; `None` when its time is over first.
    pub(crate) fn listen(
        &self,
        timeout: Duration,
        say: &mut impl FnMut(Output<'_>),
    ) -> Result<Option<i32>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.next(deadline)? {
                None => return Ok(None),
                Some(Body::Exit(code)) => return Ok(Some(code)),
                Some(body) => pass_on(&body, say),
            }
        }
    }

    pub(crate) fn wait_for_log(
        &self,
        timeout: Duration,
        say: &mut impl FnMut(Output<'_>),
    ) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        while let Some(body) = self.next(deadline)? {
            pass_on(&body, say);
            if matches!(body, Body::KernelLog(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn next(&self, deadline: Instant) -> Result<Option<Body>> {
        match self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(Ok(Some(Frame { body: Body::Failed(why), .. }))) => bail!(why),
            Ok(Ok(Some(frame))) => Ok(Some(frame.body)),
            Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => {
                bail!("the connection to the guest has ended")
            }
            Ok(Err(e)) => Err(e).context("the connection to the guest"),
        }
    }
}

fn pass_on(body: &Body, say: &mut impl FnMut(Output<'_>)) {
    match body {
        Body::Stdout(bytes) => say(Output::Stdout(bytes)),
        Body::Stderr(bytes) => say(Output::Stderr(bytes)),
        Body::KernelLog(text) => say(Output::KernelLog(text)),
        _ => {}
    }
}
