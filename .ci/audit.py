"""Judge what pip-audit found out about the locked dependencies: `audit.py REPORT`, its JSON, which may be missing.

A known vulnerability fails. Where the advisory data cannot be had, a line says so, and it is no failure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    """Print the judgement; the exit code is 1 where a dependency has a known vulnerability."""
    report = Path(sys.argv[1])
    dependencies = json.loads(report.read_text())["dependencies"] if report.exists() else []
    audited = [each for each in dependencies if "vulns" in each]
    skipped = [each for each in dependencies if "vulns" not in each]
    if not audited:
        print("audit: the advisory data cannot be had here; no dependency was audited")
        return 0
    found = [(each, advisory) for each in audited for advisory in each["vulns"]]
    for each, advisory in found:
        fixed = ", ".join(advisory.get("fix_versions") or ()) or "no version"
        print(f"audit: {each['name']} {each['version']}: {advisory['id']}, fixed in {fixed}", file=sys.stderr)
    for each in skipped:
        print(f"audit: {each['name']} was not audited: {each.get('skip_reason', 'no reason given')}")
    print(f"audit: {len(audited)} locked dependencies audited, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
