//! `docs/commands.md` is the help of every command; and what each help has.

use clap::Command;
use weir::cli;

use crate::is_generated;
use crate::shell::{commands, refusal};

/// Every command with the words that call it, those with subcommands too.
fn all() -> Vec<(Vec<String>, Command)> {
    fn below(words: &[String], command: &Command, found: &mut Vec<(Vec<String>, Command)>) {
        found.push((words.to_vec(), command.clone()));
        for one in command.get_subcommands() {
            let words = [words, &[one.get_name().to_owned()]].concat();
            below(&words, one, found);
        }
    }
    let mut command = cli::command().term_width(100);
    command.build();
    let mut found = Vec::new();
    below(&["weir".to_owned()], &command, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    found
}

fn help(command: &mut Command) -> String {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

#[test]
fn the_page_of_the_commands_is_their_help() {
    let mut page = "# Commands\n\n\
        What `--help` tells, of each. This page is generated: a test keeps it equal.\n\n\
        A command that is for a pipeline takes the settings of `weir run`, as a file (`-c weir.yaml`, and \
        `--pipeline NAME`\nfor one of several) or as the flags of `weir run`. `--json` is for scripts.\n"
        .to_owned();
    for (words, mut command) in all() {
        let name = words.join(" ");
        let mut help = help(&mut command);
        // The flags of `run` are told once.
        if let Some(at) = help.find("\n\nAs for `weir run`:\n") {
            let after = ["\n\nExamples:\n", "\n\nExit codes:"];
            let rest = after.iter().filter_map(|after| help[at..].find(after)).min();
            let rest = rest.map(|rest| help[at + rest..].to_owned()).unwrap_or_default();
            help = format!(
                "{}\n\nAs for `weir run`: -c FILE, or its flags{rest}",
                &help[..at]
            );
        }
        let level = "#".repeat(words.len().max(2));
        page.push_str(&format!("\n{level} {name}\n\n```text\n{help}\n```\n"));
    }
    is_generated("docs/commands.md", &page);
}

#[test]
fn every_help_teaches_by_examples_that_are_taken() {
    let mut wrong = Vec::new();
    for (words, mut command) in all() {
        if words.len() == 1 {
            continue;
        }
        let help = help(&mut command);
        let examples = help.split_once("\nExamples:\n").map(|(_, examples)| examples);
        let Some(examples) = examples else {
            wrong.push(format!("{words:?} has no examples"));
            continue;
        };
        let found = commands(examples);
        let own = found.iter().filter(|example| example.starts_with(&words)).count();
        if own == 0 {
            wrong.push(format!("{words:?} has no example of its own"));
        }
        for example in found {
            if let Some(why) = refusal(&example, false) {
                wrong.push(format!("{words:?}: {example:?}: {why}"));
            }
        }
        if !help.contains("\nExit codes: 0 ") {
            wrong.push(format!("{words:?} tells no exit codes"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_command_stands_in_one_group_of_the_help() {
    let (_, mut weir) = all().remove(0);
    let shown = help(&mut weir);
    let (groups, _) = shown.split_once("\nOptions:\n").unwrap();
    for command in weir.get_subcommands() {
        let lines = groups.lines().filter(|line| {
            let mut words = line.strip_prefix("  ").unwrap_or_default().split(' ');
            words.next() == Some(command.get_name())
        });
        assert_eq!(lines.count(), 1, "{}:\n{shown}", command.get_name());
    }
}

/// Which need nothing of a pipeline's, and which answer in JSON always or have no data to tell.
#[test]
fn a_command_takes_the_settings_and_answers_in_json() {
    for command in cli::command().get_subcommands() {
        let has = |name: &str| {
            let own = command.get_arguments();
            let mut all = own.chain(command.get_subcommands().flat_map(Command::get_arguments));
            all.any(|argument| argument.get_long() == Some(name))
        };
        let name = command.get_name();
        let is_of_no_pipeline = ["health", "schema", "completions"].contains(&name);
        assert!(has("config") || is_of_no_pipeline, "{name}");
        let is_no_table = ["run", "decode", "iam-policy", "health", "schema", "completions"].contains(&name);
        assert!(has("json") || is_no_table, "{name}");
    }
}

#[test]
fn the_completions_of_bash_are_a_script_and_know_every_command() {
    let weir = |shell: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success(), "{shell}");
        String::from_utf8(output.stdout).unwrap()
    };
    let script = weir("bash");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &script).unwrap();
    // It is loaded, and asked what follows `weir`.
    let ask = ". \"$1\"; COMP_WORDS=(weir ''); COMP_CWORD=1; _weir weir '' weir; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash")
        .args(["-c", ask, "bash"])
        .arg(file.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let offered: Vec<&str> = told.lines().collect();
    for command in cli::command().get_subcommands() {
        assert!(
            offered.contains(&command.get_name()),
            "{}: {told}",
            command.get_name()
        );
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(weir(shell).contains("dead-letters"), "{shell}");
    }
}
