//! How the process ends.

use std::process::ExitCode;

/// The exit codes. A supervisor restarts after [`Self::Failed`]; a person mends [`Self::Misused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done. Of `run`: told to stop, and everything in flight was delivered,
    /// checkpointed and released.
    Done,
    /// Something failed at run time, or must not be done as things are; the last line says what.
    Failed,
    /// Wrong arguments or settings: nothing was begun. The code is clap's own, too.
    Misused,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
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
            [Exit::Done, Exit::Failed, Exit::Misused].map(Exit::code),
            [0, 1, 2]
        );
    }
}
