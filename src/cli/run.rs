//! `weir run`: from flags, variables and the file to the settings.
//!
//! A flag stands before its variable `WEIR_<FLAG>`, and both before the file.

use super::drain::{DrainArgs, DrainGiven};
use super::examples::examples;
use super::flags::{Flags, Given, WrongUse};
use super::otel;
use crate::config::check::{self, StateNames};
use crate::config::problem::Problem;
use crate::config::{
    Config, DeadLetterConfig, DestinationConfig, FanOut, Overrides, PipelineConfig, SourceConfig,
    StreamChoice, Vars,
};
use crate::decode::DecodeSettings;
use crate::shape::Shape;

const AFTER: &str = examples!(
    "run --table orders --log-group /cdc/orders"
    "run --kinesis-stream rds-audit --decode audit --log-group /db/audit"
    "run -c weir.yaml"
    "run -c weir.yaml --until-caught-up";
    "Exit codes: 0 after a complete drain, 1 after a failure, 2 for wrong arguments or settings, 130 or 143 after a second signal."
);

/// Read streams until told to stop
///
/// A table or a Kinesis stream and a log group are enough. Everything can be set in a file; beside it, only
/// --application, --http-address, --log-format, --drain-timeout, --grace-period, --wire and --until-caught-up may be
/// given.
///
/// Each flag can also be given as the environment variable that its help names; the flag stands before the
/// variable, both before the file, and an empty variable counts as not set. WEIR_LOG sets the level of
/// Weir's own log: info (the default), debug, or targets like info,weir=debug.
///
/// A group's or stream's name may hold {application}, {pipeline}, {table}, {stream}, {shard_id}, {region},
/// {account}. Of records that came through a subscription of CloudWatch Logs also {owner}, {log_group},
/// {log_stream}, and, if the logs are those of a database, {cluster} and {instance}. {field:-default} stands for the
/// default where there is no value.
///
/// The flags make one pipeline, named after its table or stream; under another name it begins anew.
///
/// SIGTERM and SIGINT drain: what is in flight is delivered and checkpointed. A second signal ends at once.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct RunArgs {
    #[command(flatten)]
    settings: PipelineArgs,
    /// End, with exit code 0, once everything that the streams hold is delivered: for a job instead of a daemon
    /// [env: WEIR_UNTIL_CAUGHT_UP] [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    until_caught_up: Option<String>,
    /// Where health and metrics are served [env: WEIR_HTTP_ADDRESS] [default: 0.0.0.0:8080]
    #[arg(long, value_name = "IP:PORT")]
    http_address: Option<String>,
    /// auto (text on a terminal, JSON elsewhere), text or json [env: WEIR_LOG_FORMAT] [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    #[command(flatten)]
    drain: DrainArgs,
    /// How records are read and puts written: raw, or sdk, which goes through the types of the AWS SDK at about twice the
    /// CPU [env: WEIR_WIRE] [default: raw]
    #[arg(long, value_name = "WIRE")]
    wire: Option<String>,
}

/// What to read and where to write: in a file, or as one pipeline by flags.
#[derive(Debug, Default, clap::Args)]
pub(super) struct PipelineArgs {
    /// The settings, in YAML [env: WEIR_CONFIG]
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<String>,
    /// The settings themselves, instead of a file, for platforms that have none [env: WEIR_CONFIG_TEXT]
    #[arg(long, value_name = "YAML")]
    config_text: Option<String>,
    /// Names the state tables: NAME and NAME-fleet [env: WEIR_APPLICATION] [default: weir]
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Read this DynamoDB table's stream [env: WEIR_TABLE]
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Read this Kinesis stream, instead of --table [env: WEIR_KINESIS_STREAM]
    #[arg(long, value_name = "NAME")]
    kinesis_stream: Option<String>,
    /// Read this stream of DynamoDB or Kinesis, instead of --table [env: WEIR_STREAM_ARN]
    #[arg(long, value_name = "ARN")]
    stream_arn: Option<String>,
    /// What the records of a Kinesis stream are read as [env: WEIR_DECODE] [default: auto]
    ///
    /// auto          by its looks a subscription, a change, text, else base64
    /// subscription  from a log group, through a subscription filter: its messages unchanged
    /// audit         the audit log of MySQL or MariaDB, in such a subscription or not: JSON
    /// change        the changes of a DynamoDB table, which it sends to Kinesis
    /// json, text    unchanged
    /// base64        bytes, in base64 inside JSON
    ///
    /// gzip is undone.
    #[arg(long, value_name = "HOW", verbatim_doc_comment)]
    decode: Option<String>,
    /// How an event is told [env: WEIR_FORMAT]
    ///
    /// A change of a DynamoDB table:
    ///
    /// lambda  Lambda's event record, or the change as it came through Kinesis (the default)
    /// plain   with ordinary values: new.status, old.status
    /// diff    its keys and what changed: changed.status.old, changed.status.new
    ///
    /// An audit line: json (the default), or raw, as it was written.
    #[arg(long, value_name = "FORMAT", verbatim_doc_comment)]
    format: Option<String>,
    /// Read a Kinesis stream by enhanced fan-out, as the consumer APPLICATION-PIPELINE [env: WEIR_FAN_OUT]
    /// [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    fan_out: Option<String>,
    /// The log group to write to [env: WEIR_LOG_GROUP, else CLOUDWATCH_LOG_GROUP]
    #[arg(long, value_name = "GROUP")]
    log_group: Option<String>,
    /// The log stream to write to
    /// [env: WEIR_LOG_STREAM, else CLOUDWATCH_LOG_STREAM] [default: {shard_id}]
    #[arg(long, value_name = "STREAM")]
    log_stream: Option<String>,
    /// Where --log-group is drawn from the records, the groups that are meant, with commas between and * for any
    /// characters, as in '/db/*/audit' [env: WEIR_ALLOW_GROUPS]
    #[arg(long, value_name = "GROUPS")]
    allow_groups: Option<String>,
    /// Where the first reading starts: trim_horizon, latest, or a time like 2024-11-09T08:12:19Z
    /// [env: WEIR_START] [default: trim_horizon]
    #[arg(long, value_name = "POSITION")]
    start: Option<String>,
}

