# A table's changes, by two tasks. policy.tf is what `weir iam-policy -c weir.yaml --account 111122223333 --region
# eu-west-1 --as terraform` prints: print yours.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

module "weir" {
  source = "../.."

  image      = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/weir:0.1.0"
  settings   = file("${path.module}/weir.yaml")
  policy     = data.aws_iam_policy_document.weir.json
  vpc_id     = var.vpc_id
  subnet_ids = var.subnet_ids
}
