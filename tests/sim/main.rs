//! The simulation: Weir's own coordinator and consumers on paused time, in a world made of fakes.
//!
//! The world (`world`, `streams`, `source`, `table`, `logs`, `clock`) keeps state and has seeded faults
//! (`faults`). `process` starts and kills workers as a cluster would. `model` holds the design's promises
//! as invariants, checked while things happen and once more at the end. `scenario` draws a story from a
//! seed and `seeded` tells 200 of them, `directed`, `shards` and `lookup` tell chosen ones, `promises` asks for each
//! promise by its name, `fleet` tells stories of many workers and shards that must settle (`balance`), `paces`
//! and `cost` measure how long a fleet takes and what it asks of the tables, `kcl` and `pipelines` have the
//! tables that KCL made and the pipelines that come and go, `job` those that end by themselves, `status` what a worker
//! tells of the fleet and what that costs, `told` asks what the shards say of themselves, `teeth` shows that the model
//! catches readers that sin, `fakes` tests the fakes.
//!
//! Nothing here reads a real clock or a global random number: a seed gives the same trace, byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on must stop loudly"
)]

mod balance;
mod clock;
mod cost;
mod directed;
mod fakes;
mod faults;
mod fleet;
mod job;
mod kcl;
mod kinesis;
mod logs;
mod lookup;
mod model;
mod ownership;
mod paces;
mod pipelines;
mod process;
mod promises;
mod reader;
mod regressions;
mod scenario;
mod seeded;
mod seeds;
mod shards;
mod source;
mod status;
mod streams;
mod subject;
mod table;
mod teeth;
mod told;
mod world;