impl PipelineArgs {
    /// Whether any of the flags is there. What the environment holds is not asked.
    pub fn are_given(&self) -> bool {
        let Self {
            config,
            config_text,
            application,
            table,
            kinesis_stream,
            stream_arn,
            decode,
            format,
            fan_out,
            log_group,
            log_stream,
            allow_groups,
            start,
        } = self;
        let flags = [
            config,
            config_text,
            application,
            table,
            kinesis_stream,
            stream_arn,
            decode,
            format,
            fan_out,
            log_group,
            log_stream,
            allow_groups,
            start,
        ];
        flags.into_iter().any(Option::is_some)
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It is told to.
    Stopped,
    /// Everything that the streams hold is delivered, or it is told to.
    CaughtUp,
}

/// The settings and when to end, or every problem with them at once.
pub(super) fn read(args: &RunArgs, vars: Vars<'_>) -> Result<(Config, Until), WrongUse> {
    let mut flags = Flags::new(vars);
    let mut overrides = Overrides {
        application: application(&mut flags, &args.settings),
        http_address: flags.read("--http-address", args.http_address.as_ref(), check::address),
        log_format: flags.read("--log-format", args.log_format.as_ref(), check::log_format),
        wire: flags.read("--wire", args.wire.as_ref(), check::wire),
        ..Overrides::default()
    };
    let drain = args.drain.read(&mut flags, &mut overrides);
    let given = args.until_caught_up.as_ref();
    let until = match flags.read("--until-caught-up", given, check::boolean) {
        Some(true) => Until::CaughtUp,
        Some(false) | None => Until::Stopped,
    };
    finish(flags, &args.settings, &overrides, &drain, Use::of("run")).map(|config| (config, until))
}

/// Which command the settings are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// As it stands in an example.
    pub command: &'static str,
    /// Without a file it has to be told the log group.
    pub needs_group: bool,
}

impl Use {
    /// One that writes, or tells what is written.
    pub const fn of(command: &'static str) -> Self {
        Self {
            command,
            needs_group: true,
        }
    }
}

/// What stands for the log group of a command that does without.
const NO_GROUP: &str = "none";

/// Whether these settings name a log group.
pub(super) fn names_a_group(args: &PipelineArgs, vars: Vars<'_>) -> bool {
    let flags = Flags::new(vars);
    let has_file = flags.find("--config", args.config.as_ref()).is_some();
    let has_text = flags.find("--config-text", args.config_text.as_ref()).is_some();
    has_file || has_text || log_group(&flags, args).is_some()
}

/// The flag, or the variable of the Lambda function in the article that Weir began with.
fn log_group(flags: &Flags<'_>, args: &PipelineArgs) -> Option<Given> {
    flags
        .find("--log-group", args.log_group.as_ref())
        .or_else(|| flags.find_in("--log-group", "CLOUDWATCH_LOG_GROUP"))
}

/// The settings of a command that is no daemon, or every problem with them at once. `drain`: of one that judges a
/// daemon's.
pub(super) fn settings(
    args: &PipelineArgs,
    drain: Option<&DrainArgs>,
    vars: Vars<'_>,
    of: Use,
) -> Result<Config, WrongUse> {
    let mut flags = Flags::new(vars);
    let mut overrides = Overrides {
        application: application(&mut flags, args),
        ..Overrides::default()
    };
    let drain = drain.map(|drain| drain.read(&mut flags, &mut overrides));
    finish(flags, args, &overrides, &drain.unwrap_or_default(), of)
}

fn application(flags: &mut Flags<'_>, args: &PipelineArgs) -> Option<String> {
    flags.read("--application", args.application.as_ref(), check::application)
}

fn finish(
    mut flags: Flags<'_>,
    args: &PipelineArgs,
    overrides: &Overrides,
    drain: &DrainGiven,
    of: Use,
) -> Result<Config, WrongUse> {
    let vars = flags.vars();
    let settings = flags.settings(args.config.as_ref(), args.config_text.as_ref());
    let name = settings.as_ref().map(|settings| settings.name.clone());
    let (config, file) = match settings {
        Some(settings) => {
            nothing_else_beside(settings.flag, &mut flags, args);
            match settings.read(|text| Config::from_yaml(text, vars, overrides.clone())) {
                Ok(config) => (Some(config), None),
                Err(wrong) => (None, Some(wrong)),
            }
        }
        None => (without_file(&mut flags, args, overrides.clone(), of), None),
    };
    if let Some(config) = &config {
        drain.tell_misfit(&mut flags, config, overrides, name.as_deref());
    }
    let config = config.map(|mut config| {
        otel::apply(&mut flags, &mut config.tracing);
        config
    });
    flags.finish(config, file)
}

