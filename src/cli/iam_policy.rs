//! `weir iam-policy`: the permissions that the settings need.

use std::process::ExitCode;

use clap::ValueEnum;

use super::chosen::ChosenArgs;
use super::flags::{Flags, WrongUse};
use super::output;
use super::run::Use;
use crate::aws::arn::Place;
use crate::config::check::Checked;
use crate::config::problem::Problem;
use crate::config::{Config, Vars, check};
use crate::policy::{self, Surroundings};

/// The most characters of a managed policy, white space not counted (IAM user guide, "IAM and AWS STS quotas").
const LONGEST: usize = 6144;

const AFTER_HELP: &str = "\
The policy holds what `weir run` does with these settings, and nothing else; no action or resource is a bare `*`. What \
the person needs who runs `weir tail`, `verify`, `replay` or `dead-letters` is beside it: reading the streams and \
`logs:GetLogEvents`.

A role that the settings have Weir assume (`assume_role_arn`) has a policy of its own: --role prints it, and stderr \
says which there are. Whether a Kinesis stream is encrypted no setting tells: name its key as --stream-key.

Examples:
  weir iam-policy -c weir.yaml --account 111122223333 > policy.json
  weir iam-policy --table orders --log-group /cdc/orders --account 111122223333 --region eu-west-1
  weir iam-policy -c weir.yaml --account 111122223333 --as terraform > weir.tf
  weir iam-policy -c weir.yaml --role arn:aws:iam::444455556666:role/logs

Exit codes: 0 done, 1 it could not be written, 2 for wrong arguments or settings, also where an account is missing.";

/// Print the least permissions that these settings need
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct IamPolicyArgs {
    /// The account that Weir runs in
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// The region where the settings name none [env: AWS_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// How to write it
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Json)]
    form: Form,
    /// The policy of this role, which the settings have Weir assume
    #[arg(long, value_name = "ARN")]
    role: Option<String>,
    /// A key in KMS that a Kinesis stream is encrypted with, by its ARN
    #[arg(long, value_name = "ARN")]
    stream_key: Vec<String>,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// How a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The policy document
    Json,
    /// A data source of Terraform
    Terraform,
    /// A template of CloudFormation, in JSON
    Cloudformation,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    surroundings: Surroundings,
    form: Form,
    role: Option<String>,
}

fn account(text: &str) -> Checked<String> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("is no account: an id has 12 digits".to_owned()),
    }
}

/// The settings and the order, or every problem with them at once.
pub(super) fn read(args: &IamPolicyArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let config = args.chosen.some(&mut flags, Use::of("iam-policy"))?;
    let given = flags
        .find("--region", args.region.as_ref())
        .or_else(|| flags.find_in("--region", "AWS_REGION"));
    let region = flags.checked(given.as_ref(), check::region);
    let id = args
        .account
        .as_ref()
        .and_then(|id| flags.argument("--account", id, account));
    let (needs_region, needs_account) = policy::leaves_open(&config);
    if needs_region && given.is_none() {
        let what = "is missing: the settings leave it open; name it, or set AWS_REGION";
        flags.problems.push(Problem::new("--region", what));
    }
    if needs_account && args.account.is_none() {
        let what =
            "is missing: the settings leave it open; `aws sts get-caller-identity --query Account` tells it";
        flags.problems.push(Problem::new("--account", what));
    }
    let roles = policy::roles(&config);
    if let Some(role) = args.role.as_ref().filter(|role| !roles.contains(*role)) {
        let what = match roles.is_empty() {
            true => "is no role of these settings: they have none assumed".to_owned(),
            false => format!(
                "is no role of these settings: they have {}",
                roles.into_iter().collect::<Vec<_>>().join(", ")
            ),
        };
        flags.problems.push(Problem::with("--role", role, what));
    }
    let mut stream_keys = Vec::new();
    for key in &args.stream_key {
        stream_keys.extend(flags.argument("--stream-key", key, check::log_key));
    }
    let order = Order {
        surroundings: Surroundings {
            here: Place::new(&region.unwrap_or_default(), id.as_deref()),
            stream_keys,
        },
        form: args.form,
        role: args.role.clone(),
    };
    flags.finish(Some((config, order)), None)
}

/// Prints the policy; on stderr, what it doesn't hold.
pub fn carry_out(config: &Config, order: &Order) -> ExitCode {
    let policy = policy::of(config, &order.surroundings, order.role.as_deref());
    if order.role.is_none() {
        for role in policy::roles(config) {
            output::tell(&format!("note: {role} needs a policy of its own: --role {role}"));
        }
    }
    let reads_kinesis = config
        .pipelines
        .iter()
        .any(|pipeline| pipeline.source.stream.kinesis_name().is_some());
    if reads_kinesis && order.surroundings.stream_keys.is_empty() {
        output::tell(
            "note: if a Kinesis stream is encrypted with a key of your own, name it: --stream-key ARN",
        );
    }
    let document = policy.document();
    if document.to_string().len() > LONGEST {
        output::tell(&format!(
            "note: the policy is longer than the {LONGEST} characters of a managed one: print it by --pipeline, or attach it \
             inline"
        ));
    }
    match order.form {
        Form::Json => output::json(&document),
        Form::Cloudformation => output::json(&policy.cloudformation()),
        Form::Terraform => output::answer(&policy.terraform()),
    }
}
