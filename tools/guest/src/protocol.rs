//! Frames between the host and the agent in the guest, and between a client and its supervisor.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// What the agent writes first after each boot. Whatever stood in the pipe before it is left over from an earlier boot.
pub const GREETING: &[u8] = b"\nthinly-agent is ready\n";

/// The virtio-serial port's name, as the guest finds it in sysfs.
pub const PORT_NAME: &str = "thinly.agent";

/// The largest frame that is believed; output is cut far below it.
const FRAME_LIMIT_BYTES: u32 = 16 << 20;

/// One message of one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frame {
    /// The conversation, chosen by the supervisor.
    pub channel: u32,
    /// What is said.
    pub body: Body,
}

/// What may be said, by either side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Body {
    /// To the guest: run a command.
    Exec(Exec),
    /// To the guest: bytes for the command's standard input.
    Stdin(Vec<u8>),
    /// To the guest: the standard input ends here.
    StdinEnd,
    /// To the guest: kill the command with all its process group.
    Kill,
    /// To the guest: say what is blocked, and the kernel log since the command's start.
    Diagnose,
    /// From the guest: bytes of standard output.
    Stdout(Vec<u8>),
    /// From the guest: bytes of standard error.
    Stderr(Vec<u8>),
    /// From the guest: the kernel log since the command's start.
    KernelLog(String),
    /// From the guest: the command ended with this code (128 + signal when killed).
    Exit(i32),
    /// To the supervisor: answer `Done` when the guest is up.
    WaitReady,
    /// To the supervisor: reset the machine as a power button would, answer `Done` when it is up again.
    Reset,
    /// To the supervisor: stop the guest.
    Down,
    /// From the supervisor: it is done.
    Done,
    /// From either: it could not be done, and why.
    Failed(String),
}

/// A command for the guest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables added to the agent's own few.
    pub env: BTreeMap<String, String>,
    /// Where it starts; `/root` when empty.
    pub cwd: String,
    /// Whether `Stdin` frames follow; otherwise it reads `/dev/null`.
    pub has_stdin: bool,
    /// Whether the kernel log is wanted when it fails.
    pub log_on_failure: bool,
}

/// Writes one frame: its length in four little-endian bytes, then the frame.
pub fn write_frame(to: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let body = postcard::to_stdvec(frame).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&body);
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads one frame; `None` when the other side has closed.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length);
    if length > FRAME_LIMIT_BYTES {
        return Err(io::Error::other(format!(
            "a frame of {length} bytes: the stream is out of step"
        )));
    }
    let mut body = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut body)?;
    postcard::from_bytes(&body).map(Some).map_err(io::Error::other)
}

/// Reads up to and including the greeting.
pub fn skip_to_greeting(from: &mut impl Read) -> io::Result<()> {
    let mut tail = Vec::with_capacity(GREETING.len() + 1);
    let mut byte = [0];
    while tail != GREETING {
        from.read_exact(&mut byte)?;
        tail.push(byte[0]);
        if tail.len() > GREETING.len() {
            tail.remove(0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_wire() {
        let sent = Frame { channel: 7, body: Body::Stdout(vec![0, 1, 254, 255]) };
        let mut wire = Vec::new();
        write_frame(&mut wire, &sent).unwrap();
        let got = read_frame(&mut wire.as_slice()).unwrap().unwrap();
        assert_eq!(format!("{sent:?}"), format!("{got:?}"));
    }

    #[test]
    fn the_end_of_the_stream_is_not_an_error_and_half_a_frame_is() {
        assert!(read_frame(&mut [].as_slice()).unwrap().is_none());
        let mut wire = Vec::new();
        write_frame(&mut wire, &Frame { channel: 1, body: Body::Exit(3) }).unwrap();
        wire.pop();
        assert!(read_frame(&mut wire.as_slice()).is_err());
    }

    #[test]
    fn a_length_out_of_step_is_refused_before_memory_is_asked_for() {
        assert!(read_frame(&mut [0xff, 0xff, 0xff, 0xff, 0].as_slice()).is_err());
    }

    #[test]
    fn what_an_earlier_boot_left_is_skipped() {
        let mut wire = b"half a frame\nthinly-agent is".to_vec();
        wire.extend_from_slice(GREETING);
        wire.extend_from_slice(b"rest");
        let mut from = wire.as_slice();
        skip_to_greeting(&mut from).unwrap();
        assert_eq!(from, b"rest");
    }
}