fn nothing_else_beside(settings: &str, flags: &mut Flags<'_>, args: &PipelineArgs) {
    let whereto = match settings {
        "--config" => "into the file",
        _ => "into that text",
    };
    for (flag, value, key) in [
        ("--table", &args.table, "source.dynamodb_table"),
        ("--kinesis-stream", &args.kinesis_stream, "source.kinesis_stream"),
        (
            "--stream-arn",
            &args.stream_arn,
            "source.dynamodb_stream_arn` or `source.kinesis_stream_arn",
        ),
        ("--decode", &args.decode, "decode"),
        ("--format", &args.format, "format"),
        ("--fan-out", &args.fan_out, "source.fan_out"),
        ("--log-group", &args.log_group, "destination.group"),
        ("--log-stream", &args.log_stream, "destination.stream"),
        ("--allow-groups", &args.allow_groups, "destination.allow_groups"),
        ("--start", &args.start, "source.start"),
    ] {
        if let Some(Given { text, origin }) = flags.find(flag, value.as_ref()) {
            let what = format!("can't stand beside {settings}: move it {whereto}, to `pipelines.NAME.{key}`");
            flags.problems.push(Problem::with(origin, text, what));
        }
    }
}

/// One pipeline from flags alone. `None` only after a problem was reported.
fn without_file(flags: &mut Flags<'_>, args: &PipelineArgs, overrides: Overrides, of: Use) -> Option<Config> {
    let defaults = Config::of(Vec::new());
    let application = overrides.application.unwrap_or(defaults.application);

    let table = flags.find("--table", args.table.as_ref());
    let kinesis = flags.find("--kinesis-stream", args.kinesis_stream.as_ref());
    let arn = flags.find("--stream-arn", args.stream_arn.as_ref());
    let mut given = [&table, &kinesis, &arn].into_iter().flatten();
    let first = given.next();
    let names_a_stream = first.is_some();
    match first {
        Some(first) => {
            for again in given {
                let what = format!(
                    "names a stream again, beside {}: keep one of the two",
                    first.origin
                );
                flags
                    .problems
                    .push(Problem::with(&again.origin, &again.text, what));
            }
        }
        None => {
            let Use { command, needs_group } = of;
            let (changes, audit) = match needs_group {
                true => (" --log-group /cdc/orders", " --log-group /db/audit"),
                false => ("", ""),
            };
            let what = format!(
                "name a table, a Kinesis stream or a file\n  weir {command} --table orders{changes}\n  \
                 weir {command} --kinesis-stream rds-audit --decode audit{audit}\n  weir {command} --config weir.yaml"
            );
            flags.problems.push(Problem::new("nothing to read", what));
        }
    }
    // A wrong --application is told already; the default that stands in for it is not what was meant.
    let is_application_wrong = flags
        .problems
        .iter()
        .any(|problem| problem.key.starts_with("--application"));
    let state = StateNames {
        application: (!is_application_wrong).then_some(application.as_str()),
        ..StateNames::default()
    };
    let apart = |table: &str| check::apart_from_state(state, table);
    let table = flags.checked(table.as_ref(), |text| {
        let table = check::table_name(text)?;
        apart(&table).map(|()| StreamChoice::Table(table))
    });
    let kinesis = flags.checked(kinesis.as_ref(), |text| {
        check::kinesis_stream(text).map(StreamChoice::Kinesis)
    });
    let arn = flags.checked(arn.as_ref(), |text| {
        let choice = check::any_stream_arn(text)?;
        apart(choice.table().unwrap_or_default()).map(|()| choice)
    });
    let stream_choice = table.or(kinesis).or(arn);

    let decode = flags.find("--decode", args.decode.as_ref());
    let how = flags.checked(decode.as_ref(), |text| {
        let how = check::decode(text)?;
        match &stream_choice {
            Some(stream) => check::decode_fits(how, stream).map(|()| how),
            None => Ok(how),
        }
    });
    let is_decode_wrong = decode.is_some() && how.is_none();
    let by_default = || stream_choice.as_ref().map(StreamChoice::decode);
    let told_of = match is_decode_wrong {
        true => None,
        false => how.or_else(by_default),
    };
    let format = flags.read("--format", args.format.as_ref(), |text| {
        check::format(text, told_of)
    });
    let fan_out_given = flags.find("--fan-out", args.fan_out.as_ref());
    let fan_out = flags.checked(fan_out_given.as_ref(), |text| {
        match (check::boolean(text)?, &stream_choice) {
            (true, Some(stream)) if stream.kinesis_name().is_none() => {
                Err("is for Kinesis streams, and a DynamoDB stream has no consumers: leave it out".to_owned())
            }
            (wished, _) => Ok(wished),
        }
    });

    let group = log_group(flags, args).or_else(|| {
        (!of.needs_group).then(|| Given {
            text: NO_GROUP.to_owned(),
            origin: "--log-group".to_owned(),
        })
    });
    let log_stream = flags
        .find("--log-stream", args.log_stream.as_ref())
        .or_else(|| flags.find_in("--log-stream", "CLOUDWATCH_LOG_STREAM"));
    if group.is_none() && names_a_stream {
        flags.problems.push(Problem::new(
            "--log-group",
            "is missing: name the log group, as in `--log-group /cdc/orders`",
        ));
    }
    let group_template = flags.checked(group.as_ref(), check::group);
    let stream_template = flags.checked(log_stream.as_ref(), check::stream);
    let allow_given = flags.find("--allow-groups", args.allow_groups.as_ref());
    let allowed = flags.checked(allow_given.as_ref(), check::group_patterns);
    let start = flags.read("--start", args.start.as_ref(), check::start);

    let mut source = SourceConfig::of(stream_choice?);
    source.start = start.unwrap_or(source.start);
    source.fan_out = (fan_out == Some(true)).then(FanOut::default);
    let mut destination = DestinationConfig::of(group_template?);
    destination.stream = stream_template.unwrap_or(destination.stream);
    let mut may_ask_for_allowed = allow_given.is_none() || allowed.is_some();
    destination.allow_groups = allowed.unwrap_or_default();
    let decode = DecodeSettings::of(how.unwrap_or_else(|| source.stream.decode()));
    let name = pipeline_name(source.stream.table().or(source.stream.kinesis_name())?);
    for (template, given) in [(&destination.group, &group), (&destination.stream, &log_stream)] {
        // Of a wrong --decode nothing more is said.
        if let (Err(what), Some(given), false) = (
            check::renders(template, &application, &name, &source.stream, decode.how),
            given,
            is_decode_wrong,
        ) {
            flags
                .problems
                .push(Problem::with(&given.origin, &given.text, what));
            may_ask_for_allowed = false;
        }
    }
    if let (Err(what), true) = (
        check::allows(&destination.group, &destination.allow_groups),
        may_ask_for_allowed && !is_decode_wrong,
    ) {
        flags.problems.push(Problem::new("--allow-groups", what));
    }
    if let (Err(what), Some(given)) = (
        check::letters_apart(&DeadLetterConfig::default(), &destination),
        &log_stream,
    ) {
        flags
            .problems
            .push(Problem::with(&given.origin, &given.text, what));
    }
    if let (Err(what), Some(given)) = (check::consumer_fits(&source, &application, &name), &fan_out_given) {
        let what = format!("{what}: shorten --application, or name the consumer in a file");
        flags.problems.push(Problem::new(&given.origin, what));
    }
    Some(Config {
        application,
        http_address: overrides.http_address.unwrap_or(defaults.http_address),
        log_format: overrides.log_format.unwrap_or(defaults.log_format),
        drain_timeout: overrides.drain_timeout.unwrap_or(defaults.drain_timeout),
        grace_period: overrides.grace_period,
        wire: overrides.wire.unwrap_or_default(),
        ..Config::of(vec![PipelineConfig {
            decode,
            shape: Shape {
                format: format.unwrap_or_default(),
                ..Shape::default()
            },
            ..PipelineConfig::of(&name, source, destination)
        }])
    })
}

