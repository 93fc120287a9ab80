# terraform test, without an account: every answer of AWS is made up.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:111122223333:cluster/weir" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/weir" }
  }
}

variables {
  image      = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/weir:0.1.0"
  settings   = "pipelines: { orders: { source: { dynamodb_table: orders }, destination: { group: /cdc/orders } } }"
  policy     = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  vpc_id     = "vpc-1a"
  subnet_ids = ["subnet-1a", "subnet-1b"]
}

run "a_task_is_shut_in_and_has_time_to_hand_over" {
  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].stopTimeout == 30
    error_message = "the stop timeout is not the variable's"
  }
  assert {
    condition = { for pair in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : pair.name => pair.value } == {
      AWS_REGION         = "eu-west-1"
      WEIR_CONFIG_TEXT   = var.settings
      WEIR_DRAIN_TIMEOUT = "25s"
      WEIR_GRACE_PERIOD  = "30s"
      WEIR_HTTP_ADDRESS  = "0.0.0.0:8080"
    }
    error_message = "the environment is another"
  }
  assert {
    condition = alltrue([
      jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem,
      jsondecode(aws_ecs_task_definition.this.container_definitions)[0].user == "65532:65532",
      jsondecode(aws_ecs_task_definition.this.container_definitions)[0].memory == 512,
      jsondecode(aws_ecs_task_definition.this.container_definitions)[0].healthCheck.command == ["CMD", "/usr/local/bin/weir", "health", "--started"],
    ])
    error_message = "the container is not shut in, or nobody asks whether it lives"
  }
  assert {
    condition = alltrue([
      aws_ecs_service.fixed[0].deployment_minimum_healthy_percent == 100,
      aws_ecs_service.fixed[0].deployment_maximum_percent == 200,
      aws_ecs_service.fixed[0].deployment_circuit_breaker[0].rollback,
      aws_ecs_service.fixed[0].desired_count == 2,
      length(aws_ecs_service.scaled) == 0,
    ])
    error_message = "the deployment is another"
  }
  assert {
    condition     = aws_iam_role_policy.task.policy == var.policy
    error_message = "the task role has another policy"
  }
  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Sid => [statement.Action, statement.Resource] } == {
      OwnLog   = [["logs:CreateLogStream", "logs:PutLogEvents"], ["arn:aws:logs:eu-west-1:111122223333:log-group:/weir/ecs/weir:*"]]
      Registry = [["ecr:GetAuthorizationToken"], ["*"]]
      Image    = [["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], ["arn:aws:ecr:eu-west-1:111122223333:repository/team/weir"]]
    }
    error_message = "the execution role may do other things"
  }
  assert {
    condition     = length(aws_security_group.this[0].ingress) == 0
    error_message = "something may come in"
  }
}

run "secrets_are_read_by_the_execution_role_alone" {
  variables {
    image           = "registry.example.com/weir:0.1.0"
    settings        = null
    settings_arn    = "arn:aws:ssm:eu-west-1:111122223333:parameter/weir/settings"
    secrets         = { WEIR_REDACT_KEY = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:weir-AbCdEf:key::" }
    secret_key_arns = ["arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]
  }
  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets == [
      { name = "WEIR_CONFIG_TEXT", valueFrom = var.settings_arn },
      { name = "WEIR_REDACT_KEY", valueFrom = var.secrets.WEIR_REDACT_KEY },
    ]
    error_message = "the secrets are others"
  }
  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Sid => [statement.Action, statement.Resource] } == {
      OwnLog      = [["logs:CreateLogStream", "logs:PutLogEvents"], ["arn:aws:logs:eu-west-1:111122223333:log-group:/weir/ecs/weir:*"]]
      Parameters  = [["ssm:GetParameters"], ["arn:aws:ssm:eu-west-1:111122223333:parameter/weir/settings"]]
      Secrets     = [["secretsmanager:GetSecretValue"], ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:weir-AbCdEf"]]
      SecretsKeys = [["kms:Decrypt"], ["arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"]]
    }
    error_message = "the execution role may do other things"
  }
}

