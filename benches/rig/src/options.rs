//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

pub const HELP: &str = "\
rig fake [OPTIONS]      an AWS of canned records; prints its address as JSON, and lives until it is killed;
                        GET /stats tells what it saw, /stats?latencies also how late
  --kind change|plain|audit|kpl   what the records are [change]: a table's changes, JSON on Kinesis, CloudWatch Logs
                                  subscription envelopes of audit lines (gzip), or aggregates of the KPL
  --shards N                      [1]
  --size BYTES                    of one record [1024]: of a change its keys and images, of the KPL one user record;
                                  an envelope has as many lines as it has
  --lines N                       of an envelope [80]
  --aggregate N                   user records of an aggregate [50]
  --records N                     in all, divided over the shards; afterwards the stream stays quiet [100000]
  --rate R                        so many records come into being in each shard a second, with the time they do; without
                                  it all are there from the start
  --warm MS                       what came into being or was given so soon after the start doesn't count as late [0]
  --answer-delay MS               before every answer of GetRecords and PutLogEvents [0]
  --threads N                     [2]

rig floor --fake ADDRESS --kind KIND --shards N [OPTIONS]      receives and sends, prints what it took, ends
  --ratio R                       bytes sent for a byte received [1.2]
  --put BYTES                     the size of the bodies it sends [1200000]
  --inflate                       takes the records out of the answer and inflates them";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Change,
    Plain,
    Audit,
    Kpl,
}

impl Kind {
    pub fn is_kinesis(self) -> bool {
        self != Self::Change
    }
}

#[derive(Clone, Debug)]
pub struct Fake {
    pub kind: Kind,
    pub shards: usize,
    pub size: usize,
    pub lines: usize,
    pub aggregate: usize,
    pub records: u64,
    pub rate: Option<f64>,
    pub warm: Duration,
    pub delay: Duration,
    pub threads: usize,
}

impl Fake {
    /// Events of the log that one record becomes.
    pub fn events(&self) -> usize {
        match self.kind {
            Kind::Change | Kind::Plain => 1,
            Kind::Audit => self.lines,
            Kind::Kpl => self.aggregate,
        }
    }

    /// The records of each shard; the same number for all.
    pub fn of_shard(&self) -> u64 {
        self.records.div_ceil(self.shards as u64)
    }
}

#[derive(Clone, Debug)]
pub struct Floor {
    pub fake: SocketAddr,
    pub kind: Kind,
    pub shards: usize,
    pub ratio: f64,
    pub put: usize,
    pub inflate: bool,
}

pub enum Command {
    Fake(Fake),
    Floor(Floor),
}

pub fn parse(arguments: &[String]) -> Result<Command, String> {
    let (command, rest) = arguments.split_first().ok_or("a command is missing")?;
    let mut fake = Fake {
        kind: Kind::Change,
        shards: 1,
        size: 1024,
        lines: 80,
        aggregate: 50,
        records: 100_000,
        rate: None,
        warm: Duration::ZERO,
        delay: Duration::ZERO,
        threads: 2,
    };
    let (mut address, mut ratio, mut put, mut inflate) = (None, 1.2, 1_200_000, false);
    let mut words = rest.iter();
    while let Some(name) = words.next() {
        if name == "--inflate" {
            inflate = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
            value
                .parse()
                .map_err(|_| format!("{name}: not a number: {value}"))
        }
        match name.as_str() {
            "--kind" => {
                fake.kind = match value.as_str() {
                    "change" => Kind::Change,
                    "plain" => Kind::Plain,
                    "audit" => Kind::Audit,
                    "kpl" => Kind::Kpl,
                    _ => return Err(format!("no such kind: {value}")),
                }
            }
            "--shards" => fake.shards = number(name, value)?,
            "--size" => fake.size = number(name, value)?,
            "--lines" => fake.lines = number(name, value)?,
            "--aggregate" => fake.aggregate = number(name, value)?,
            "--records" => fake.records = number(name, value)?,
            "--rate" => fake.rate = Some(number(name, value)?),
            "--warm" => fake.warm = Duration::from_secs_f64(number::<f64>(name, value)? / 1e3),
            "--answer-delay" => fake.delay = Duration::from_secs_f64(number::<f64>(name, value)? / 1e3),
            "--threads" => fake.threads = number(name, value)?,
            "--fake" => address = Some(number(name, value)?),
            "--ratio" => ratio = number(name, value)?,
            "--put" => put = number(name, value)?,
            _ => return Err(format!("no such option: {name}")),
        }
    }
    if fake.shards == 0 || fake.shards > 9_999 || fake.lines == 0 || fake.aggregate == 0 || fake.threads == 0
    {
        return Err("1 to 9999 shards; at least one line, user record and thread".to_owned());
    }
    if fake.rate.is_some() && fake.kind == Kind::Audit {
        return Err("--rate: the time of an audit line lies inside the gzip, which is canned".to_owned());
    }
    match command.as_str() {
        "fake" => Ok(Command::Fake(fake)),
        "floor" => Ok(Command::Floor(Floor {
            fake: address.ok_or("--fake is missing")?,
            kind: fake.kind,
            shards: fake.shards,
            ratio,
            put,
            inflate,
        })),
        _ => Err(format!("no such command: {command}")),
    }
}
