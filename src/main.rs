//! The life of the process: arguments, settings, log, runtime, work, exit code.

use std::process::ExitCode;

use weir::cli::{self, Job, exit::Exit};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    // First of all: a container's first process is told to stop by a signal that comes once.
    let early = match runtime.as_ref().map(|runtime| runtime.enter()) {
        Ok(_inside) => weir::app::Signals::of_first_process(),
        Err(_) => Ok(None),
    };
    let job = match cli::parse() {
        Ok(job) => job,
        Err(wrong) => return cli::refuse(&wrong),
    };
    let started = match &job {
        Job::Run(config, _) => cli::logging::start(config.log_format),
        _ => cli::logging::start_beside_an_answer(),
    };
    let log_level = match started {
        Ok(log_level) => log_level,
        Err(wrong) => return cli::refuse(&wrong),
    };
    let (runtime, early) = match runtime.and_then(|runtime| Ok((runtime, early?))) {
        Ok(both) => both,
        Err(error) => {
            tracing::error!(%error, "can't start the runtime: does the process have threads and files to open left?");
            return Exit::Failed.into();
        }
    };
    let early = match (early, &job) {
        (early, Job::Run(..) | Job::Tail(..) | Job::Replay(..)) => early,
        (Some(signals), _) => {
            runtime.spawn(signals.obey());
            None
        }
        (None, _) => None,
    };
    let code = match job {
        Job::Run(config, until) => runtime.block_on(weir::app::run(*config, until, log_level, early)),
        Job::Operate(config, order) => runtime.block_on(weir::app::operate(*config, order)),
        Job::DeadLetters(config, order) => runtime.block_on(weir::app::dead_letters(*config, order)),
        Job::Check(order) => runtime.block_on(weir::app::check(order)),
        Job::Tail(config, order) => runtime.block_on(weir::app::tail(*config, order, early)),
        Job::Verify(config, order) => runtime.block_on(weir::app::verify(*config, order)),
        Job::Replay(config, order) => runtime.block_on(weir::app::replay(*config, order, early)),
        Job::Decode(order) => cli::decode::carry_out(&order),
        Job::IamPolicy(config, order) => cli::iam_policy::carry_out(&config, &order),
        Job::Health(order) => cli::health::carry_out(&order),
        Job::Schema => cli::schema::carry_out(),
        Job::Completions(order) => cli::completions::carry_out(&order),
    };
    // The work is joined by now. What may still run, a look-up of a name say, must not hold the exit.
    runtime.shutdown_background();
    code
}
