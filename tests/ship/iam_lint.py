"""What parliament finds in policies.

    python tests/ship/iam_lint.py < POLICIES

POLICIES is a JSON map of names to policy documents. Prints a JSON list of what was found and is not known to be wrong.
Each statement is looked at alone, so that a finding tells which.
"""

import json
import re
import sys
import warnings

# It asks for a module of setuptools' that warns of its end.
warnings.simplefilter("ignore")
from parliament import analyze_policy_string  # noqa: E402

# Where parliament is wrong: what it says, of which resources, and why that is wrong. One that is no longer said must go.
KNOWN = [
    (
        r"RESOURCE_MISMATCH logs:(DescribeAccountPolicies|DescribeLogGroups)",
        r"arn:aws:logs:[a-z0-9-]+:\d{12}:\*",
        "the reference names no resource; CloudWatch Logs asks for arn:aws:logs:REGION:ACCOUNT:* where no group is named, "
        "as its denials of DescribeLogGroups say",
    ),
    (
        r"RESOURCE_MISMATCH kinesis:DescribeStreamConsumer",
        r"arn:aws:kinesis:[a-z0-9-]+:\d{12}:stream/[^/]+",
        "asked by the stream's ARN and the consumer's name; the consumer's ARN is in another statement",
    ),
    (
        r"RESOURCE_MISMATCH dynamodb:(DescribeStream|GetRecords|GetShardIterator)",
        r"arn:aws:dynamodb:[a-z0-9-]+:\d{12}:table/[^/]+/stream/[0-9T:.-]+",
        "it takes an ARN apart at each colon, and a stream's label has some",
    ),
    (
        r"UNKNOWN_CONDITION_FOR_ACTION Unknown condition kms:ResourceAliases for action kms:\w+",
        r"arn:aws:kms:[a-z0-9-]+:\d{12}:key/\*",
        "the reference lists this condition with the key, for every action on one",
    ),
]


def listed(value):
    return value if isinstance(value, list) else [value]


def said(finding):
    """A finding as lines of text; one of a mismatch has a line for each action."""
    if finding.issue == "RESOURCE_MISMATCH":
        return [f"{finding.issue} {one['action']}" for one in finding.detail]
    return [f"{finding.issue} {finding.detail}"]


def main():
    found, met = [], set()
    for name, policy in json.load(sys.stdin).items():
        for statement in policy["Statement"]:
            alone = json.dumps({"Version": policy["Version"], "Statement": [statement]})
            resources = listed(statement["Resource"])
            for line in (line for finding in analyze_policy_string(alone).findings for line in said(finding)):
                known = [
                    number
                    for number, (says, of, _) in enumerate(KNOWN)
                    if re.fullmatch(says, line) and all(re.fullmatch(of, resource) for resource in resources)
                ]
                met.update(known)
                if not known:
                    found.append(f"{name}, {statement.get('Sid')}: {line}")
    found += [f"never said: {says}" for number, (says, _, _) in enumerate(KNOWN) if number not in met]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
