//! What every command reads its settings from: a flag, else its variable `WEIR_<FLAG>`, else the file.
//!
//! The variables are read here and not by clap, so that a test needs no environment, and a message can say
//! where a value came from.

use std::fmt;
use std::path::Path;

use crate::config::check::{self, Checked};
use crate::config::problem::Problem;
use crate::config::{self, Config, ConfigError, Overrides, Vars};

/// Everything that is wrong with what was asked for.
#[derive(Debug, thiserror::Error)]
pub struct WrongUse {
    flags: Vec<Problem>,
    file: Option<(String, ConfigError)>,
}

impl WrongUse {
    /// Each problem in a line; those of the file begin with its path.
    pub fn problems(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.flags.iter().map(ToString::to_string).collect();
        match &self.file {
            Some((path, ConfigError::Invalid(problems))) => {
                lines.extend(problems.0.iter().map(|problem| format!("{path}: {problem}")));
            }
            Some((path, error)) => lines.push(format!("{path}: {error}")),
            None => {}
        }
        lines
    }
}

impl fmt::Display for WrongUse {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems().join("\n"))
    }
}

/// A value and where it came from.
pub(super) struct Given {
    pub text: String,
    /// `--table`, or `--table (from WEIR_TABLE)`.
    pub origin: String,
}

/// Looks values up, and keeps what is wrong with them.
pub(super) struct Flags<'v> {
    vars: Vars<'v>,
    pub problems: Vec<Problem>,
}

impl<'v> Flags<'v> {
    pub fn new(vars: Vars<'v>) -> Self {
        Self {
            vars,
            problems: Vec::new(),
        }
    }

    pub fn vars(&self) -> Vars<'v> {
        self.vars
    }

    /// What was read, if nothing was wrong with it.
    pub fn finish<T>(self, read: Option<T>, file: Option<(String, ConfigError)>) -> Result<T, WrongUse> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(WrongUse {
                flags: self.problems,
                file,
            }),
        }
    }

    pub fn find(&self, flag: &str, value: Option<&String>) -> Option<Given> {
        if let Some(text) = value {
            return Some(Given {
                text: text.clone(),
                origin: flag.to_owned(),
            });
        }
        self.find_in(
            flag,
            &format!(
                "WEIR_{}",
                flag.trim_start_matches('-').to_uppercase().replace('-', "_")
            ),
        )
    }

    pub fn find_in(&self, flag: &str, variable: &str) -> Option<Given> {
        let text = (self.vars)(variable).filter(|text| !text.is_empty())?;
        Some(Given {
            text,
            origin: format!("{flag} (from {variable})"),
        })
    }

    pub fn checked<T>(&mut self, given: Option<&Given>, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let Given { text, origin } = given?;
        check(text)
            .map_err(|what| self.problems.push(Problem::with(origin, text, what)))
            .ok()
    }

    /// A flag that has no variable.
    pub fn argument<T>(&mut self, flag: &str, text: &str, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let given = Given {
            text: text.to_owned(),
            origin: flag.to_owned(),
        };
        self.checked(Some(&given), check)
    }

    pub fn read<T>(
        &mut self,
        flag: &str,
        value: Option<&String>,
        check: impl Fn(&str) -> Checked<T>,
    ) -> Option<T> {
        let given = self.find(flag, value);
        self.checked(given.as_ref(), check)
    }
}

/// The text that holds the settings, and what it is called: a file, or `--config-text`.
pub(super) struct Settings {
    /// As a problem's message begins: the file's path, or `WEIR_CONFIG_TEXT`.
    pub name: String,
    /// The flag that stands for it.
    pub flag: &'static str,
    pub text: Result<String, ConfigError>,
}

impl Flags<'_> {
    /// The settings' text, if there is one: of the file, or as it was given. A flag stands before the variable of the
    /// other, too: in a container that has its settings from a variable, a file can be named.
    pub fn settings(&mut self, file: Option<&String>, text: Option<&String>) -> Option<Settings> {
        let find = |name, value: Option<&String>, other: Option<&String>| match (value, other) {
            (None, Some(_)) => None,
            _ => self.find(name, value),
        };
        let path = find("--config", file, text);
        let given = find("--config-text", text, file);
        if let (Some(path), Some(given)) = (&path, &given) {
            // The text may be long, and not for every eye.
            let what = format!("holds settings, and so does {}: keep one of the two", path.origin);
            self.problems.push(Problem::new(&given.origin, what));
        }
        if let Some(path) = path {
            return Some(Settings {
                text: config::text_of(Path::new(&path.text)),
                name: path.text,
                flag: "--config",
            });
        }
        given.map(|given| Settings {
            name: match text {
                Some(_) => "--config-text".to_owned(),
                None => "WEIR_CONFIG_TEXT".to_owned(),
            },
            flag: "--config-text",
            text: Ok(given.text),
        })
    }
}

impl Settings {
    /// What `read` makes of the text; a problem with the name of the settings.
    pub fn read<T>(
        self,
        read: impl FnOnce(&str) -> Result<T, ConfigError>,
    ) -> Result<T, (String, ConfigError)> {
        let name = self.name;
        self.text
            .and_then(|text| read(&text))
            .map_err(|error| (name, error))
    }
}

/// Where the settings come from, of a command that reads nothing but the state tables.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingsArgs {
    /// The settings, in YAML: the file that `weir run` has [env: WEIR_CONFIG]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, global = true)]
    config: Option<String>,
    /// The settings themselves, instead of a file [env: WEIR_CONFIG_TEXT]
    #[arg(long, value_name = "YAML", global = true)]
    config_text: Option<String>,
    /// Names the state tables: NAME and NAME-fleet [env: WEIR_APPLICATION] [default: weir]
    #[arg(long, value_name = "NAME", global = true)]
    application: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

impl SettingsArgs {
    /// The settings and the order, or every problem with them at once, and whether to answer in JSON. Without
    /// a file there are no pipelines.
    pub fn read<O>(
        &self,
        vars: Vars<'_>,
        order: impl FnOnce(&mut Flags<'_>) -> Option<O>,
    ) -> Result<(Config, O, bool), WrongUse> {
        let mut flags = Flags::new(vars);
        let application = flags.read("--application", self.application.as_ref(), check::application);
        let overrides = Overrides {
            application: application.clone(),
            ..Overrides::default()
        };
        let settings = flags.settings(self.config.as_ref(), self.config_text.as_ref());
        let (config, file) = match settings {
            Some(settings) => match settings.read(|text| Config::from_yaml(text, vars, overrides)) {
                Ok(config) => (Some(config), None),
                Err(wrong) => (None, Some(wrong)),
            },
            None => {
                let config = Config::of(Vec::new());
                let application = application.unwrap_or_else(|| config.application.clone());
                (
                    Some(Config {
                        application,
                        ..config
                    }),
                    None,
                )
            }
        };
        let order = order(&mut flags);
        let (config, order) = flags.finish(config.zip(order), file)?;
        Ok((config, order, self.json))
    }
}
