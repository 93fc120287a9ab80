"""What CloudFormation would make of a template, without CloudFormation.

    python tests/ship/stack.py TEMPLATE < SETS

SETS is a JSON list of maps of parameters. Prints a JSON list with, for each, either {"refused": [WHY, ...]}, from the
parameters' constraints and the rules, or {"resources": {...}, "outputs": {...}}: what is there by the conditions, with
each function resolved. What the template has and this doesn't know is an error, never passed on.
"""

import json
import re
import sys

import yaml

PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/weir/1",
    "AWS::StackName": "weir",
    "AWS::URLSuffix": "amazonaws.com",
}


class NoValue:
    """What is left out: `AWS::NoValue`."""


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags. It takes no aliases, so that none may be here."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise ValueError("CloudFormation refuses YAML's aliases")
        return super().compose_node(parent, index)


def tagged(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", tagged)


def text(value):
    """How CloudFormation holds a scalar: as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Stack:
    def __init__(self, template, given):
        self.template = template
        self.problems = []
        self.parameters = self.parameters_of(given)
        self.conditions = {}

    def parameters_of(self, given):
        declared = self.template["Parameters"]
        self.problems += [f"Parameters: [{name}] do not exist in the template" for name in given if name not in declared]
        return {name: self.parameter(name, of, given.get(name, of.get("Default"))) for name, of in declared.items()}

    def parameter(self, name, of, value):
        if value is None:
            self.problems.append(f"Parameters: [{name}] must have values")
            return ""
        value = text(value)
        why = None
        if "AllowedValues" in of and value not in map(text, of["AllowedValues"]):
            why = "must be one of " + ", ".join(map(text, of["AllowedValues"]))
        # The whole of it must match.
        if "AllowedPattern" in of and not re.fullmatch(of["AllowedPattern"], value):
            why = of.get("ConstraintDescription", f"must match {of['AllowedPattern']}")
        if of["Type"] == "Number":
            number = float(value)
            if not of.get("MinValue", number) <= number <= of.get("MaxValue", number):
                why = f"must be from {of['MinValue']} to {of['MaxValue']}"
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
        if len(value.encode()) > 4096:
            why = "must have 4,096 bytes at most"
        if why:
            self.problems.append(f"Parameter {name} {why}")
        return value.split(",") if of["Type"].startswith(("List<", "CommaDelimitedList")) else value

    def rules(self):
        for rule in self.template.get("Rules", {}).values():
            if "RuleCondition" in rule and not self.holds(rule["RuleCondition"], True):
                continue
            for assertion in rule["Assertions"]:
                if not self.holds(assertion["Assert"], True):
                    self.problems.append(assertion["AssertDescription"])

    def holds(self, what, in_rule=False):
        """A condition, or an assertion of a rule. In both only some functions may stand."""
        ((function, of),) = what.items()
        if function == "Condition" and not in_rule:
            if of not in self.conditions:
                self.conditions[of] = self.holds(self.template["Conditions"][of])
            return self.conditions[of]
        if function == "Fn::Equals":
            one, other = (self.plain(value) for value in of)
            return one == other
        if function == "Fn::Not":
            (inner,) = of
            return not self.holds(inner, in_rule)
        if function in ("Fn::And", "Fn::Or"):
            assert 2 <= len(of) <= 10, f"{function} takes two to ten"
            every = [self.holds(inner, in_rule) for inner in of]
            return all(every) if function == "Fn::And" else any(every)
        if function == "Fn::Contains" and in_rule:
            values, value = of
            return self.plain(value) in [self.plain(one) for one in values]
        raise ValueError(f"{function} can't stand here")

    def plain(self, value):
        """A text, or a parameter's value."""
        if isinstance(value, dict):
            (name,) = (value["Ref"],) if list(value) == ["Ref"] else (None,)
            return self.parameters[name] if name in self.parameters else PSEUDO[name]
        return text(value)

    def named(self, name):
        if name in self.parameters:
            return self.parameters[name]
        if name in PSEUDO:
            return PSEUDO[name]
        return self.resource(name)

    def resource(self, name, attribute=None):
        of = self.template["Resources"][name]
        if "Condition" in of and not self.holds({"Condition": of["Condition"]}):
            raise ValueError(f"{name} is not there, and is referred to")
        if attribute is None and of["Type"] == "AWS::Logs::LogGroup":
            return self.value(of["Properties"]["LogGroupName"])
        return f"<{name}.{attribute}>" if attribute else f"<{name}>"

    def value(self, what):
        if isinstance(what, list):
            every = [self.value(one) for one in what]
            return [one for one in every if one is not NoValue]
        if not isinstance(what, dict):
            return what
        function = next(iter(what), "")
        if len(what) == 1 and (function == "Ref" or function.startswith("Fn::")):
            return self.call(function, what[function])
        every = {key: self.value(one) for key, one in what.items()}
        return {key: one for key, one in every.items() if one is not NoValue}

    def call(self, function, of):
        if function == "Ref":
            return NoValue if of == "AWS::NoValue" else self.named(of)
        if function == "Fn::GetAtt":
            name, attribute = of
            return self.resource(name, attribute)
        if function == "Fn::If":
            condition, then, otherwise = of
            return self.value(then if self.holds({"Condition": condition}) else otherwise)
        if function == "Fn::Sub":
            return self.sub(*(of if isinstance(of, list) else [of, {}]))
        if function == "Fn::FindInMap":
            name, first, second = (self.value(one) for one in of)
            return self.template["Mappings"][name][first][second]
        if function == "Fn::Join":
            delimiter, parts = of
            # "You can't use any functions" for it.
            assert isinstance(delimiter, str), "a delimiter is a literal"
            parts = self.value(parts)
            assert isinstance(parts, list), parts
            return delimiter.join(text(part) for part in parts)
        if function == "Fn::Split":
            delimiter, source = of
            assert isinstance(delimiter, str) and delimiter, "a delimiter is a literal"
            source = self.value(source)
            assert isinstance(source, str), source
            return source.split(delimiter)
        if function == "Fn::Select":
            index, parts = (self.value(one) for one in of)
            assert 0 <= int(index) < len(parts), f"there is no {index} in {parts}"
            return parts[int(index)]
        raise ValueError(f"{function} is not known here")

    def sub(self, template, variables):
        variables = {name: self.value(one) for name, one in variables.items()}

        def named(match):
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in variables:
                return text(variables[name])
            resource, _, attribute = name.partition(".")
            return text(self.resource(resource, attribute) if attribute else self.named(name))

        return re.sub(r"\$\{([^}]*)\}", named, template)

    def made(self):
        self.rules()
        if self.problems:
            return {"refused": self.problems}
        there = {
            name: of
            for name, of in self.template["Resources"].items()
            if "Condition" not in of or self.holds({"Condition": of["Condition"]})
        }
        resources = {
            name: {"Type": of["Type"], "Properties": self.value(of.get("Properties", {}))} for name, of in there.items()
        }
        outputs = {name: self.value(of["Value"]) for name, of in self.template["Outputs"].items()}
        return {"resources": resources, "outputs": outputs}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        template = yaml.load(file, Loader)
    json.dump([Stack(template, given).made() for given in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
