//! Which pipelines a command is for: the settings of `weir run`, and a choice among theirs.

use super::drain::DrainArgs;
use super::flags::{Flags, WrongUse};
use super::run::{self, PipelineArgs, Use};
use crate::config::problem::Problem;
use crate::config::{Config, PipelineConfig};
use crate::suggest;

/// The settings of a command that is for some pipelines.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ChosenArgs {
    /// Only this pipeline of the settings
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten, next_help_heading = "As for `weir run`")]
    settings: Box<PipelineArgs>,
}

impl ChosenArgs {
    /// Whether any of the flags is there. What the environment holds is not asked.
    pub fn are_given(&self) -> bool {
        self.pipeline.is_some() || self.settings.are_given()
    }

    /// The settings with the pipelines that are meant: the one that is named, or all. A wrong name is one of the
    /// flags' problems, and leaves none.
    pub fn some(&self, flags: &mut Flags<'_>, of: Use) -> Result<Config, WrongUse> {
        self.some_with(None, flags, of)
    }

    /// As [`Self::some`], with the times of a daemon's end.
    pub fn some_with(
        &self,
        drain: Option<&DrainArgs>,
        flags: &mut Flags<'_>,
        of: Use,
    ) -> Result<Config, WrongUse> {
        let mut config = run::settings(&self.settings, drain, flags.vars(), of)?;
        if let Some(name) = &self.pipeline {
            let names: Vec<String> = config.pipelines.iter().map(|p| p.name.clone()).collect();
            config.pipelines.retain(|p| p.name == *name);
            if config.pipelines.is_empty() {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let what = format!(
                    "is no pipeline of these settings: {}",
                    suggest::one_of(name, &names)
                );
                flags.problems.push(Problem::with("--pipeline", name, what));
            }
        }
        Ok(config)
    }

    /// The settings with one pipeline: the one that is named, or the only one. `None` only after a problem was
    /// reported.
    pub fn one(&self, flags: &mut Flags<'_>, of: Use) -> Result<Option<(Config, PipelineConfig)>, WrongUse> {
        let config = self.some(flags, of)?;
        if let [_, _, ..] = &config.pipelines[..] {
            let names: Vec<&str> = config.pipelines.iter().map(|p| p.name.as_str()).collect();
            let what = format!(
                "is missing: the settings have several, name one of {}",
                names.join(", ")
            );
            flags.problems.push(Problem::new("--pipeline", what));
            return Ok(None);
        }
        let pipeline = config.pipelines.first().cloned();
        Ok(pipeline.map(|pipeline| (config, pipeline)))
    }

    /// Whether the settings name a log group: a command that writes nothing does without.
    pub fn has_group(&self, flags: &Flags<'_>) -> bool {
        run::names_a_group(&self.settings, flags.vars())
    }
}
