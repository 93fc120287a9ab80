//! The section `state`.

use super::{aws, tags};
use crate::config::reader::Section;
use crate::config::{FLEET_SUFFIX, Missing, NewTables, StateConfig, check};

/// The state tables. A key that is wrong counts as not set: its problem is told.
pub fn state(state: &mut Section<'_>, application: Option<&str>) -> StateConfig {
    let lease_table = state.text("lease_table", check::table_name);
    let fleet_table = state.text("fleet_table", check::table_name);
    let create = state.scalar("create", check::boolean).unwrap_or(true);
    let on_new_tables: Vec<&str> = ["kms_key", "tags", "point_in_time_recovery", "deletion_protection"]
        .into_iter()
        .filter(|key| state.has(key))
        .collect();
    let new = NewTables {
        kms_key: state.text("kms_key", check::kms_key),
        tags: state.section("tags", |section| tags(section, "a table")),
        point_in_time_recovery: state
            .scalar("point_in_time_recovery", check::boolean)
            .unwrap_or(false),
        deletion_protection: state
            .scalar("deletion_protection", check::boolean)
            .unwrap_or(false),
    };
    if !create {
        for key in on_new_tables {
            state.problem(
                key,
                "is set on tables that Weir creates, and `create` is false: remove one of the two",
            );
        }
    }
    let one_table = match (&lease_table, &fleet_table) {
        (Some(leases), Some(fleet)) => leases == fleet,
        (Some(leases), None) => application.is_some_and(|a| *leases == format!("{a}{FLEET_SUFFIX}")),
        (None, Some(fleet)) => application == Some(fleet),
        (None, None) => false,
    };
    if one_table {
        let key = if fleet_table.is_some() {
            "fleet_table"
        } else {
            "lease_table"
        };
        let name = fleet_table.clone().or(lease_table.clone()).unwrap_or_default();
        state.problem_with(
            key,
            name,
            "is the name of both state tables, and their rows can't be in one: choose another",
        );
    }
    StateConfig {
        aws: aws(state),
        lease_table,
        fleet_table,
        missing: match create {
            true => Missing::Create(new),
            false => Missing::Refuse,
        },
    }
}
