//! What is said over the socket: a line of JSON asks, lines of JSON answer.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A line beyond this is no request of ours: no command line is that long.
const REQUEST_BYTES_MAX: u64 = 256 << 10;
/// An answer beyond this is none of ours.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// What is asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// The command line, the program's name first.
    pub(super) arguments: Vec<String>,
}

/// A part of the answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// For standard output.
    Answer(String),
    /// A line for standard error.
    Aside(String),
    /// The last part: the exit code.
    Exit(u8),
    /// The last part: the process does not hold that pool, and nothing was done.
    NotHeld,
}

/// Writes one line.
pub(super) fn send(mut to: impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads the one line that is asked with.
pub(super) fn read_request(from: impl Read) -> io::Result<Request> {
    read(&mut BufReader::new(from), REQUEST_BYTES_MAX)?.ok_or_else(ended)
}

/// Reads the next line of an answer.
pub(super) fn read_reply(from: &mut impl BufRead) -> io::Result<Reply> {
    read(from, REPLY_BYTES_MAX)?.ok_or_else(ended)
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the other side ended in the middle")
}

fn read<T: DeserializeOwned>(from: &mut impl BufRead, bytes_max: u64) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.take(bytes_max).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read() {
        let request = Request { arguments: vec!["thinly".to_owned(), "a\nb \u{fc}".to_owned()] };
        let mut line = Vec::new();
        send(&mut line, &request).unwrap();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        assert_eq!(read_request(line.as_slice()).unwrap(), request);
        let replies = [Reply::Answer("{\n}\n".to_owned()), Reply::NotHeld, Reply::Exit(3)];
        let mut lines = Vec::new();
        for reply in &replies {
            send(&mut lines, reply).unwrap();
        }
        let mut lines = lines.as_slice();
        for reply in replies {
            assert_eq!(read_reply(&mut lines).unwrap(), reply);
        }
        assert_eq!(read_reply(&mut lines).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_cut_or_endless_or_no_json_is_an_error() {
        for bad in ["", "{\"arguments\":[]}", "nonsense\n", "{\"arguments\":3}\n"] {
            read_request(bad.as_bytes()).unwrap_err();
        }
        read_request(io::repeat(b'x')).unwrap_err();
    }
}
