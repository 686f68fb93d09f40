"""What is asked? Reads `requests/*.txt`, where a line is a request:

    label | METHOD path | body | name=path.in.the.answer … | Header: value ;; …

The last three may be left out. A path without a leading slash lies under `/api/2.0/mlflow/`, one that
begins with `3:` under `/api/3.0/mlflow/`; it is sent as it is written. A body is sent as it is written,
as JSON; one that begins with `text:` is not JSON, one that begins with `file:` is the bytes after it.
`$name` stands for a value of an earlier answer, `$$` for a dollar, `@rep(3)«ab»` for `ababab`, and
`@list(2)«{"n":#}»` for `{"n":0},{"n":1}`. Lines that begin with `#` and empty lines are skipped."""

import dataclasses
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).parent / "requests"
PREFIXES = {"2": "/api/2.0/mlflow/", "3": "/api/3.0/mlflow/"}
MAKER = re.compile(r"@(rep|list)\((\d+)\)«(.*?)»")
VARIABLE = re.compile(r"\$(\$|[a-z][a-z0-9_]*)")


@dataclasses.dataclass
class Request:
    area: str
    label: str
    method: str
    path: str
    body: str | None
    captures: dict
    headers: dict

    @property
    def name(self):
        return f"{self.area}/{self.label}"


def read(areas=None):
    """Every request of the areas, in the order in which they are sent."""
    requests = []
    for file in sorted(FOLDER.glob("*.txt")):
        area = file.stem.split("_", 1)[1]
        if areas and area not in areas:
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    requests.append(parse(area, line))
                except ValueError as wrong:
                    sys.exit(f"{file.name}:{number}: {wrong}")
    names = [request.name for request in requests]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        sys.exit(f"requests with the same name: {', '.join(sorted(twice))}")
    return requests


def parse(area, line):
    fields = [field.strip() for field in re.split(r"(?:^|\s)\|(?=\s|$)", line)]
    if not 2 <= len(fields) <= 5:
        raise ValueError(f"{len(fields)} fields")
    label, target, body, captures, headers = fields + [""] * (5 - len(fields))
    method, path = target.split(" ", 1)
    version, colon, rest = path.partition(":")
    if colon and version in PREFIXES:
        path = PREFIXES[version] + rest
    elif not path.startswith("/"):
        path = PREFIXES["2"] + path
    return Request(
        area,
        label,
        method,
        path,
        body or None,
        dict(pair.split("=", 1) for pair in captures.split()),
        dict(pair.split(": ", 1) for pair in headers.split(" ;; ") if pair),
    )


def fill(text, values):
    """The text with the variables of one server in it."""

    def make(found):
        kind, count, inner = found[1], int(found[2]), found[3]
        if kind == "rep":
            return inner * count
        return ",".join(inner.replace("#", str(number)) for number in range(count))

    known = values | {"$": "$"}
    return MAKER.sub(make, VARIABLE.sub(lambda found: str(known[found[1]]), text))
