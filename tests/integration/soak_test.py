#!/usr/bin/env python3
"""The soak of the soft engine (scripts/soak), for half a minute.

usage: tests/integration/soak_test.py TRAPEZE
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import ROOT, Checks, run  # noqa: E402


def main():
    program = Path(sys.argv[1]).resolve().parent / "tests" / "soak"
    check = Checks()
    result = run([ROOT / "scripts" / "soak", "--minutes", "0.5", "--soak", program], timeout=600)
    check.equal(result.status, 0, "half a minute", result)
    check.contains(result.output, "soak: done", "it came to its end")
    check.contains(result.output, "soak: clean", "all results are right")
    check.finish()


if __name__ == "__main__":
    main()
