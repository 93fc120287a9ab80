"""Renders the chart many times in one process, and says what Helm's linter and Kubernetes' schemas think of it.

Reads from standard input, in JSON:

    {"kubernetes": ["1.29"], "cases": [{"files": [PATH], "text": "", "values": {}, "release": "weir", "lint": true}]}

(`text` is a file of values, read as Helm reads one, in YAML 1.1) and prints `cases`, a list with an item for each: `refusal` (Helm's words) or `objects` and `notes`; `lint`, what the strict
linter found; `invalid`, what the schemas of the named versions of Kubernetes refuse; `unknown`, the objects that they
don't know (custom resources). With `"package": true` also `package`: the files of the packaged chart.
"""

import functools
import json
import sys
import tarfile
import tempfile

import helm_python as helm
import kubernetes_validate
import yaml
from yaml import CSafeLoader as Loader

sys.path.append("tests/ship")
from render import merged  # noqa: E402

CHART = "helm/weir"

# It reads the same files of a megabyte again for each object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def validated(objects, versions):
    invalid, unknown = [], []
    for object_ in objects:
        told = f"{object_['kind']}/{object_['metadata']['name']}"
        try:
            for version in versions:
                kubernetes_validate.validate(object_, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            invalid.append(f"{told} for {version}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(object_)
    return {"invalid": invalid, "unknown": unknown}


def judged(chart, case, versions):
    values = {}
    for path in case.get("files", []):
        with open(path) as file:
            merged(values, yaml.safe_load(file) or {})
    merged(values, helm.values_from_yaml(case.get("text", "{}")))
    merged(values, case.get("values", {}))
    try:
        # Rendering validates by the schema, too.
        files = chart.render(values, name=case.get("release", "weir"), namespace="streaming")
    except helm.HelmError as refusal:
        return {"refusal": str(refusal)}
    notes = [text for path, text in files.items() if path.endswith("NOTES.txt")]
    texts = [text for path, text in sorted(files.items()) if not path.endswith("NOTES.txt")]
    objects = [object_ for text in texts for object_ in yaml.load_all(text, Loader) if object_]
    found = {"objects": objects, "notes": "".join(notes), "lint": [], **validated(objects, versions)}
    if case.get("lint"):
        report = helm.lint(CHART, values, strict=True)
        # Severity 1 is information: no icon.
        found["lint"] = [str(message) for message in report["messages"] if message["severity"] > 1] + report["errors"]
    return found


def packaged():
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(helm.package(CHART, destination=place)) as archive:
            return archive.getnames()


def main():
    order = json.load(sys.stdin)
    with helm.Chart.load(CHART) as chart:
        answer = {"cases": [judged(chart, case, order.get("kubernetes", [])) for case in order["cases"]]}
    if order.get("package"):
        answer["package"] = packaged()
    print(json.dumps(answer))


main()
