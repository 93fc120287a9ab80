//! Audit lines of MySQL and MariaDB. Pure.
