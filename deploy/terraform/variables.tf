variable "name" {
  description = "Names the service, its roles and its log group."
  type        = string
  default     = "weir"

  validation {
    # A role's name_prefix has 38 characters at most.
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]{0,30}$", var.name))
    error_message = "name must be 1 to 31 letters, digits, - and _."
  }
}

variable "image" {
  description = "The image, by a tag that is never moved or by its digest, as in 111122223333.dkr.ecr.eu-west-1.amazonaws.com/weir:0.1.0. Of one in ECR the execution role may pull that repository."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9.:-]+(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image must name its registry and its tag or digest, and not the tag latest, which moves."
  }
}

variable "settings" {
  description = "All settings: the text of weir.yaml, as by file(\"weir.yaml\"). Or settings_arn."
  type        = string
  default     = null

  validation {
    condition     = (var.settings == null) != (var.settings_arn == null)
    error_message = "Give one of settings and settings_arn."
  }
  validation {
    condition     = var.settings == null || can(keys(yamldecode(var.settings).pipelines))
    error_message = "settings must be YAML with pipelines; weir check -c weir.yaml says more."
  }
}

variable "settings_arn" {
  description = "Instead of settings, the SSM parameter or the secret of Secrets Manager that holds them."
  type        = string
  default     = null

  validation {
    condition     = var.settings_arn == null || can(regex("^arn:aws[a-z-]*:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:)", var.settings_arn))
    error_message = "settings_arn must be the ARN of an SSM parameter or of a secret of Secrets Manager."
  }
}

variable "policy" {
  description = "What these settings need: weir iam-policy -c weir.yaml --account ID prints it, as JSON or, with --as terraform, as a data source."
  type        = string

  validation {
    condition     = can(length(jsondecode(var.policy).Statement))
    error_message = "policy must be a policy document in JSON."
  }
}

variable "secrets" {
  description = "Other variables that the settings have, such as WEIR_REDACT_KEY, and the ARNs of the SSM parameters or secrets that hold them."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.secrets), "WEIR_CONFIG_TEXT")
    error_message = "secrets can't hold WEIR_CONFIG_TEXT: that is settings_arn."
  }
  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:aws[a-z-]*:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:)", arn))])
    error_message = "secrets must be ARNs of SSM parameters or of secrets of Secrets Manager."
  }
}

variable "secret_key_arns" {
  description = "The keys of your own in KMS that settings_arn and secrets are encrypted with."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "Other variables of the container, such as WEIR_LOG."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.environment), ["AWS_REGION", "WEIR_CONFIG", "WEIR_CONFIG_TEXT", "WEIR_DRAIN_TIMEOUT", "WEIR_GRACE_PERIOD", "WEIR_HTTP_ADDRESS"])) == 0
    error_message = "environment can't hold AWS_REGION, WEIR_CONFIG, WEIR_CONFIG_TEXT, WEIR_DRAIN_TIMEOUT, WEIR_GRACE_PERIOD and WEIR_HTTP_ADDRESS: the module sets them."
  }
}

variable "cluster" {
  description = "The ECS cluster, as in { arn = aws_ecs_cluster.prod.arn }. Without one, a cluster is made."
  type        = object({ arn = string })
  default     = null
}

variable "subnet_ids" {
  description = "Subnets that reach AWS by a NAT gateway or by VPC endpoints, or public ones with assign_public_ip. Two zones or more."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids must name a subnet."
  }
}

variable "vpc_id" {
  description = "The VPC of the subnets, in which a security group without ingress is made. Or security_group_ids."
  type        = string
  default     = null

  validation {
    condition     = (var.vpc_id == null) != (length(var.security_group_ids) == 0)
    error_message = "Give vpc_id, and a security group is made in it, or security_group_ids of your own."
  }
}

variable "security_group_ids" {
  description = "Security groups of your own for the tasks."
  type        = list(string)
  default     = []
}

variable "scraper_security_group_id" {
  description = "The security group that may reach the status page and the metrics on port 8080; with vpc_id."
  type        = string
  default     = null

  validation {
    condition     = var.scraper_security_group_id == null || var.vpc_id != null
    error_message = "scraper_security_group_id opens the group that is made with vpc_id. Open your own yourself."
  }
}

variable "assign_public_ip" {
  description = "For public subnets, where nothing else leads to AWS."
  type        = bool
  default     = false
}

variable "cpu_architecture" {
  description = "What the image was built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "cpu" {
  description = "Of a task; 1024 is one vCPU."
  type        = number
  default     = 256
}

variable "memory" {
  description = "Of a task, in MiB. Weir holds half of it at most in records."
  type        = number
  default     = 512

  validation {
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
    condition = contains(lookup({
      256  = [512, 1024, 2048]
      512  = range(1024, 4097, 1024)
      1024 = range(2048, 8193, 1024)
      2048 = range(4096, 16385, 1024)
      4096 = range(8192, 30721, 1024)
    }, tostring(var.cpu), []), var.memory)
    error_message = "Fargate has no task with ${var.cpu} CPU units and ${var.memory} MiB."
  }
}

variable "desired_count" {
  description = "How many tasks run, without autoscaling. One shard is read by one task."
  type        = number
  default     = 2

  validation {
    condition     = var.desired_count >= 0 && floor(var.desired_count) == var.desired_count
    error_message = "desired_count must be a whole number."
  }
}

variable "autoscaling" {
  description = "Between how many tasks the service scales, and the use of the CPU, in per cent, that it holds."
  type = object({
    min_tasks  = optional(number, 2)
    max_tasks  = number
    cpu_target = optional(number, 60)
  })
  default = null

  validation {
    condition     = var.autoscaling == null || try(1 <= var.autoscaling.min_tasks && var.autoscaling.min_tasks <= var.autoscaling.max_tasks, false)
    error_message = "autoscaling must have 1 <= min_tasks <= max_tasks."
  }
}

variable "drain_timeout" {
  description = "How long a task that is stopped may take to deliver what is in flight and to hand over, in seconds."
  type        = number
  default     = 25

  validation {
    # A hand-over waits for an heir, who needs a share of the lease's duration to come.
    condition     = var.drain_timeout >= 1.1 * local.lease_seconds + 2.8
    error_message = "drain_timeout must be at least 1.1 times leases.duration and 2.8 s: ${1.1 * local.lease_seconds + 2.8} s for leases of ${local.lease_seconds} s. Let it be longer, or leases.duration shorter."
  }
}

variable "stop_timeout" {
  description = "How long Fargate waits between SIGTERM and SIGKILL, in seconds."
  type        = number
  default     = 30

  validation {
    condition     = var.stop_timeout >= var.drain_timeout + 5
    error_message = "stop_timeout must be 5 s longer than drain_timeout at least: ${var.drain_timeout + 5} s."
  }
  validation {
    condition     = var.stop_timeout <= 120
    error_message = "stop_timeout must be 120 s at most: Fargate waits no longer."
  }
}

variable "lease_duration" {
  description = "leases.duration of the settings, in seconds, where they are in settings_arn. Of settings it is read."
  type        = number
  default     = 10
}

variable "own_log_retention_days" {
  description = "How long Weir's own log is kept."
  type        = number
  default     = 30
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of both roles, if your account asks for one."
  type        = string
  default     = null
}

variable "tags" {
  description = "Of everything that is made."
  type        = map(string)
  default     = {}
}
