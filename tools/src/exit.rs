//! The one table of exit codes. `docs/exit-codes.md` is held to it by a test.
#![forbid(unsafe_code)]

use thinly_engine::pool::ExitClass;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It did what was asked.
    Success,
    /// Something failed that none of the others describes.
    Internal,
    /// The arguments make no sense.
    Usage,
    /// What was named is not there.
    NotFound,
    /// What should be made is already there.
    Exists,
    /// Somebody uses it.
    InUse,
    /// The engine will not do that, because it is unsafe or impossible.
    Refused,
    /// Space or ids are used up.
    NoSpace,
    /// What is on disk is damaged.
    Damaged,
    /// The pool's condition does not allow it.
    Degraded,
    /// The kernel cannot do it.
    Unsupported,
    /// What was compared is not the same.
    Differs,
    /// The caller may not.
    Permission,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Internal,
        Self::Usage,
        Self::NotFound,
        Self::Exists,
        Self::InUse,
        Self::Refused,
        Self::NoSpace,
        Self::Damaged,
        Self::Degraded,
        Self::Unsupported,
        Self::Differs,
        Self::Permission,
    ];

    const fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Success => {
                (0, "ok", "It is done. A reader that closed the pipe early counts too.")
            }
            Self::Internal => (1, "internal", "An unexpected failure, such as an I/O error."),
            Self::Usage => (2, "usage", "The arguments make no sense; nothing was tried."),
            Self::NotFound => (3, "not_found", "The pool, volume, device or file is not there."),
            Self::Exists => (4, "exists", "The name or the file is already taken."),
            Self::InUse => (5, "in_use", "The volume, device or pool is in use; try again later."),
            Self::Refused => {
                (6, "refused", "It would be unsafe or is impossible; nothing changed.")
            }
            Self::NoSpace => (7, "no_space", "There is no room for it."),
            Self::Damaged => (8, "damaged", "What is on disk does not hold together."),
            Self::Degraded => (9, "degraded", "The pool's condition does not allow it."),
            Self::Unsupported => (10, "unsupported", "The kernel lacks device-mapper or dm-thin."),
            Self::Differs => {
                (11, "differs", "What was compared is not the same; the answer says how.")
            }
            Self::Permission => {
                (77, "permission", "It takes root, or in a cluster rights that are missing.")
            }
        }
    }

    /// The process's exit code.
    pub const fn code(self) -> u8 {
        self.row().0
    }

    /// The exit of a code; one that is none of ours is an internal failure.
    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Internal)
    }

    /// The word for it in JSON.
    pub const fn kind(self) -> &'static str {
        self.row().1
    }

    /// What it means, in one sentence.
    pub const fn meaning(self) -> &'static str {
        self.row().2
    }

    /// The engine's classes of errors, each with its exit: the only place that maps them.
    pub const fn of_class(class: ExitClass) -> Self {
        match class {
            ExitClass::NotFound => Self::NotFound,
            ExitClass::Exists => Self::Exists,
            ExitClass::InUse => Self::InUse,
            ExitClass::Refused => Self::Refused,
            ExitClass::NoSpace => Self::NoSpace,
            ExitClass::Damaged => Self::Damaged,
            ExitClass::Degraded => Self::Degraded,
            ExitClass::Unsupported => Self::Unsupported,
            ExitClass::Permission => Self::Permission,
            _ => Self::Internal,
        }
    }
}

/// The table as the documentation prints it.
pub fn markdown_table() -> String {
    let mut lines = vec!["| code | kind | meaning |".to_owned(), "|---|---|---|".to_owned()];
    lines.extend(Exit::ALL.map(|exit| {
        let (code, kind, meaning) = exit.row();
        format!("| {code} | `{kind}` | {meaning} |")
    }));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_kinds_are_all_different() {
        let codes: BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        let kinds: BTreeSet<&str> = Exit::ALL.iter().map(|exit| exit.kind()).collect();
        assert_eq!((codes.len(), kinds.len()), (Exit::ALL.len(), Exit::ALL.len()));
    }
}
