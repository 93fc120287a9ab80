"""Renders a chart with Helm's own engine, and prints its objects as a list in JSON.

usage: render.py CHART [VALUES]...    a refusal is printed on standard error, with exit code 1
"""

import json
import sys

import helm_python as helm
import yaml


def merged(into, values):
    """Maps are merged, as Helm does it; anything else is replaced."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merged(into[key], value)
        else:
            into[key] = value
    return into


def main():
    values = {}
    for path in sys.argv[2:]:
        with open(path) as file:
            merged(values, yaml.safe_load(file) or {})
    try:
        with helm.Chart.load(sys.argv[1]) as chart:
            chart.validate_schema(values)
            files = chart.render(values, name="weir", namespace="streaming")
    except helm.HelmError as refusal:
        sys.exit(str(refusal))
    texts = [text for path, text in sorted(files.items()) if not path.endswith("NOTES.txt")]
    print(json.dumps([object_ for text in texts for object_ in yaml.safe_load_all(text) if object_]))


if __name__ == "__main__":
    main()
