//! How the process ends.

use std::process::ExitCode;

/// The exit codes. A supervisor restarts after [`Self::Failed`]; a person mends [`Self::Misused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Told to stop, and everything in flight was delivered, checkpointed and released.
    Drained,
    /// Something failed at run time; the last line of the log says what.
    Failed,
    /// Wrong arguments or settings: nothing was begun. The code is clap's own, too.
    Misused,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::Failed => 1,
            Self::Misused => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_that_are_documented() {
        assert_eq!(
            [Exit::Drained, Exit::Failed, Exit::Misused].map(Exit::code),
            [0, 1, 2]
        );
    }
}
