//! What the logs of a fleet tell: who read which shard from when to when.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A point of a shard's story, in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A worker began to read it.
    Read(i64),
    /// A worker reads it no more.
    Left(i64),
}

/// Of each lease, in the order of time.
pub type Story = BTreeMap<String, Vec<Mark>>;

fn millis(line: &Value) -> Option<i64> {
    let time: jiff::Timestamp = line["timestamp"].as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// The logs `worker-*.log` in a directory, put together. What a killed worker read, nobody left.
pub fn story(dir: &Path) -> Story {
    let mut marks: Vec<(i64, String, Mark)> = Vec::new();
    let logs = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("worker-") && name.ends_with(".log")
    };
    for log in logs.filter(is_log) {
        for line in fs::read_to_string(&log).unwrap().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let (Some(lease), Some(at)) = (line["lease"].as_str(), millis(&line)) else {
                continue;
            };
            match line["message"].as_str() {
                Some("reading the shard") => marks.push((at, lease.to_owned(), Mark::Read(at))),
                Some("stopped reading the shard") => marks.push((at, lease.to_owned(), Mark::Left(at))),
                _ => {}
            }
        }
    }
    marks.sort_by_key(|(at, _, _)| *at);
    let mut story = Story::new();
    for (_, lease, mark) in marks {
        story.entry(lease).or_default().push(mark);
    }
    story
}

/// How long each lease was unread, at the longest, after `since`: from a `Left` to the next `Read`.
pub fn longest_unread(story: &Story, since: i64) -> i64 {
    let gaps = story.values().flat_map(|marks| {
        marks.windows(2).filter_map(move |pair| match pair {
            [Mark::Left(left), Mark::Read(read)] if *left >= since => Some(read - left),
            _ => None,
        })
    });
    gaps.max().unwrap_or(0)
}

/// When the last of these leases was first read at or after `since`; `None` while one is not.
pub fn all_read(story: &Story, leases: &[String], since: i64) -> Option<i64> {
    let first = |lease: &String| {
        story.get(lease)?.iter().find_map(|mark| match mark {
            Mark::Read(at) if *at >= since => Some(*at),
            _ => None,
        })
    };
    leases
        .iter()
        .map(first)
        .collect::<Option<Vec<i64>>>()?
        .into_iter()
        .max()
}

/// How often leases began to be read after `since`.
pub fn reads(story: &Story, since: i64) -> usize {
    let is_read = |mark: &&Mark| matches!(mark, Mark::Read(at) if *at >= since);
    story.values().flatten().filter(is_read).count()
}
