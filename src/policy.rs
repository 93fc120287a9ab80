//! The permissions that settings need, as an IAM policy.
//!
//! Pure. Owns which action on which resource goes with which setting; each has its place in the code beside it. What
//! AWS lets a policy name is in the "Actions, resources, and condition keys" of the Service Authorization Reference.
//! A policy is for one role: that of the process, or one that it assumes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::aws::arn::{ANY, Place};
use crate::config::{AwsSettings, Config, Missing, PipelineConfig, StreamChoice};
use crate::logs::address;
use crate::stream::StreamArn;

/// What is not in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Where the settings name no other place.
    pub here: Place,
    /// The keys in KMS that Kinesis streams are encrypted with, by their ARNs.
    pub stream_keys: Vec<String>,
}

/// What a policy allows, in one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Letters and digits, unique in its policy.
    pub sid: String,
    pub actions: BTreeSet<String>,
    pub resources: BTreeSet<String>,
    /// Operator, key, values.
    pub conditions: Vec<(&'static str, String, Vec<String>)>,
}

/// The statements for one role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    pub statements: Vec<Statement>,
}

impl Policy {
    /// As IAM takes it.
    pub fn document(&self) -> Value {
        let statements = self.statements.iter().map(|statement| {
            let mut told = json!({
                "Sid": statement.sid,
                "Effect": "Allow",
                "Action": statement.actions,
                "Resource": statement.resources,
            });
            if !statement.conditions.is_empty() {
                let mut conditions = serde_json::Map::new();
                for (operator, key, values) in &statement.conditions {
                    let of = conditions.entry(*operator).or_insert_with(|| json!({}));
                    of[key] = json!(values);
                }
                told["Condition"] = conditions.into();
            }
            told
        });
        json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
    }

    /// As a data source of Terraform.
    pub fn terraform(&self) -> String {
        let list = |values: &mut dyn Iterator<Item = &String>| {
            let quoted: Vec<String> = values.map(|value| format!("\"{value}\"")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let mut text = "data \"aws_iam_policy_document\" \"weir\" {\n".to_owned();
        for statement in &self.statements {
            text.push_str(&format!(
                "  statement {{\n    sid       = \"{}\"\n    actions   = {}\n    resources = {}\n",
                statement.sid,
                list(&mut statement.actions.iter()),
                list(&mut statement.resources.iter()),
            ));
            for (operator, key, values) in &statement.conditions {
                text.push_str(&format!(
                    "    condition {{\n      test     = \"{operator}\"\n      variable = \"{key}\"\n      values   = {}\n    \
                     }}\n",
                    list(&mut values.iter()),
                ));
            }
            text.push_str("  }\n");
        }
        text.push_str("}\n");
        text
    }

    /// As a template of CloudFormation.
    pub fn cloudformation(&self) -> Value {
        json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Resources": { "WeirPolicy": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": { "Description": "What Weir may do", "PolicyDocument": self.document() },
            }},
            "Outputs": { "WeirPolicyArn": { "Value": { "Ref": "WeirPolicy" } } },
        })
    }
}

/// Something that is needed, and by which role: `None` is the process's own.
struct Need {
    role: Option<String>,
    statement: Statement,
}

/// Puts needs together.
struct Needs<'a> {
    surroundings: &'a Surroundings,
    needs: Vec<Need>,
}

/// The roles that the settings have the process assume.
pub fn roles(config: &Config) -> BTreeSet<String> {
    let of_pipelines = config
        .pipelines
        .iter()
        .flat_map(|pipeline| [&pipeline.source.aws, &pipeline.destination.aws]);
    let all = of_pipelines.chain([&config.state.aws]);
    all.filter_map(|settings| settings.assume_role_arn.clone())
        .collect()
}

/// Whether the settings leave a region, or an account, to their surroundings.
pub fn leaves_open(config: &Config) -> (bool, bool) {
    let mut open = (false, false);
    let mut look = |settings: &AwsSettings, arn: Option<&StreamArn>| {
        open.0 |= settings.region.is_none() && arn.and_then(StreamArn::region).is_none();
        open.1 |= settings.assume_role_arn.is_none() && arn.and_then(StreamArn::account).is_none();
    };
    look(&config.state.aws, None);
    for pipeline in &config.pipelines {
        let arn = match &pipeline.source.stream {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => Some(arn),
            StreamChoice::Table(_) | StreamChoice::Kinesis(_) => None,
        };
        look(&pipeline.source.aws, arn);
        look(&pipeline.destination.aws, None);
    }
    open
}

