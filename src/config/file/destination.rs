//! The section `destination` of a pipeline.

use super::{aws, tags};
use crate::config::reader::Section;
use crate::config::{DestinationConfig, check};
use crate::logs::template::Field;

/// What a log group is to be like.
const OF_GROUPS: [&str; 4] = ["retention_days", "kms_key", "tags", "class"];

/// Those of the keys that are there.
fn of_groups(destination: &Section<'_>) -> Vec<&'static str> {
    OF_GROUPS.into_iter().filter(|key| destination.has(key)).collect()
}

/// `None` only after a problem was reported.
pub fn destination(destination: &mut Section<'_>) -> Option<DestinationConfig> {
    if !destination.has("group") {
        destination.problem(
            "group",
            "is missing: name the log group, as in `group: /cdc/orders`",
        );
    }
    let group = destination.text("group", check::group);
    let stream = destination.text("stream", check::stream);
    let create = destination.scalar("create", check::boolean);
    let of_groups = of_groups(destination);
    let retention_days = destination.scalar("retention_days", check::retention_days);
    let kms_key = destination.text("kms_key", check::log_key);
    let tags = destination.section("tags", |section| tags(section, "a log group"));
    let class = destination.text("class", check::log_class);
    let reconcile = destination.scalar("reconcile", check::boolean);
    let oversize = destination.text("oversize", check::oversize);
    let too_old = destination.text("too_old", check::untimely);
    let too_new = destination.text("too_new", check::untimely);
    let look_up = destination.scalar("look_up", check::boolean);
    let allow_groups = destination.texts("allow_groups", check::group_pattern);
    let aws = aws(destination);

    let with_defaults = DestinationConfig::of(group?);
    let create = create.unwrap_or(with_defaults.create);
    let reconcile = reconcile.unwrap_or(with_defaults.reconcile);
    if !create && !reconcile {
        for key in &of_groups {
            destination.problem(
                key,
                "is set on groups that Weir creates, and `create` is false: set `reconcile` to true, which sets it on \
                 groups that exist, or remove it",
            );
        }
    }
    if reconcile && of_groups.is_empty() {
        destination.problem_with(
            "reconcile",
            "true",
            format!(
                "sets what a log group is to be like, and nothing is said of that: add one of {}, or remove it",
                OF_GROUPS.join(", ")
            ),
        );
    }
    let stream = stream.unwrap_or(with_defaults.stream.clone());
    if !create && stream.fields().any(|field| field == Field::ShardId) {
        destination.problem_with(
            "create",
            "false",
            format!(
                "needs a log stream that exists, and `{}` is another for each shard: set `stream` to a fixed name, or \
                 `create` to true",
                stream.as_str()
            ),
        );
    }
    Some(DestinationConfig {
        stream,
        create,
        retention_days,
        allow_groups: allow_groups?,
        kms_key,
        tags,
        class,
        reconcile,
        oversize: oversize.unwrap_or(with_defaults.oversize),
        too_old: too_old.unwrap_or(with_defaults.too_old),
        too_new: too_new.unwrap_or(with_defaults.too_new),
        look_up: look_up.unwrap_or(with_defaults.look_up),
        aws,
        ..with_defaults
    })
}
