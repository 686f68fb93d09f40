"""What every judge needs: the binary, the demo project, and a check that counts and explains."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

BINARY = os.environ["SEXTANT_BIN"]
PROJECT = pathlib.Path(os.environ["SEXTANT_PROJECT"])
URL = os.environ["SEXTANT_URL"]
ARTIFACTS = pathlib.Path(os.environ["SEXTANT_ARTIFACTS"])

failures = []
checks = 0


def run(*arguments, project=PROJECT, expect=0):
    """Runs the binary with --json and gives what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "SEXTANT_PROJECT"}
    done = subprocess.run(
        [BINARY, *map(str, arguments), "--json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != expect:
        sys.exit(f"sextant {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def check(condition, what, told=True):
    """Counts a check and says how it went; a judge goes on after a failure. `told` is false for one
    of very many alike, which are then only named when they fail."""
    global checks
    checks += 1
    if not condition:
        failures.append(what)
        print(f"   NOT: {what}", flush=True)
    elif told:
        print(f"   ok   {what}", flush=True)


def close(at_least):
    """Prints the count and ends the judge. Fewer checks than `at_least` mean that it was led past
    what it is there for, which is a failure too."""
    print(f"   {checks} checks, {len(failures)} failed")
    if checks < at_least:
        sys.exit(f"   NOT: at least {at_least} checks were wanted")
    sys.exit(1 if failures else 0)


def find(value, wanted):
    """Every value under the key `wanted`, anywhere inside."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == wanted:
                yield inner
            yield from find(inner, wanted)
    elif isinstance(value, list):
        for inner in value:
            yield from find(inner, wanted)


def blob(digest, project=PROJECT):
    """The bytes that a digest names, found by their file name and checked by their hash."""
    hexadecimal = digest.removeprefix("sha256:")
    for path in (project / ".sextant" / "blobs").rglob("*"):
        if path.is_file() and hexadecimal.endswith(path.name):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == hexadecimal:
                return data
    return None
