//! What a log group is to be like.
//!
//! Pure. Owns the comparison of a group's settings with those that are wished.

use std::collections::BTreeMap;

use crate::config::{DestinationConfig, LogClass};

/// What a log group is to be like, as far as it is wished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSettings {
    pub retention_days: Option<u16>,
    /// The ARN of a key in KMS.
    pub kms_key: Option<String>,
    /// Others may stand beside them.
    pub tags: BTreeMap<String, String>,
    pub class: Option<LogClass>,
}

impl GroupSettings {
    /// What the settings of a destination wish of its groups.
    pub fn of(destination: &DestinationConfig) -> Self {
        Self {
            retention_days: destination.retention_days,
            kms_key: destination.kms_key.clone(),
            tags: destination.tags.clone(),
            class: destination.class,
        }
    }

    /// What is wished of the group of the dead letters. They must be read back to be sent again, and from groups of
    /// the class INFREQUENT_ACCESS no events are given (CloudWatch Logs user guide, "Log classes").
    pub fn of_letters(&self) -> Self {
        Self {
            class: None,
            ..self.clone()
        }
    }
}

/// What a log group is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFound {
    /// As tags take it.
    pub arn: String,
    /// `None`: events are kept for ever.
    pub retention_days: Option<u16>,
    pub kms_key: Option<String>,
    /// `None`: one that Weir doesn't know.
    pub class: Option<LogClass>,
}

/// What is to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub retention_days: Option<u16>,
    pub kms_key: Option<String>,
    /// Those that are missing or different.
    pub tags: BTreeMap<String, String>,
    /// It has another class for good.
    pub wrong_class: bool,
}

/// What makes a group that is as `found` as it is `wished`.
pub fn changes(wished: &GroupSettings, found: &GroupFound, tags: &BTreeMap<String, String>) -> Changes {
    let differs = |(name, value): &(&String, &String)| tags.get(*name) != Some(*value);
    let different = wished.tags.iter().filter(differs);
    Changes {
        retention_days: wished
            .retention_days
            .filter(|days| found.retention_days != Some(*days)),
        kms_key: wished
            .kms_key
            .clone()
            .filter(|key| found.kms_key.as_ref() != Some(key)),
        tags: different
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        wrong_class: wished.class.is_some() && wished.class != found.class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    }

    #[test]
    fn what_differs_is_changed_and_what_is_not_wished_stays() {
        let found = GroupFound {
            arn: "arn".into(),
            retention_days: Some(30),
            kms_key: Some("k1".into()),
            class: Some(LogClass::Standard),
        };
        let there = tags(&[("team", "a"), ("theirs", "x")]);
        let wished = GroupSettings {
            retention_days: Some(30),
            kms_key: Some("k1".into()),
            tags: tags(&[("team", "a")]),
            class: Some(LogClass::Standard),
        };
        let none = Changes::default();
        assert_eq!(changes(&wished, &found, &there), none);
        assert_eq!(changes(&GroupSettings::default(), &found, &there), none);
        let other = GroupSettings {
            retention_days: Some(7),
            kms_key: Some("k2".into()),
            tags: tags(&[("team", "b"), ("new", ""), ("theirs", "x")]),
            class: Some(LogClass::InfrequentAccess),
        };
        let all = Changes {
            retention_days: Some(7),
            kms_key: Some("k2".into()),
            tags: tags(&[("team", "b"), ("new", "")]),
            wrong_class: true,
        };
        assert_eq!(changes(&other, &found, &there), all);
        let bare = GroupFound::default();
        let everything = changes(&wished, &bare, &BTreeMap::new());
        assert_eq!(
            (
                everything.retention_days,
                everything.kms_key,
                everything.tags.len()
            ),
            (Some(30), Some("k1".to_owned()), 1)
        );
    }
}
