# Weir on ECS Fargate: a service with roles of least privilege. docs/ecs.md says how to use it.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id
  account   = data.aws_caller_identity.current.account_id

  # leases.duration of the settings, in seconds. 10 s is the program's default.
  lease_text    = try(tostring(yamldecode(var.settings).leases.duration), "")
  lease_parts   = try(regex("^([0-9.]+) *(ms|s|m)$", local.lease_text), null)
  lease_seconds = local.lease_parts == null ? var.lease_duration : tonumber(local.lease_parts[0]) * { ms = 0.001, s = 1, m = 60 }[local.lease_parts[1]]

  # An image in ECR names its registry's account and region, and its repository.
  ecr = try(regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.amazonaws\\.com(?:\\.cn)?/(?P<name>[^:@]+)", var.image), null)

  own_log = "/weir/ecs/${var.name}"

  secrets    = merge(var.secrets, var.settings_arn == null ? {} : { WEIR_CONFIG_TEXT = var.settings_arn })
  parameters = sort(distinct([for arn in values(local.secrets) : arn if strcontains(arn, ":ssm:")]))
  # A secret may be followed by the key, stage and version of what is taken of it.
  vaults = sort(distinct([for arn in values(local.secrets) : join(":", slice(split(":", arn), 0, 7)) if strcontains(arn, ":secretsmanager:")]))

  environment = merge(
    var.environment,
    {
      AWS_REGION         = local.region
      WEIR_HTTP_ADDRESS  = "0.0.0.0:8080"
      WEIR_DRAIN_TIMEOUT = "${var.drain_timeout}s"
      WEIR_GRACE_PERIOD  = "${var.stop_timeout}s"
    },
    var.settings == null ? {} : { WEIR_CONFIG_TEXT = var.settings },
  )

  # Whether there is one of your own must be known before it is made: the length of a list is, and an object that holds
  # an ARN; the ARN is not.
  security_group_ids = length(var.security_group_ids) == 0 ? [aws_security_group.this[0].id] : var.security_group_ids
  cluster_arn        = var.cluster == null ? aws_ecs_cluster.this[0].arn : var.cluster.arn
}

# Weir's own log. No pipeline should write to it, lest it feeds itself.
resource "aws_cloudwatch_log_group" "own" {
  name              = local.own_log
  retention_in_days = var.own_log_retention_days
  tags              = var.tags
}

# What ECS itself does for a task, before Weir runs: fetch the image and the secrets, and write Weir's own log.
resource "aws_iam_role" "execution" {
  name_prefix          = "${var.name}-start-"
  description          = "What ECS needs to start Weir"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid      = "OwnLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.own_log}:*"]
      }],
      local.ecr == null ? [] : [
        {
          # It takes no resource.
          Sid      = "Registry"
          Effect   = "Allow"
          Action   = ["ecr:GetAuthorizationToken"]
          Resource = ["*"]
        },
        {
          Sid      = "Image"
          Effect   = "Allow"
          Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          Resource = ["arn:${local.partition}:ecr:${local.ecr.region}:${local.ecr.account}:repository/${local.ecr.name}"]
        },
      ],
      length(local.parameters) == 0 ? [] : [{
        Sid      = "Parameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = local.parameters
      }],
      length(local.vaults) == 0 ? [] : [{
        Sid      = "Secrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = local.vaults
      }],
      length(var.secret_key_arns) == 0 ? [] : [{
        Sid      = "SecretsKeys"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = var.secret_key_arns
      }],
    )
  })
}

# What Weir does: by `weir iam-policy`.
resource "aws_iam_role" "task" {
  name_prefix          = "${var.name}-"
  description          = "What Weir needs for its job"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${local.account}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "task" {
  name   = "job"
  role   = aws_iam_role.task.name
  policy = var.policy
}

resource "aws_ecs_cluster" "this" {
  count = var.cluster == null ? 1 : 0
  name  = var.name
  tags  = var.tags
}

# Nothing comes in, unless the scraper does; out goes HTTPS, to AWS.
resource "aws_security_group" "this" {
  count       = length(var.security_group_ids) == 0 ? 1 : 0
  name_prefix = "${var.name}-"
  description = "Weir"
  vpc_id      = var.vpc_id
  tags        = var.tags

  egress {
    description      = "AWS"
    protocol         = "tcp"
    from_port        = 443
    to_port          = 443
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  dynamic "ingress" {
    for_each = var.scraper_security_group_id == null ? [] : [var.scraper_security_group_id]
    content {
      description     = "Status page and metrics"
      protocol        = "tcp"
      from_port       = 8080
      to_port         = 8080
      security_groups = [ingress.value]
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name      = "weir"
    image     = var.image
    command   = ["run"]
    essential = true
    # Weir takes a quarter of the container's limit for records.
    memory                 = var.memory
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    environment            = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]
    secrets                = [for name in sort(keys(local.secrets)) : { name = name, valueFrom = local.secrets[name] }]
    portMappings           = [{ name = "http", containerPort = 8080, hostPort = 8080, protocol = "tcp" }]
    # Asks /livez, which fails only for what a restart cures; and whether the task has been ready once, so that a deploy
    # of what never gets ready is rolled back while the old tasks go on.
    healthCheck = {
      command     = ["CMD", "/usr/local/bin/weir", "health", "--started"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 120
    }
    stopTimeout = var.stop_timeout
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.own.name
        "awslogs-region"        = local.region
        "awslogs-stream-prefix" = "weir"
        # Weir's own log must not hold up Weir.
        "mode"            = "non-blocking"
        "max-buffer-size" = "4m"
      }
    }
  }])

  # A task must not start before its roles may do anything.
  depends_on = [aws_iam_role_policy.execution, aws_iam_role_policy.task]
}

# Two, of which one is there: what Terraform ignores can't depend on a variable. Who goes from one to the other moves it
# in the state first, or nobody reads in between (docs/ecs.md).
resource "aws_ecs_service" "fixed" {
  count           = var.autoscaling == null ? 1 : 0
  name            = var.name
  cluster         = local.cluster_arn
  launch_type     = "FARGATE"
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.desired_count

  # The new ones start first, and the old ones hand over to them.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = var.tags

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = local.security_group_ids
    assign_public_ip = var.assign_public_ip
  }
}

resource "aws_ecs_service" "scaled" {
  count           = var.autoscaling == null ? 0 : 1
  name            = var.name
  cluster         = local.cluster_arn
  launch_type     = "FARGATE"
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.autoscaling.min_tasks

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = var.tags

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = local.security_group_ids
    assign_public_ip = var.assign_public_ip
  }

  lifecycle {
    # An apply must not undo what scaling did.
    ignore_changes = [desired_count]
  }
}

resource "aws_appautoscaling_target" "this" {
  count              = var.autoscaling == null ? 0 : 1
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  # A cluster's ARN ends with its name.
  resource_id  = "service/${element(split("/", local.cluster_arn), -1)}/${aws_ecs_service.scaled[0].name}"
  min_capacity = var.autoscaling.min_tasks
  max_capacity = var.autoscaling.max_tasks
  tags         = var.tags
}

resource "aws_appautoscaling_policy" "cpu" {
  count              = var.autoscaling == null ? 0 : 1
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[0].resource_id

  target_tracking_scaling_policy_configuration {
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
    target_value = var.autoscaling.cpu_target
    # A task that goes hands over its shards; so seldom.
    scale_out_cooldown = 60
    scale_in_cooldown  = 600
  }
}
