"""Holds a bill of materials against CycloneDX's schema: bill.py FILE... Prints what is wrong, and fails then."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL

spdx = get_spdx_licensing()
wrong = []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if found:
        wrong.append(f"{path}: {found}")
        continue
    for component in json.loads(text)["components"]:
        # The schema knows texts alone.
        purl = PackageURL.from_string(component["purl"])
        if (purl.name, purl.version) != (component["name"], component["version"]):
            wrong.append(f"{path}: {purl} names another than {component['name']} {component['version']}")
        for licence in component["licenses"]:
            unknown = spdx.validate(licence["expression"]).errors
            wrong += [f"{path}: {component['name']}: {error}" for error in unknown]
print("\n".join(wrong))
sys.exit(bool(wrong))