/// The policy of a role that is assumed, or of the process's own.
pub fn of(config: &Config, surroundings: &Surroundings, role: Option<&str>) -> Policy {
    let mut needs = Needs {
        surroundings,
        needs: Vec::new(),
    };
    needs.state(config);
    for pipeline in &config.pipelines {
        needs.source(config, pipeline);
        needs.destination(config, pipeline);
    }
    let roles = roles(config);
    if !roles.is_empty() {
        let statement = statement("AssumeRoles", &["sts:AssumeRole"], roles);
        needs.needs.push(Need {
            role: None,
            statement,
        });
    }
    let mut policy = Policy::default();
    let mut sids: BTreeSet<String> = BTreeSet::new();
    for need in needs
        .needs
        .into_iter()
        .filter(|need| need.role.as_deref() == role)
    {
        let mut statement = need.statement;
        let same = policy.statements.iter_mut().find(|s| {
            s.actions == statement.actions
                && s.conditions == statement.conditions
                && s.resources == statement.resources
        });
        // Two pipelines that read or write the same need it once.
        if same.is_some() {
            continue;
        }
        // A number behind it may make it that of another pipeline: `a-b` and `aB` beside `a-b2`.
        let mut sid = statement.sid.clone();
        let mut number = 2;
        while !sids.insert(sid.clone()) {
            sid = format!("{}{number}", statement.sid);
            number += 1;
        }
        statement.sid = sid;
        policy.statements.push(statement);
    }
    policy
}

fn statement(sid: &str, actions: &[&str], resources: impl IntoIterator<Item = String>) -> Statement {
    Statement {
        sid: sid.chars().filter(char::is_ascii_alphanumeric).collect(),
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        resources: resources.into_iter().collect(),
        conditions: Vec::new(),
    }
}

/// A pipeline's name as a part of a Sid: `rds-audit` is `RdsAudit`.
fn camel(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter_map(|word| {
            let mut letters = word.chars();
            let first = letters.next()?.to_ascii_uppercase();
            Some(format!("{first}{}", letters.as_str()))
        })
        .collect()
}

