//! A shell in the guest at the user's terminal.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use anyhow::Result;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// The user's terminal while every key goes to the guest; as before when dropped.
#[derive(Debug)]
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Switches the terminal; `None` if standard input is none.
    pub fn enter() -> Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// The command line of a shell that has a terminal in the guest, of the size of the user's.
pub fn shell_with_terminal(env: &mut BTreeMap<String, String>) -> Vec<String> {
    let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    env.insert("TERM".to_owned(), term);
    let size = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::inherit())
        .output();
    let size =
        size.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let (rows, columns) = size.trim().split_once(' ').unwrap_or(("24", "80"));
    // script(1) makes the terminal that a shell wants for job control.
    let inner = format!("stty rows {rows} columns {columns}; exec bash -i");
    ["script", "--quiet", "--return", "--command", &inner, "/dev/null"].map(str::to_owned).into()
}
