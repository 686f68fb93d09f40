"""Are the retrieval figures right? ir-measures computes them again from the exported rankings."""

import collections
import json
import statistics

import ir_measures

from product import blob, check, close, find, run

report = run("eval", "show")


def part(name):
    """A list of the report, from the report itself or from the blob that holds the rows."""
    for value in find(report, name):
        if isinstance(value, list):
            return value
    stored = next((v for v in find(report, "rows") if isinstance(v, str)), None)
    return json.loads(blob(stored))[name]


questions, rows, k = part("questions"), part("rows"), next(find(report, "k"))
metrics = next(find(report, "metrics"))
name = lambda section: section["path"] + "#" + section["heading"]

check(len(questions) >= 100, f"{len(questions)} questions, at least 100 are wanted")
judged = {q["id"]: {name(section): 1 for section in q["relevant"]} for q in questions}
check(all(judged.values()), "every question names a section")

runs = collections.defaultdict(dict)
scores = collections.defaultdict(dict)
for row in rows:
    found = [name(section) for section in row["found"]]
    once = len(set(found)) == len(found) <= k
    check(once, f"{row['id']} {row['mode']}: each section once, at most {k}", told=False)
    runs[row["mode"]][row["id"]] = {doc: float(k - rank) for rank, doc in enumerate(found)}
    scores[row["mode"]][row["id"]] = row["scores"]

theirs = {
    "ndcg": ir_measures.nDCG @ k,
    "recall": ir_measures.R @ k,
    "mrr": ir_measures.RR @ k,
}
judged_rows = sum(len(ranking) for ranking in runs.values())
check(judged_rows == len(runs) * len(questions), "every question was put to every mode")
check({"bm25", "hybrid"} <= set(runs), f"both modes are judged, found {sorted(runs)}")
for mode, ranking in runs.items():
    values = collections.defaultdict(dict)
    for value in ir_measures.iter_calc(list(theirs.values()), judged, ranking):
        values[str(value.measure)][value.query_id] = value.value
    for word, measure in theirs.items():
        foreign = values[str(measure)]
        for query in judged:
            # A query without results is not calculated; it counts as nothing.
            other = foreign.get(query, 0.0)
            mine = scores[mode][query][word]
            same = abs(mine - other) < 1e-6
            check(same, f"{mode} {word} of {query}: ours {mine}, theirs {other}", told=False)
        mean = statistics.fmean(foreign.get(query, 0.0) for query in judged)
        mine = metrics[f"retrieval.{mode}.{word}@{k}"]
        check(abs(mine - mean) < 1e-6, f"{mode} {word}@{k}: ours {mine:.7f}, theirs {mean:.7f}")

# Two modes, three measures, every question.
close(at_least=6 * len(questions))
