"""What moto, an implementation that others wrote, makes of a template: to hold `stack.py` against.

    python tests/ship/stack_by_moto.py TEMPLATE < SETS

Prints, for each set of parameters, the policies of the roles, and the container.
"""

import ast
import json
import os
import sys
import warnings

import yaml

from stack import PSEUDO, Loader

warnings.simplefilter("ignore")
os.environ |= {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "MOTO_ACCOUNT_ID": PSEUDO["AWS::AccountId"],
}
import boto3  # noqa: E402
from moto import mock_aws  # noqa: E402

REGION = PSEUDO["AWS::Region"]


def inlined(what, conditions):
    """Conditions inside of others stand there themselves: moto knows no `Condition` there."""
    if isinstance(what, dict):
        if list(what) == ["Condition"]:
            return inlined(conditions[what["Condition"]], conditions)
        return {key: inlined(one, conditions) for key, one in what.items()}
    return [inlined(one, conditions) for one in what] if isinstance(what, list) else what


def there(what):
    """Without what is left out: moto leaves a null."""
    if isinstance(what, dict):
        return {key: there(one) for key, one in what.items() if one is not None}
    return [there(one) for one in what if one is not None] if isinstance(what, list) else what


def made(template, parameters):
    name = PSEUDO["AWS::StackName"]
    cloudformation = boto3.client("cloudformation", REGION)
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=template,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
    )
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources if "LogicalResourceId" in one}
    iam = boto3.client("iam", REGION)
    roles = {}
    for role in ("TaskRole", "ExecutionRole"):
        named = iam.list_role_policies(RoleName=ids[role])["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=ids[role], PolicyName=one)["PolicyDocument"] for one in named]
        # moto holds a document as Python writes it.
        roles[role] = [there(ast.literal_eval(one) if isinstance(one, str) else one) for one in documents]
    ecs = boto3.client("ecs", REGION)
    task = ecs.describe_task_definition(taskDefinition=ids["TaskDefinition"])["taskDefinition"]
    return {"roles": roles, "container": there(task["containerDefinitions"][0])}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        template = yaml.load(file, Loader)
    template["Conditions"] = inlined(template["Conditions"], template["Conditions"])
    text = json.dumps(template)
    stacks = []
    for parameters in json.load(sys.stdin):
        # Each in an account of its own.
        with mock_aws():
            stacks.append(made(text, parameters))
    json.dump(stacks, sys.stdout)


if __name__ == "__main__":
    main()
