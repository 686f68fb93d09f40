"""What a program notes for the judge: every value that a user of the tracking server would see."""

import atexit
import json
import math
import re
import sys

_seen = {}


def seen(name, value):
    if name in _seen:
        raise ValueError(f"{name} is noted twice")
    _seen[name] = plain(value)


def refused(name, action, *arguments, **named):
    """Notes how an action is refused; one that is not is noted as such."""
    try:
        action(*arguments, **named)
    except Exception as error:
        code = getattr(error, "error_code", "")
        seen(name, [type(error).__name__, code, text_of(error)])
    else:
        seen(name, "was allowed")


def text_of(error):
    # The address of what was asked holds ids in a form of its own.
    return re.sub(r"\?\S*", "", str(error).splitlines()[0])[:300]


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, set):
        return sorted(map(str, value))
    if isinstance(value, float) and (math.isnan(value) or math.isinf(value)):
        return str(value)
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)


def run_of(run):
    """All of a run that does not change from one time to the next."""
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "stage": run.info.lifecycle_stage,
        "ended": run.info.end_time is not None,
        "artifacts": run.info.artifact_uri,
        "metrics": run.data.metrics,
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key not in MACHINE},
        "inputs": [[i.dataset.name, i.dataset.digest, i.dataset.source_type] for i in run.inputs.dataset_inputs],
        "models": len(run.outputs.model_outputs) if run.outputs else 0,
    }


# What the client says of the machine and the program.
MACHINE = {"mlflow.user", "mlflow.source.name", "mlflow.source.git.commit", "mlflow.log-model.history"}


def write():
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(_seen, file)


atexit.register(write)