impl Needs<'_> {
    /// Where the clients of these settings ask.
    fn place(&self, settings: &AwsSettings) -> Place {
        let here = &self.surroundings.here;
        let role = settings.assume_role_arn.as_deref().unwrap_or_default();
        // An ARN of IAM has no region: its account is that of what the role sees.
        let of_role = Place::of_arn(role, here);
        Place {
            region: settings.region.clone().unwrap_or_else(|| here.region.clone()),
            account: of_role.account,
        }
    }

    fn push(&mut self, settings: &AwsSettings, statement: Statement) {
        let role = settings.assume_role_arn.clone();
        self.needs.push(Need { role, statement });
    }

    /// `lease/dynamodb.rs` and `lease/dynamodb/prepare.rs`.
    fn state(&mut self, config: &Config) {
        let aws = &config.state.aws;
        let place = self.place(aws);
        let tables = config.state_tables();
        let (leases, fleet) = (place.table(&tables.leases), place.table(&tables.fleet));
        let both = [leases.clone(), fleet.clone()];
        let mut of_both = vec![
            "dynamodb:DescribeTable",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
        ];
        if let Missing::Create(new) = &tables.missing {
            of_both.push("dynamodb:CreateTable");
            if !new.tags.is_empty() {
                of_both.push("dynamodb:TagResource");
            }
            if new.point_in_time_recovery {
                of_both.push("dynamodb:UpdateContinuousBackups");
            }
        }
        self.push(aws, statement("StateTables", &of_both, both));
        let of_leases = ["dynamodb:Scan", "dynamodb:GetItem"];
        self.push(aws, statement("Leases", &of_leases, [leases]));
        self.push(aws, statement("Fleet", &["dynamodb:Query"], [fleet]));
        let Missing::Create(new) = &tables.missing else {
            return;
        };
        // DynamoDB's own key (`alias/aws/dynamodb`) is used by DynamoDB alone.
        if let Some(key) = new
            .kms_key
            .as_deref()
            .filter(|key| !key.ends_with("alias/aws/dynamodb"))
        {
            let (resource, alias) = match key.split_once("alias/") {
                Some((_, alias)) => (place.key("*"), Some(format!("alias/{alias}"))),
                None if key.starts_with("arn:") => (key.to_owned(), None),
                None => (place.key(key), None),
            };
            // Developer guide of DynamoDB, "How DynamoDB uses AWS KMS": what the caller needs of a key of its own.
            let actions = [
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncrypt*",
                "kms:GenerateDataKey*",
                "kms:DescribeKey",
                "kms:CreateGrant",
            ];
            let mut statement = statement("StateTablesKey", &actions, [resource]);
            let service = format!("dynamodb.{}.amazonaws.com", place.region);
            statement
                .conditions
                .push(("StringEquals", "kms:ViaService".to_owned(), vec![service]));
            if let Some(alias) = alias {
                statement.conditions.push((
                    "ForAnyValue:StringEquals",
                    "kms:ResourceAliases".to_owned(),
                    vec![alias],
                ));
            }
            self.push(aws, statement);
        }
    }

    fn source(&mut self, config: &Config, pipeline: &PipelineConfig) {
        let aws = &pipeline.source.aws;
        let place = self.place(aws);
        let name = camel(&pipeline.name);
        // `stream/dynamodb.rs`.
        let reading = [
            "dynamodb:DescribeStream",
            "dynamodb:GetShardIterator",
            "dynamodb:GetRecords",
        ];
        match &pipeline.source.stream {
            StreamChoice::Table(table) => {
                let of_table = ["dynamodb:DescribeTable"];
                let sid = format!("Table{name}");
                self.push(aws, statement(&sid, &of_table, [place.table(table)]));
                let sid = format!("Read{name}");
                self.push(aws, statement(&sid, &reading, [place.streams_of(table)]));
                // For the streams in between, when the table's was enabled anew. AWS takes no resource for it: an ARN
                // here would allow nothing (Service Authorization Reference; the developer guide's example has one).
                let listing = ["dynamodb:ListStreams"];
                let sid = format!("List{name}");
                self.push(aws, statement(&sid, &listing, [ANY.to_owned()]));
            }
            StreamChoice::Arn(arn) => {
                let sid = format!("Read{name}");
                self.push(aws, statement(&sid, &reading, [arn.as_str().to_owned()]));
            }
            StreamChoice::Kinesis(stream) => {
                self.kinesis(config, pipeline, &place.kinesis(stream), &place);
            }
            StreamChoice::KinesisArn(arn) => {
                let place = Place::of_arn(arn.service_arn(), &place);
                self.kinesis(config, pipeline, arn.service_arn(), &place);
            }
        }
    }

    /// `stream/kinesis.rs` and `stream/fan_out.rs`.
    fn kinesis(&mut self, config: &Config, pipeline: &PipelineConfig, stream: &str, place: &Place) {
        let aws = &pipeline.source.aws;
        let name = camel(&pipeline.name);
        let mut of_stream = vec!["kinesis:DescribeStreamSummary", "kinesis:ListShards"];
        match &pipeline.source.fan_out {
            None => of_stream.extend(["kinesis:GetShardIterator", "kinesis:GetRecords"]),
            Some(fan_out) => {
                of_stream.extend(["kinesis:DescribeStreamConsumer", "kinesis:RegisterStreamConsumer"]);
                let consumer = fan_out.name(&config.application, &pipeline.name);
                let consumer = format!("{stream}/consumer/{consumer}:*");
                let of_consumer = ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"];
                let sid = format!("Subscribe{name}");
                self.push(aws, statement(&sid, &of_consumer, [consumer]));
            }
        }
        let sid = format!("Read{name}");
        self.push(aws, statement(&sid, &of_stream, [stream.to_owned()]));
        let keys = self.surroundings.stream_keys.clone();
        if !keys.is_empty() {
            let mut statement = statement(&format!("Decrypt{name}"), &["kms:Decrypt"], keys);
            let service = format!("kinesis.{}.amazonaws.com", place.region);
            statement
                .conditions
                .push(("StringEquals", "kms:ViaService".to_owned(), vec![service]));
            // Developer guide of Kinesis, "Permissions to use user-generated KMS keys".
            statement.conditions.push((
                "StringEquals",
                "kms:EncryptionContext:aws:kinesis:arn".to_owned(),
                vec![stream.to_owned()],
            ));
            self.push(aws, statement);
        }
    }

    /// `logs/cloudwatch.rs`, its `groups` and `subscriptions`.
    fn destination(&mut self, config: &Config, pipeline: &PipelineConfig) {
        let destination = &pipeline.destination;
        let aws = &destination.aws;
        let place = self.place(aws);
        let name = camel(&pipeline.name);
        let own = self.groups(config, pipeline);
        let letters =
            address::letters_by_settings(&config.application, pipeline).map(|letters| letters.group);
        let letters: Vec<String> = letters.into_iter().filter(|group| !own.contains(group)).collect();
        let is_kinesis = pipeline.source.stream.kinesis_name().is_some();
        for (groups, sid, is_own) in [(&own, "Write", true), (&letters, "DeadLetters", false)] {
            if groups.is_empty() {
                continue;
            }
            let mut actions = vec!["logs:PutLogEvents"];
            if is_own && pipeline.looks_up() {
                actions.push("logs:GetLogEvents");
            }
            if destination.create {
                actions.extend(["logs:CreateLogGroup", "logs:CreateLogStream"]);
            }
            let makes = destination.create || destination.reconcile;
            if makes && destination.retention_days.is_some() {
                actions.push("logs:PutRetentionPolicy");
            }
            if makes && !destination.tags.is_empty() {
                actions.push("logs:TagResource");
            }
            if destination.reconcile && destination.kms_key.is_some() {
                actions.push("logs:AssociateKmsKey");
            }
            if destination.reconcile && !destination.tags.is_empty() {
                actions.push("logs:ListTagsForResource");
            }
            // Whether it feeds the stream.
            if is_kinesis {
                actions.push("logs:DescribeSubscriptionFilters");
            }
            // CloudWatch Logs names a group with and without what is in it, by the action.
            let arns = groups
                .iter()
                .flat_map(|group| [place.log_group(group), place.log_streams(group)]);
            let statement = statement(&format!("{sid}{name}"), &actions, arns);
            self.push(aws, statement);
        }
        // Neither names a group, so that none can stand here; it is whatever CloudWatch Logs has in this region and
        // account. To see subscription policies both of the first two are asked for (API reference of
        // DescribeAccountPolicies).
        let mut of_account = Vec::new();
        if is_kinesis {
            of_account.extend(["logs:DescribeAccountPolicies", "logs:DescribeSubscriptionFilters"]);
        }
        if destination.reconcile {
            of_account.push("logs:DescribeLogGroups");
        }
        if !of_account.is_empty() {
            self.push(aws, statement(&format!("See{name}"), &of_account, [place.logs()]));
        }
    }

    /// The groups that a pipeline writes to; `*` stands for what only records tell, within what they may choose.
    fn groups(&self, config: &Config, pipeline: &PipelineConfig) -> Vec<String> {
        let source = &pipeline.source;
        let place = self.place(&source.aws);
        let stream = match &source.stream {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => arn.clone(),
            StreamChoice::Table(table) => StreamArn::new(place.table(&format!("{table}/stream/now"))),
            StreamChoice::Kinesis(name) => StreamArn::new(place.kinesis(name)),
        };
        let fields = address::of_stream(&config.application, pipeline, &stream);
        let destination = &pipeline.destination;
        let pattern = destination.group.pattern(&fields);
        // A name that only records give is one of those that are allowed: the narrower of the two patterns.
        let within: Vec<_> = destination.allow_groups.iter().collect();
        if within.is_empty() || within.iter().any(|allowed| allowed.matches(&pattern)) {
            return vec![pattern];
        }
        within.iter().map(|allowed| allowed.as_str().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests;
