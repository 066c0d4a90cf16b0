//! QEMU's control socket: one command and one event are all we need of it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use serde_json::Value;

/// The side that gives commands.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
}

/// The side that hears what happens.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Takes a connected socket through the greeting.
    pub fn open(stream: UnixStream) -> Result<(Self, Events)> {
        let lines = BufReader::new(stream.try_clone()?);
        let mut qmp = Self { stream };
        qmp.command("qmp_capabilities")?;
        Ok((qmp, Events { lines }))
    }

    /// Ends QEMU at once.
    pub fn quit(&mut self) -> Result<()> {
        self.command("quit")
    }

    fn command(&mut self, name: &str) -> Result<()> {
        let line = format!("{{\"execute\": \"{name}\"}}\n");
        self.stream.write_all(line.as_bytes()).with_context(|| format!("QMP command {name}"))
    }
}

impl Events {
    /// The name of the next event; `None` when QEMU is gone.
    pub fn next_event(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(name) = message["event"].as_str() {
                return Some(name.to_owned());
            }
        }
    }
}
