//! What `--help` shows at its end: lines to copy, and how the command ends.
//!
//! A test (`tests/docs.rs`) asks each command for examples, and parses every one of them.

/// The examples, each as it is typed after `weir `, and the exit codes.
///
/// ```text
/// const AFTER: &str = examples!("health" "health --ready");
/// const AFTER: &str = examples!("decode a.bin"; "Exit codes: 0 everything was decoded, …");
/// #[command(after_help = AFTER)]
/// ```
macro_rules! examples {
    ($($example:literal)+) => {
        $crate::cli::examples::examples!(
            $($example)+;
            "Exit codes: 0 done, 1 failed or refused (stderr says why), 2 for wrong arguments or settings."
        )
    };
    ($($example:literal)+; $exits:literal) => {
        concat!("Examples:\n", $("  weir ", $example, "\n",)+ "\n", $exits)
    };
}

pub(super) use examples;