run "what_scales_is_counted_by_scaling" {
  variables {
    cluster                   = { arn = "arn:aws:ecs:eu-west-1:111122223333:cluster/prod" }
    autoscaling               = { max_tasks = 8 }
    scraper_security_group_id = "sg-2a"
  }
  assert {
    condition = alltrue([
      length(aws_ecs_cluster.this) == 0,
      length(aws_ecs_service.fixed) == 0,
      aws_ecs_service.scaled[0].deployment_minimum_healthy_percent == 100,
      aws_ecs_service.scaled[0].deployment_maximum_percent == 200,
      aws_ecs_service.scaled[0].deployment_circuit_breaker[0].rollback,
      aws_appautoscaling_target.this[0].min_capacity == 2,
      aws_appautoscaling_target.this[0].max_capacity == 8,
      aws_appautoscaling_target.this[0].resource_id == "service/prod/weir",
    ])
    error_message = "it scales otherwise"
  }
  assert {
    condition     = [for rule in aws_security_group.this[0].ingress : "${rule.from_port}-${rule.to_port} ${join(" ", rule.security_groups)}"] == ["8080-8080 sg-2a"]
    error_message = "something else may come in"
  }
}

# Of a VPC, a cluster and a group that the same plan makes nothing is known yet.
run "it_can_be_planned_with_what_it_runs_in" {
  command = plan
  module {
    source = "./tests/beside"
  }
}

run "a_long_drain_fits" {
  command = plan
  variables {
    settings      = "{ leases: { duration: 1m }, pipelines: { p: {} } }"
    drain_timeout = 70
    stop_timeout  = 75
  }
}

run "a_drain_longer_than_the_stop_is_refused" {
  command = plan
  variables {
    drain_timeout = 26
  }
  expect_failures = [var.stop_timeout]
}

run "more_than_fargate_waits_is_refused" {
  command = plan
  variables {
    drain_timeout = 116
    stop_timeout  = 121
  }
  expect_failures = [var.stop_timeout]
}

run "a_lease_too_long_for_the_drain_is_refused" {
  command = plan
  variables {
    settings = "{ leases: { duration: 21s }, pipelines: { p: {} } }"
  }
  expect_failures = [var.drain_timeout]
}

run "a_lease_told_beside_the_parameter_is_looked_at_too" {
  command = plan
  variables {
    settings       = null
    settings_arn   = "arn:aws:ssm:eu-west-1:111122223333:parameter/weir/settings"
    lease_duration = 21
  }
  expect_failures = [var.drain_timeout]
}

run "a_drain_too_short_for_any_lease_is_refused" {
  command = plan
  variables {
    drain_timeout = 13
  }
  expect_failures = [var.drain_timeout]
}

run "settings_twice_are_refused" {
  command = plan
  variables {
    settings_arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/weir/settings"
  }
  expect_failures = [var.settings]
}

run "no_settings_are_refused" {
  command = plan
  variables {
    settings = null
  }
  expect_failures = [var.settings]
}

run "settings_without_pipelines_are_refused" {
  command = plan
  variables {
    settings = "application: weir"
  }
  expect_failures = [var.settings]
}

run "a_policy_that_is_none_is_refused" {
  command = plan
  variables {
    policy = "arn:aws:iam::111122223333:policy/weir"
  }
  expect_failures = [var.policy]
}

run "an_image_that_moves_is_refused" {
  command = plan
  variables {
    image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/weir:latest"
  }
  expect_failures = [var.image]
}

run "a_pair_that_fargate_has_not_is_refused" {
  command = plan
  variables {
    memory = 4096
  }
  expect_failures = [var.memory]
}

run "two_kinds_of_security_groups_are_refused" {
  command = plan
  variables {
    security_group_ids = ["sg-1a"]
  }
  expect_failures = [var.vpc_id]
}

run "variables_of_the_module_s_own_are_refused" {
  command = plan
  variables {
    environment = { WEIR_GRACE_PERIOD = "10s" }
  }
  expect_failures = [var.environment]
}

run "a_range_upside_down_is_refused" {
  command = plan
  variables {
    autoscaling = { min_tasks = 4, max_tasks = 2 }
  }
  expect_failures = [var.autoscaling]
}

run "a_name_too_long_for_its_roles_is_refused" {
  command = plan
  variables {
    name = "weir-of-the-team-that-reads-it-all"
  }
  expect_failures = [var.name]
}
