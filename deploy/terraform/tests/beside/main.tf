# The module twice, beside what it runs in: with a group of its own, and with one that is given.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "image" {
  type = string
}

variable "settings" {
  type = string
}

variable "policy" {
  type = string
}

resource "aws_ecs_cluster" "prod" {
  name = "prod"
}

resource "aws_vpc" "prod" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "prod" {
  vpc_id     = aws_vpc.prod.id
  cidr_block = "10.0.0.0/24"
}

resource "aws_security_group" "prod" {
  vpc_id = aws_vpc.prod.id
}

module "own" {
  source = "../.."

  image      = var.image
  settings   = var.settings
  policy     = var.policy
  cluster    = { arn = aws_ecs_cluster.prod.arn }
  vpc_id     = aws_vpc.prod.id
  subnet_ids = [aws_subnet.prod.id]
}

module "given" {
  source = "../.."

  name               = "given"
  image              = var.image
  settings           = var.settings
  policy             = var.policy
  cluster            = { arn = aws_ecs_cluster.prod.arn }
  security_group_ids = [aws_security_group.prod.id]
  subnet_ids         = [aws_subnet.prod.id]
}
