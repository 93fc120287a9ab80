data "aws_iam_policy_document" "weir" {
  statement {
    sid       = "StateTables"
    actions   = ["dynamodb:CreateTable", "dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = ["arn:aws:dynamodb:eu-west-1:111122223333:table/weir", "arn:aws:dynamodb:eu-west-1:111122223333:table/weir-fleet"]
  }
  statement {
    sid       = "Leases"
    actions   = ["dynamodb:GetItem", "dynamodb:Scan"]
    resources = ["arn:aws:dynamodb:eu-west-1:111122223333:table/weir"]
  }
  statement {
    sid       = "Fleet"
    actions   = ["dynamodb:Query"]
    resources = ["arn:aws:dynamodb:eu-west-1:111122223333:table/weir-fleet"]
  }
  statement {
    sid       = "TableOrders"
    actions   = ["dynamodb:DescribeTable"]
    resources = ["arn:aws:dynamodb:eu-west-1:111122223333:table/orders"]
  }
  statement {
    sid       = "ReadOrders"
    actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
    resources = ["arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/*"]
  }
  statement {
    sid       = "ListOrders"
    actions   = ["dynamodb:ListStreams"]
    resources = ["*"]
  }
  statement {
    sid       = "WriteOrders"
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:GetLogEvents", "logs:PutLogEvents", "logs:PutRetentionPolicy"]
    resources = ["arn:aws:logs:eu-west-1:111122223333:log-group:/cdc/orders", "arn:aws:logs:eu-west-1:111122223333:log-group:/cdc/orders:*"]
  }
}
