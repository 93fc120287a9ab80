//! The image: its Dockerfile against the program and the manifest. That it builds and works is shown by scripts/image.

use std::process::Command;

use crate::tools::{printed, repository, text, tool};

/// The instructions of the Dockerfile, each in one line, with its words in capitals first.
fn instructions() -> Vec<(String, String)> {
    let text = text("Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = joined.lines().map(words).filter(|line| !line.is_empty());
    let split = found.map(|line| {
        let (name, rest) = line.split_once(' ').unwrap();
        (name.to_owned(), rest.to_owned())
    });
    split.collect()
}

/// What an instruction says that stands in the Dockerfile once.
fn one(name: &str) -> String {
    let found: Vec<String> = instructions()
        .into_iter()
        .filter_map(|(found, rest)| (found == name).then_some(rest))
        .collect();
    match &found[..] {
        [rest] => rest.clone(),
        _ => panic!("{name}: {found:?}"),
    }
}

/// The words of a command that needs no shell.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_else(|e| panic!("{list} needs a shell: {e}"))
}

/// The paths of the repository that are copied into a build.
fn copied() -> Vec<String> {
    let copies = instructions().into_iter().filter(|(name, _)| name == "COPY");
    let own = copies.filter(|(_, rest)| !rest.starts_with("--from="));
    own.flat_map(|(_, rest)| {
        let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        words.pop();
        words
    })
    .collect()
}

#[test]
fn the_dockerfile_passes_its_linter() {
    printed(tool("hadolint").args(["--failure-threshold", "style", "Dockerfile"]));
    let text = text("Dockerfile");
    assert!(!text.contains("hadolint ignore"), "a rule is left out");
}

#[test]
fn the_builder_has_the_rust_that_the_manifest_asks_for() {
    let numbers = |version: &str| -> Vec<u32> { version.split('.').map(|n| n.parse().unwrap()).collect() };
    let (_, base) = &instructions()[0];
    let tag = base
        .split_once("library/rust:")
        .and_then(|(_, tag)| tag.split('-').next())
        .unwrap();
    let asked = numbers(env!("CARGO_PKG_RUST_VERSION"));
    // A tag without a patch is the last patch there is.
    let mut has = numbers(tag);
    has.resize(3, u32::MAX);
    assert!(has >= asked, "{base} is older than {asked:?}");
}

/// A binary asks for the glibc that it was linked with, or a newer one.
#[test]
fn builder_and_base_are_of_the_same_debian() {
    let bases: Vec<String> = instructions()
        .into_iter()
        .filter_map(|(name, rest)| (name == "FROM").then_some(rest))
        .collect();
    let [builder, base] = &bases[..] else {
        panic!("{bases:?}")
    };
    let releases = [("bookworm", "debian12"), ("trixie", "debian13")];
    let same = |(name, number): (&str, &str)| builder.contains(name) && base.contains(number);
    assert!(releases.into_iter().any(same), "{bases:?}");
}

#[test]
fn the_image_builds_a_profile_that_there_is_from_the_lock_file_alone() {
    let arguments = instructions().into_iter().find_map(|(name, rest)| {
        rest.strip_prefix("PROFILE=")
            .filter(|_| name == "ARG")
            .map(str::to_owned)
    });
    let profile = arguments.expect("ARG PROFILE");
    assert!(
        text("Cargo.toml").contains(&format!("[profile.{profile}]")),
        "{profile}"
    );
    let all = instructions();
    let builds: Vec<usize> = (0..all.len())
        .filter(|&at| all[at].1.contains("cargo build"))
        .collect();
    for &at in &builds {
        let (_, build) = &all[at];
        assert!(
            build.contains(r#"cargo build --locked --profile "$PROFILE" --bin weir"#),
            "{build}"
        );
    }
    // The dependencies, then the program. What changes the environment in between has dependencies built once more.
    let [dependencies, program] = builds[..] else {
        panic!("{builds:?}")
    };
    for (name, rest) in &all[dependencies + 1..program] {
        assert_eq!(name, "COPY", "{name} {rest}");
    }
}

#[test]
fn the_image_runs_the_program_without_a_shell_and_without_root() {
    // Kubernetes' runAsNonRoot can judge a number only.
    let user = one("USER");
    let (user, group) = user.split_once(':').expect("a user and a group");
    for id in [user, group] {
        assert_ne!(id.parse::<u32>().unwrap_or_else(|e| panic!("{id}: {e}")), 0);
    }
    assert_eq!(one("STOPSIGNAL"), "SIGTERM");
    let port: u16 = one("EXPOSE").parse().unwrap();
    assert_eq!(
        port,
        weir::config::HTTP_ADDRESS.port(),
        "where the program listens"
    );

    let entry = words(&one("ENTRYPOINT"));
    let check = one("HEALTHCHECK");
    let (_, check) = check.split_once("CMD ").unwrap();
    let check = words(check);
    assert_eq!(
        check[..1],
        entry[..],
        "the program that asks is the one that answers"
    );
    let placed = format!("COPY --from=build /out/weir {}", entry[0]);
    assert!(text("Dockerfile").contains(&placed), "{placed}");
    // The program knows what it is started with.
    for arguments in [words(&one("CMD")), check[1..].to_vec()] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let help = printed(command.args(&arguments).arg("--help"));
        assert!(
            help.contains(&format!("Usage: weir {}", arguments.join(" "))),
            "{help}"
        );
    }
}

#[test]
fn the_labels_say_what_the_manifest_says() {
    let labels: Vec<String> = instructions()
        .into_iter()
        .filter_map(|(name, rest)| (name == "LABEL").then_some(rest))
        .collect();
    let labels = labels.join(" ");
    let (_, base) = instructions()
        .into_iter()
        .rfind(|(name, _)| name == "FROM")
        .unwrap();
    for (key, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("base.name", &base),
        ("revision", "$REVISION"),
        ("created", "$CREATED"),
    ] {
        let label = format!("org.opencontainers.image.{key}=\"{value}\"");
        assert!(labels.contains(&label), "{label} is not among {labels}");
    }
}

#[test]
fn a_build_is_given_what_it_copies_and_nothing_else() {
    let ignored = text(".dockerignore");
    let mut rules = ignored
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), "what isn't named stays out");
    let mut given: Vec<String> = rules
        .map(|rule| {
            rule.strip_prefix('!')
                .unwrap_or_else(|| panic!("{rule}"))
                .to_owned()
        })
        .collect();
    let mut copied = copied();
    for path in &copied {
        assert!(repository(path).exists(), "{path} doesn't exist");
    }
    given.sort();
    copied.sort();
    assert_eq!(
        given, copied,
        ".dockerignore on the left, the Dockerfile on the right"
    );
}