/// A pipeline named after its table or its Kinesis stream. Their names may be longer than a pipeline's: then the
/// end becomes a hash of the whole, so that two in one lease table never share their lease keys by their beginning.
fn pipeline_name(of: &str) -> String {
    if check::pipeline_name(of).is_ok() {
        return of.to_owned();
    }
    // FNV-1a, 32 bits: the same in every version of Weir, unlike the standard library's hash.
    let hash = of.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let start: String = of.chars().take(55).collect();
    format!("{start}-{hash:08x}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;
    use crate::config::{LogFormat, Start, Wire};
    use crate::decode::Decode;
    use crate::shape::Format;

    const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138";

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        run: RunArgs,
    }

    /// `weir run` with these arguments and variables (`NAME=value`).
    fn run(arguments: &str, variables: &str) -> Result<Config, WrongUse> {
        let args = Args::parse_from(std::iter::once("run").chain(arguments.split_whitespace())).run;
        let vars = |name: &str| {
            let mut pairs = variables
                .split_whitespace()
                .filter_map(|pair| pair.split_once('='));
            pairs.find(|(n, _)| *n == name).map(|(_, value)| value.to_owned())
        };
        read(&args, &vars).map(|(config, _)| config)
    }

    fn refusal(arguments: &str, variables: &str) -> String {
        run(arguments, variables).unwrap_err().to_string()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    const FILE: &str = "
application: from-file
http: { address: 0.0.0.0:1000 }
leases: { duration: 20s }
pipelines: { p: { source: { dynamodb_table: orders }, destination: { group: g } } }
";

    #[test]
    fn the_simplest_use_fits_in_two_flags() {
        let config = run("--table orders --log-group /cdc/orders", "").unwrap();
        let source = SourceConfig::of(StreamChoice::Table("orders".into()));
        let destination = DestinationConfig::of(check::group("/cdc/orders").unwrap());
        let pipeline = PipelineConfig::of("orders", source, destination);
        assert_eq!(config, Config::of(vec![pipeline]));
        assert_eq!(config.application, "weir");
        assert_eq!(config.pipelines[0].destination.stream.as_str(), "{shard_id}");
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let config = run(
            &format!(
                "--stream-arn {ARN} --log-group g --log-stream s --start latest --application app \
                 --http-address 127.0.0.1:9 --log-format json --wire sdk"
            ),
            "",
        )
        .unwrap();
        let pipeline = &config.pipelines[0];
        assert_eq!(pipeline.name, "orders", "after the table in the ARN");
        assert_eq!(
            pipeline.source.stream,
            StreamChoice::Arn(check::stream_arn(ARN).unwrap())
        );
        assert_eq!(pipeline.source.start, Start::Latest);
        assert_eq!(pipeline.destination.group.as_str(), "g");
        assert_eq!(pipeline.destination.stream.as_str(), "s");
        assert_eq!(config.application, "app");
        assert_eq!(config.http_address, "127.0.0.1:9".parse().unwrap());
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.wire, Wire::Sdk);
    }

    #[test]
    fn every_flag_can_be_a_variable() {
        let flags = run(
            "--table orders --log-group g --log-stream s --start latest --application app \
             --http-address 127.0.0.1:9 --log-format json --wire sdk",
            "",
        );
        let variables = run(
            "",
            "WEIR_TABLE=orders WEIR_LOG_GROUP=g WEIR_LOG_STREAM=s WEIR_START=latest WEIR_APPLICATION=app \
             WEIR_HTTP_ADDRESS=127.0.0.1:9 WEIR_LOG_FORMAT=json WEIR_WIRE=sdk",
        );
        assert_eq!(flags.unwrap(), variables.unwrap());
        let arn = run("", &format!("WEIR_STREAM_ARN={ARN} WEIR_LOG_GROUP=g")).unwrap();
        assert_eq!(arn.pipelines[0].source.stream.table(), Some("orders"));
        let file = file(FILE);
        let path = file.path().display();
        assert_eq!(
            run("", &format!("WEIR_CONFIG={path}")).unwrap(),
            run(&format!("-c {path}"), "").unwrap()
        );
    }

    #[test]
    fn a_format_is_a_flag_away_where_the_records_have_one() {
        let format = |arguments: &str, variables: &str| {
            let config = run(&format!("{arguments} --log-group g"), variables).unwrap();
            config.pipelines[0].shape.format
        };
        assert_eq!(format("--table orders --format plain", ""), Format::Plain);
        assert_eq!(format("--table orders", "WEIR_FORMAT=diff"), Format::Diff);
        assert_eq!(
            format("--kinesis-stream s --decode audit --format raw", ""),
            Format::Raw
        );
        for (arguments, says) in [
            (
                "--table orders --format raw",
                "--format: `raw` is not how changes",
            ),
            (
                "--kinesis-stream s --format plain",
                "--format: `plain` can't be had",
            ),
        ] {
            let shown = refusal(&format!("{arguments} --log-group g"), "");
            assert!(shown.starts_with(says), "{shown}");
        }
        let shown = refusal(
            "--kinesis-stream s --decode chnge --format plain --log-group g",
            "",
        );
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }

    const KINESIS: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit";

    #[test]
    fn a_kinesis_stream_is_a_flag_away_too() {
        let config = run("--kinesis-stream rds-audit --log-group /db/audit", "").unwrap();
        let pipeline = &config.pipelines[0];
        assert_eq!(pipeline.name, "rds-audit", "after the stream");
        assert_eq!(
            pipeline.source,
            SourceConfig::of(StreamChoice::Kinesis("rds-audit".into()))
        );
        assert_eq!(pipeline.decode, DecodeSettings::of(Decode::Auto));
        let flags = "--kinesis-stream rds-audit --decode audit --fan-out --log-group /db/{cluster} --allow-groups /db/* --log-stream {instance}";
        let config = run(flags, "").unwrap();
        let pipeline = &config.pipelines[0];
        assert_eq!(pipeline.decode, DecodeSettings::of(Decode::Audit));
        assert_eq!(pipeline.source.fan_out, Some(FanOut::default()));
        let variables = "WEIR_KINESIS_STREAM=rds-audit WEIR_DECODE=audit WEIR_FAN_OUT=true WEIR_LOG_GROUP=/db/{cluster} WEIR_ALLOW_GROUPS=/db/* \
                         WEIR_LOG_STREAM={instance}";
        assert_eq!(run("", variables).unwrap(), config);
        let without = run(
            &format!("{flags} --fan-out=false").replace("--fan-out ", ""),
            "WEIR_FAN_OUT=true",
        )
        .unwrap();
        assert_eq!(
            without.pipelines[0].source.fan_out, None,
            "a flag stands before its variable"
        );

        let arn = run(&format!("--stream-arn {KINESIS} --log-group g"), "").unwrap();
        let source = &arn.pipelines[0].source;
        assert_eq!(
            source.stream,
            StreamChoice::KinesisArn(check::kinesis_stream_arn(KINESIS).unwrap())
        );
        assert_eq!(source.aws.region.as_deref(), Some("eu-west-1"));
        assert_eq!(arn.pipelines[0].name, "rds-audit");
    }

    #[test]
    fn wrong_flags_of_a_kinesis_stream_are_told() {
        for (arguments, says) in [
            (
                "--kinesis-stream a/b --log-group g",
                "--kinesis-stream: `a/b` must be 1 to 128",
            ),
            (
                "--kinesis-stream s --table orders --log-group g",
                "--kinesis-stream: `s` names a stream again, beside --table: keep one of the two",
            ),
            (
                "--kinesis-stream s --decode lambda --log-group g",
                "--decode: `lambda` is how a DynamoDB stream's records are read",
            ),
            (
                "--kinesis-stream s --decode subscriptions --log-group {cluster}",
                "--decode: `subscriptions` is no way to decode: did you mean `subscription`?",
            ),
            (
                "--table orders --decode text --log-group g",
                "--decode: `text` is for Kinesis streams",
            ),
            (
                "--table orders --fan-out --log-group g",
                "--fan-out: `true` is for Kinesis streams",
            ),
            (
                "--kinesis-stream s --fan-out=maybe --log-group g",
                "--fan-out: `maybe` is neither `true` nor `false`",
            ),
            (
                "--stream-arn arn:aws:sqs:eu-west-1:111122223333:x --log-group g",
                "is not the ARN of a stream: it looks like arn:aws:dynamodb:",
            ),
            (
                "--kinesis-stream s --decode change --log-group /db/{cluster}",
                "--log-group: `/db/{cluster}` uses `{cluster}`, which comes from a subscription envelope",
            ),
            (
                "--kinesis-stream s --log-group g --log-stream dead-letter",
                "--log-stream: `dead-letter` is the stream of the dead letters",
            ),
            (
                "--kinesis-stream s --log-group g --log-stream {table}",
                "--log-stream: `{table}` uses `{table}`, which is a DynamoDB table",
            ),
        ] {
            let shown = refusal(arguments, "");
            assert_eq!(shown.lines().count(), 1, "{arguments}: {shown}");
            assert!(shown.contains(says), "{arguments}: {shown}");
        }
        let long = format!(
            "--application {} --kinesis-stream {} --fan-out --log-group g",
            "a".repeat(100),
            "s".repeat(60)
        );
        let shown = refusal(&long, "");
        assert!(
            shown.starts_with("--fan-out: the consumer would be named after")
                && shown.ends_with("shorten --application, or name the consumer in a file"),
            "{shown}"
        );
    }

    #[test]
    fn a_flag_stands_before_its_variable_and_both_before_the_file() {
        let file = file(FILE);
        let with = |arguments: &str, variables: &str| {
            run(&format!("-c {} {arguments}", file.path().display()), variables).unwrap()
        };
        assert_eq!(with("", "").application, "from-file");
        assert_eq!(
            with("", "WEIR_APPLICATION=from-variable").application,
            "from-variable"
        );
        assert_eq!(
            with("--application from-flag", "WEIR_APPLICATION=x").application,
            "from-flag"
        );
        assert_eq!(
            with("", "WEIR_APPLICATION=").application,
            "from-file",
            "empty is not set"
        );
        let beside = with("--http-address 127.0.0.1:9 --log-format text --wire sdk", "");
        assert_eq!(beside.wire, Wire::Sdk);
        assert_eq!(beside.http_address, "127.0.0.1:9".parse().unwrap());
        assert_eq!(beside.log_format, LogFormat::Text);
        assert_eq!(
            beside.lease_duration,
            Duration::from_secs(20),
            "the rest is the file's"
        );
    }

    #[test]
    fn the_articles_variables_come_last_and_only_without_a_file() {
        let article = "CLOUDWATCH_LOG_GROUP=article-group CLOUDWATCH_LOG_STREAM=article-stream";
        let names = |config: Config| {
            let destination = &config.pipelines[0].destination;
            (destination.group.to_string(), destination.stream.to_string())
        };
        let plain = run("--table orders", article).unwrap();
        assert_eq!(names(plain), ("article-group".into(), "article-stream".into()));
        let variable = run("--table orders", &format!("{article} WEIR_LOG_GROUP=own")).unwrap();
        assert_eq!(names(variable), ("own".into(), "article-stream".into()));
        let flag = run("--table orders --log-stream own", article).unwrap();
        assert_eq!(names(flag), ("article-group".into(), "own".into()));
        let file = file(FILE);
        let beside = run(&format!("-c {}", file.path().display()), article).unwrap();
        assert_eq!(names(beside), ("g".into(), "{shard_id}".into()));
        let wrong = refusal("--table orders", "CLOUDWATCH_LOG_GROUP=a:b");
        assert!(
            wrong.starts_with(
                "--log-group (from CLOUDWATCH_LOG_GROUP): `a:b` holds ':', which a log group can't"
            ),
            "{wrong}"
        );
    }

    #[test]
    fn nothing_to_read_shows_the_simplest_uses() {
        let shown = refusal("", "");
        assert!(
            shown.contains(
                "\n  weir run --table orders --log-group /cdc/orders\n  weir run --kinesis-stream rds-audit --decode \
                 audit --log-group /db/audit\n  weir run --config weir.yaml"
            ),
            "{shown}"
        );
        assert!(!shown.contains("--log-group: is missing"), "{shown}");
    }

    #[test]
    fn every_wrong_flag_is_listed_at_once_with_where_it_came_from() {
        let shown = refusal(
            &format!("--table a/b --log-stream a:b --http-address 80 --stream-arn {ARN}"),
            "WEIR_START=soon WEIR_LOG_FORMAT=xml WEIR_APPLICATION=a WEIR_WIRE=fast",
        );
        let expected = [
            "--application (from WEIR_APPLICATION): `a` must be 3 to 249",
            "--http-address: `80` is not an IP address and a port: write it like `0.0.0.0:80`",
            "--log-format (from WEIR_LOG_FORMAT): `xml` is not a log format",
            "--wire (from WEIR_WIRE): `fast` is no way to read records and write puts",
            "--stream-arn: `arn:aws:dynamodb",
            "--table: `a/b` must be 3 to 255",
            "--log-group: is missing: name the log group",
            "--log-stream: `a:b` holds ':', which a log stream can't",
            "--start (from WEIR_START): `soon` is not a starting position",
        ];
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{shown}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.starts_with(expected),
                "{line}\nshould begin with\n{expected}"
            );
        }
        assert!(
            lines[4].contains("names a stream again, beside --table"),
            "{shown}"
        );
    }

    #[test]
    fn what_belongs_into_the_file_is_refused_beside_it() {
        let file = file(FILE);
        let shown = refusal(
            &format!(
                "-c {} --table orders --start latest --fan-out",
                file.path().display()
            ),
            &format!(
                "WEIR_LOG_GROUP=g WEIR_LOG_STREAM=s WEIR_STREAM_ARN={ARN} WEIR_KINESIS_STREAM=s WEIR_DECODE=audit \
                 WEIR_FORMAT=raw"
            ),
        );
        let expected = [
            "--table: `orders` can't stand beside --config: move it into the file, to `pipelines.NAME.source.dynamodb_table`",
            "--kinesis-stream (from WEIR_KINESIS_STREAM): `s` can't stand beside --config: move it into the file, to `pipelines.NAME.source.kinesis_stream`",
            "--stream-arn (from WEIR_STREAM_ARN): ",
            "--decode (from WEIR_DECODE): `audit` can't stand beside --config: move it into the file, to `pipelines.NAME.decode`",
            "--format (from WEIR_FORMAT): `raw` can't stand beside --config: move it into the file, to `pipelines.NAME.format`",
            "--fan-out: `true` can't stand beside --config: move it into the file, to `pipelines.NAME.source.fan_out`",
            "--log-group (from WEIR_LOG_GROUP): `g` can't stand beside --config",
            "--log-stream (from WEIR_LOG_STREAM): `s` can't stand beside --config",
            "--start: `latest` can't stand beside --config: move it into the file, to `pipelines.NAME.source.start`",
        ];
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{shown}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.starts_with(expected),
                "{line}\nshould begin with\n{expected}"
            );
        }
    }

    #[test]
    fn a_drain_that_the_platform_would_cut_short_is_refused_by_the_names_of_both() {
        let base = "pipelines: { p: { source: { dynamodb_table: orders }, destination: { group: g } } }\n";
        let with = |drain: &str| file(&format!("{drain}\n{base}"));
        let in_file = with("drain: { timeout: 26s, grace_period: 30s }");
        let timeout = with("drain: { timeout: 26s }");
        let grace = with("drain: { grace_period: 30s }");
        let nothing = with("");
        let unreadable = with("drain: { timeout: 26, grace_period: 20s }");
        for (file, arguments, variables, want) in [
            (
                &in_file,
                "",
                "",
                "FILE: drain.grace_period: `30s` is too short for drain.timeout of 26s: ",
            ),
            (
                &timeout,
                "",
                "WEIR_GRACE_PERIOD=30s",
                "--grace-period (from WEIR_GRACE_PERIOD): `30s` is too short for drain.timeout of 26s: ",
            ),
            (
                &grace,
                "--drain-timeout 26s",
                "",
                "FILE: drain.grace_period: `30s` is too short for --drain-timeout of 26s: ",
            ),
            (
                &nothing,
                "--grace-period 29s",
                "WEIR_DRAIN_TIMEOUT=25s WEIR_GRACE_PERIOD=1h",
                "--grace-period: `29s` is too short for --drain-timeout (from WEIR_DRAIN_TIMEOUT) of 25s: ",
            ),
            // What stands before the file counts.
            (&in_file, "--drain-timeout 25s", "", ""),
            (&in_file, "", "WEIR_GRACE_PERIOD=31s", ""),
            (&nothing, "", "WEIR_GRACE_PERIOD=30s", ""),
            (&timeout, "", "", ""),
            // Of one that can't be read nothing more is said.
            (&unreadable, "", "", "FILE: drain.timeout: `26` has no unit"),
            (
                &timeout,
                "",
                "WEIR_GRACE_PERIOD=30",
                "--grace-period (from WEIR_GRACE_PERIOD): `30` has no unit",
            ),
            (
                &nothing,
                "--grace-period 5s",
                "",
                "--grace-period: `5s` is too little: use 6s to 2h",
            ),
        ] {
            let name = file.path().display().to_string();
            let ran = run(&format!("-c {name} {arguments}"), variables);
            let told = ran
                .map(|_| String::new())
                .unwrap_or_else(|wrong| wrong.to_string());
            let want = want.replace("FILE", &name);
            assert!(told.starts_with(&want), "{arguments} {variables}: {told}");
            assert_eq!(
                told.is_empty(),
                want.is_empty(),
                "{arguments} {variables}: {told}"
            );
            assert!(told.lines().count() <= 1, "{told}");
        }
        let flags = "--table orders --log-group g";
        assert_eq!(
            refusal(&format!("{flags} --grace-period 29s"), ""),
            "--grace-period: `29s` is too short for drain.timeout of 25s: a drain that hits its limit needs up to 5s more \
             until the process has ended, and would be killed before. Let the platform wait 30s at least \
             (terminationGracePeriodSeconds, stopTimeout) and say so here, or set drain.timeout to 24s at most"
        );
        let config = run(&format!("{flags} --drain-timeout 110s"), "WEIR_GRACE_PERIOD=2m").unwrap();
        assert_eq!(config.drain_timeout, Duration::from_secs(110));
        assert_eq!(config.grace_period, Some(Duration::from_secs(120)));
    }

    #[test]
    fn the_settings_can_be_a_text_instead_of_a_file() {
        let file = file(FILE);
        let path = file.path().display();
        let text = |yaml: &str, arguments: &str, more: &[(&str, &str)]| {
            let args = Args::parse_from(std::iter::once("run").chain(arguments.split_whitespace())).run;
            let vars = |name: &str| match name {
                "WEIR_CONFIG_TEXT" => Some(yaml.to_owned()),
                name => {
                    let found = more.iter().find(|(n, _)| *n == name);
                    found.map(|(_, value)| (*value).to_owned())
                }
            };
            read(&args, &vars).map(|(config, _)| config)
        };
        assert_eq!(
            text(FILE, "", &[]).unwrap(),
            run(&format!("-c {path}"), "").unwrap()
        );
        let args = Args::parse_from(["run", "--config-text", FILE]).run;
        assert_eq!(read(&args, &|_| None).unwrap().0.application, "from-file");
        let beside = text(FILE, "--application from-flag", &[]).unwrap();
        assert_eq!(beside.application, "from-flag");
        let with_variable = FILE.replace("from-file", "${APP}");
        let config = text(&with_variable, "", &[("APP", "of-the-environment")]).unwrap();
        assert_eq!(config.application, "of-the-environment");
        for (yaml, arguments, more, says) in [
            (
                "a: 1\na: 2\n",
                "",
                &[][..],
                "WEIR_CONFIG_TEXT: line 2, column 1: the key `a` stands twice",
            ),
            (
                "pipelines: {}",
                "",
                &[],
                "WEIR_CONFIG_TEXT: pipelines: there is none",
            ),
            (
                FILE,
                "--table orders",
                &[],
                "--table: `orders` can't stand beside --config-text: move it into that text, to \
                 `pipelines.NAME.source.dynamodb_table`",
            ),
            (
                FILE,
                "",
                &[("WEIR_CONFIG", "/weir.yaml")],
                "--config-text (from WEIR_CONFIG_TEXT): holds settings, and so does --config (from WEIR_CONFIG): keep one \
                 of the two",
            ),
        ] {
            let told = text(yaml, arguments, more).unwrap_err().to_string();
            assert!(told.starts_with(says), "{told}");
        }
        let args = Args::parse_from(["run", "--config-text", FILE, "-c", "/weir.yaml"]).run;
        let told = read(&args, &|_| None).unwrap_err().to_string();
        assert!(
            told.starts_with("--config-text: holds settings, and so does --config: keep one of the two"),
            "{told}"
        );
        // A flag stands before a variable, whichever of the two it is.
        let broken = "a: 1\na: 2\n";
        let with_file = text(broken, &format!("-c {path} --application here"), &[]);
        assert_eq!(with_file.unwrap().application, "here");
        let args = Args::parse_from(["run", "--config-text", FILE]).run;
        let vars = |name: &str| (name == "WEIR_CONFIG").then(|| "/nowhere/weir.yaml".to_owned());
        assert_eq!(read(&args, &vars).unwrap().0.application, "from-file");
        let large = format!("{FILE}{}", "#".repeat(1 << 20));
        let told = text(&large, "", &[]).unwrap_err().to_string();
        assert!(told.starts_with("WEIR_CONFIG_TEXT: is larger than"), "{told}");
    }

    #[test]
    fn problems_of_flags_and_file_are_told_together() {
        let file = file("pipelines: {}\ncolour: red\n");
        let path = file.path().display();
        let shown = refusal(&format!("-c {path} --log-format xml"), "");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[0].starts_with("--log-format: `xml`"), "{shown}");
        assert!(
            lines[1].starts_with(&format!("{path}: pipelines: there is none")),
            "{shown}"
        );
        assert!(
            lines[2].starts_with(&format!("{path}: colour: is not a known key")),
            "{shown}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let shown = refusal("-c no-such.yaml", "");
        assert!(shown.starts_with("no-such.yaml: can't be read: "), "{shown}");
        let binary = file("");
        std::fs::write(binary.path(), [0xff, 0xfe]).unwrap();
        assert!(refusal(&format!("-c {}", binary.path().display()), "").contains("is not UTF-8 text"));
        let large = file(&"#".repeat((1 << 20) + 1));
        assert!(refusal(&format!("-c {}", large.path().display()), "").contains("is larger than"));
        let broken = file("a: 1\na: 2\n");
        let path = broken.path().display();
        assert!(refusal(&format!("-c {path}"), "").starts_with(&format!("{path}: line 2, column 1: ")));
    }

    #[test]
    fn the_state_tables_are_never_the_source() {
        let shown = refusal("--table weir --log-group g", "");
        assert!(
            shown.starts_with("--table: `weir` reads the lease table"),
            "{shown}"
        );
        assert!(run("--table weir --log-group g --application cdc", "").is_ok());
        let shown = refusal("--table weir --log-group g --application a", "");
        assert_eq!(
            shown.lines().count(),
            1,
            "the default is not what was meant: {shown}"
        );
    }

    #[test]
    fn a_long_table_gives_a_pipeline_name_of_its_own() {
        let (a, b) = (format!("{}a", "t".repeat(200)), format!("{}b", "t".repeat(200)));
        let name = |table: &str| {
            run(&format!("--table {table} --log-group g"), "")
                .unwrap()
                .pipelines[0]
                .name
                .clone()
        };
        assert_eq!(name(&a).len(), 64);
        assert_ne!(name(&a), name(&b));
        assert_eq!(name(&a), name(&a));
        assert_eq!(name(&"t".repeat(64)), "t".repeat(64));
    }

    #[test]
    fn the_help_names_the_variable_of_every_flag() {
        let mut cli = Cli::command();
        let run = cli.find_subcommand_mut("run").unwrap();
        for arg in run.get_arguments().filter(|arg| arg.get_id() != "help") {
            let flag = arg.get_long().unwrap();
            let help = arg.get_help().unwrap().to_string();
            let variable = format!("[env: WEIR_{}", flag.to_uppercase().replace('-', "_"));
            assert!(help.contains(&variable), "--{flag}: {help}");
        }
        cli.debug_assert();
    }
}
