//! The template of ECS.
