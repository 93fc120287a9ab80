//! The pages, and what of Markdown the tests need.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// A page of Markdown.
pub struct Page {
    /// Below the root.
    pub path: String,
    pub text: String,
}

/// A block of code.
pub struct Fence {
    /// What stands behind the backticks.
    pub info: String,
    pub text: String,
    pub line: usize,
}

/// README and its like, and all of docs.
pub fn pages() -> Vec<Page> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|e| e == "md") => found.push(path),
                false => {}
            }
        }
    }
    let above = ["README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY"];
    let mut paths: Vec<PathBuf> = above
        .iter()
        .map(|name| root().join(format!("{name}.md")))
        .collect();
    walk(&root().join("docs"), &mut paths);
    paths.sort();
    assert!(paths.len() > 8, "the pages are where they were");
    let page = |path: PathBuf| Page {
        path: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(page).collect()
}

impl Page {
    /// Its lines, each with whether it stands in a block of code (the fences do).
    pub fn lines(&self) -> Vec<(&str, bool)> {
        let mut inside = false;
        let lines = self.text.lines().map(|line| {
            let is_fence = line.trim_start().starts_with("```");
            let was = inside;
            inside ^= is_fence;
            (line, was || is_fence)
        });
        lines.collect()
    }

    pub fn fences(&self) -> Vec<Fence> {
        let mut found: Vec<Fence> = Vec::new();
        let mut inside = false;
        for (number, line) in self.text.lines().enumerate() {
            match line.trim_start().strip_prefix("```") {
                Some(info) if !inside => {
                    inside = true;
                    found.push(Fence {
                        info: info.to_owned(),
                        text: String::new(),
                        line: number + 1,
                    });
                }
                Some(_) => inside = false,
                None if inside => {
                    let fence = found.last_mut().unwrap();
                    fence.text.push_str(line);
                    fence.text.push('\n');
                }
                None => {}
            }
        }
        assert!(!inside, "{}: a block of code is never closed", self.path);
        found
    }

    /// The prose, without its blocks of code.
    pub fn prose(&self) -> String {
        let lines = self.lines().into_iter();
        let prose: Vec<&str> = lines.filter(|(_, code)| !code).map(|(line, _)| line).collect();
        prose.join("\n")
    }

    /// The pieces of code in the prose.
    pub fn spans(&self) -> Vec<String> {
        let prose = self.prose();
        let mut rest = prose.as_str();
        let mut spans = Vec::new();
        while let Some(at) = rest.find('`') {
            let ticks = rest[at..].len() - rest[at..].trim_start_matches('`').len();
            let marks = "`".repeat(ticks);
            let inside = &rest[at + ticks..];
            let Some(end) = inside.find(&marks) else {
                break;
            };
            spans.push(inside[..end].split_whitespace().collect::<Vec<_>>().join(" "));
            rest = &inside[end + ticks..];
        }
        spans
    }

    /// The targets of its links.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let mut links = Vec::new();
        for (at, _) in prose.match_indices("](") {
            let target = &prose[at + 2..];
            if let Some(end) = target.find(')') {
                links.push(target[..end].to_owned());
            }
        }
        links
    }

    /// The anchors that GitHub makes of its headings.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (line, code) in self.lines() {
            let heading = line.trim_start_matches('#');
            if code || heading.len() == line.len() || !heading.starts_with(' ') {
                continue;
            }
            let mut anchor = String::new();
            for c in heading.trim().to_lowercase().chars() {
                match c {
                    ' ' => anchor.push('-'),
                    '-' | '_' => anchor.push(c),
                    c if c.is_alphanumeric() => anchor.push(c),
                    _ => {}
                }
            }
            let again = anchors.iter().filter(|known| **known == anchor).count();
            match again {
                0 => anchors.push(anchor),
                again => anchors.push(format!("{anchor}-{again}")),
            }
        }
        anchors
    }
}
