//! Each command line of Weir's, in the pages and in the help, is one that the program takes.

use clap::error::ErrorKind;
use weir::cli;

use crate::page::pages;

/// Why the program would not take these words, if so. `partly`: they need not be all.
pub fn refusal(words: &[String], partly: bool) -> Option<String> {
    let error = cli::command().try_get_matches_from(words).err()?;
    let taken = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::InvalidValue => partly && error.to_string().contains("a value is required"),
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => partly,
        _ => false,
    };
    (!taken).then(|| error.to_string())
}

/// The command lines in a text of a shell: words between pipes and the like, without comments and redirections.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    joined.lines().flat_map(in_line).collect()
}

fn in_line(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&') => {
                commands.last_mut().unwrap().extend(word.take());
                commands.push(Vec::new());
            }
            (None, '>') => {
                // What follows is a file, not an argument.
                commands.last_mut().unwrap().extend(word.take());
                commands.push(vec![">".to_owned()]);
            }
            (None, c) if c.is_whitespace() => commands.last_mut().unwrap().extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    commands.last_mut().unwrap().extend(word);
    for words in &mut commands {
        let is_before =
            |word: &String| word == "$" || word.split_once('=').is_some_and(|(name, _)| is_variable(name));
        let before = words.iter().take_while(|word| is_before(word)).count();
        words.drain(..before);
    }
    commands.retain(|words| words.first().is_some_and(|first| first == "weir"));
    commands
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
}

#[test]
fn every_command_line_in_the_pages_is_taken() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for fence in page.fences() {
            if ["yaml", "json"].iter().any(|other| fence.info.starts_with(other)) {
                continue;
            }
            // A usage shows every form of a command at once.
            let lines: Vec<&str> = fence
                .text
                .lines()
                .filter(|line| !line.starts_with("Usage: "))
                .collect();
            for words in commands(&lines.join("\n")) {
                seen += 1;
                if let Some(why) = refusal(&words, false) {
                    wrong.push(format!("{}, line {}: {words:?}: {why}", page.path, fence.line));
                }
            }
        }
        for span in page.spans() {
            for words in commands(&span) {
                let is_pattern = words.iter().any(|word| word.contains('…') || word == "COMMAND");
                seen += 1;
                if let (false, Some(why)) = (is_pattern, refusal(&words, true)) {
                    wrong.push(format!("{}: {span}: {why}", page.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_line_of_a_shell_is_taken_apart() {
    let words = |line: &str| -> Vec<String> { commands(line).iter().map(|words| words.join("_")).collect() };
    assert_eq!(words("$ echo x | weir decode"), ["weir_decode"]);
    assert_eq!(
        words("A_B=c weir run --table 'a b' # weir no"),
        ["weir_run_--table_a b"]
    );
    assert_eq!(
        words("weir schema > weir.schema.json && weir health"),
        ["weir_schema", "weir_health"]
    );
    assert_eq!(words("weir \\\n  health"), ["weir_health"]);
    assert_eq!(words("weirder x"), [""; 0]);
    assert!(refusal(&["weir".into(), "run".into(), "--tabel".into(), "x".into()], true).is_some());
    assert!(refusal(&["weir".into(), "leases".into(), "show".into()], false).is_some());
    assert!(refusal(&["weir".into(), "leases".into(), "show".into()], true).is_none());
}
