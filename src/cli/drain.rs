//! How long the end may take, and how long the platform waits for it: beside the file, since the platform's own
//! settings know it.

use super::flags::{Flags, Given};
use crate::config::problem::Problem;
use crate::config::{Config, Overrides, bounds, check};

#[derive(Debug, Default, clap::Args)]
pub(super) struct DrainArgs {
    /// How long the end may take after SIGTERM [env: WEIR_DRAIN_TIMEOUT] [default: 25s]
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// How long the platform waits between SIGTERM and SIGKILL: refused if it is not 5 s longer than the drain's limit
    /// [env: WEIR_GRACE_PERIOD]
    #[arg(long, value_name = "DURATION")]
    grace_period: Option<String>,
}

/// What was given of it, and where.
#[derive(Default)]
pub(super) struct DrainGiven {
    timeout: Option<Given>,
    grace: Option<Given>,
}

impl DrainArgs {
    /// Reads both into `overrides`.
    pub fn read(&self, flags: &mut Flags<'_>, overrides: &mut Overrides) -> DrainGiven {
        let timeout = flags.find("--drain-timeout", self.drain_timeout.as_ref());
        let grace = flags.find("--grace-period", self.grace_period.as_ref());
        overrides.drain_timeout = flags.checked(timeout.as_ref(), check::duration(bounds::DRAIN));
        overrides.grace_period = flags.checked(grace.as_ref(), check::duration(bounds::GRACE));
        DrainGiven { timeout, grace }
    }
}

impl DrainGiven {
    /// Tells if the drain doesn't fit into the grace period. `file`: the name of the settings, where there are any
    /// beside these.
    pub fn tell_misfit(
        &self,
        flags: &mut Flags<'_>,
        config: &Config,
        overrides: &Overrides,
        file: Option<&str>,
    ) {
        let is_wrong = |given: &Option<Given>, read: bool| given.is_some() && !read;
        let Some(grace) = config.grace_period else {
            return;
        };
        // Both in the file: told there. One of them unreadable: nothing more is said of it.
        if (self.timeout.is_none() && self.grace.is_none())
            || is_wrong(&self.timeout, overrides.drain_timeout.is_some())
            || is_wrong(&self.grace, overrides.grace_period.is_some())
        {
            return;
        }
        let name = match &self.timeout {
            Some(given) => given.origin.clone(),
            None => "drain.timeout".to_owned(),
        };
        if let Err(what) = check::drain_fits(config.drain_timeout, &name, grace) {
            let (key, text) = match (&self.grace, file) {
                (Some(given), _) => (given.origin.clone(), given.text.clone()),
                (None, Some(file)) => (format!("{file}: drain.grace_period"), check::shown(grace)),
                (None, None) => ("drain.grace_period".to_owned(), check::shown(grace)),
            };
            flags.problems.push(Problem::with(key, text, what));
        }
    }
}
