output "service_name" {
  description = "The service."
  value       = one(concat(aws_ecs_service.fixed[*].name, aws_ecs_service.scaled[*].name))
}

output "cluster_arn" {
  description = "The cluster it is in."
  value       = local.cluster_arn
}

output "task_role_arn" {
  description = "The role that Weir has."
  value       = aws_iam_role.task.arn
}

output "execution_role_arn" {
  description = "The role that ECS has to start it."
  value       = aws_iam_role.execution.arn
}

output "security_group_ids" {
  description = "The security groups of the tasks."
  value       = local.security_group_ids
}

output "own_log_group" {
  description = "Where Weir's own log is."
  value       = aws_cloudwatch_log_group.own.name
}
