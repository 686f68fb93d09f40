"""Traces of a program, with assessments; what is found, linked and deleted."""

import json

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, SpanType
from seen import refused, seen

client = MlflowClient()
experiment = mlflow.set_experiment("traces").experiment_id


@mlflow.trace(span_type=SpanType.RETRIEVER, attributes={"rows": 5})
def search(text):
    return [{"page_content": text.upper(), "metadata": {"doc_uri": "a"}}]


@mlflow.trace(name="answer", span_type=SpanType.CHAIN)
def answer(question, fails=False):
    mlflow.update_current_trace(tags={"colour": "red"}, metadata={"mlflow.trace.session": "s1"})
    passages = search(question)
    with mlflow.start_span("model", span_type=SpanType.LLM) as span:
        span.set_inputs({"passages": passages})
        span.set_attribute("tokens", 7)
        if fails:
            raise ValueError("on purpose")
        span.set_outputs({"text": "because"})
    return "because"


def span_of(span):
    return [span.name, span.span_type, span.inputs, span.outputs, span.status.status_code.value,
            sorted(span.attributes), span.parent_id is None, [event.name for event in span.events]]


# What the client says of the machine, and sizes that hold its names.
MACHINE = ("mlflow.source", "mlflow.user", "mlflow.trace.size")


def trace_of(trace):
    info = trace.info
    tags = {key: value for key, value in info.tags.items() if not key.startswith("mlflow.artifact")}
    metadata = {key: value for key, value in info.trace_metadata.items() if not key.startswith(MACHINE)}
    return {"state": info.state.value, "tags": tags, "metadata": metadata, "request": info.request_preview,
            "response": info.response_preview, "spans": [span_of(span) for span in trace.data.spans]}


answer("why?")
good = mlflow.get_last_active_trace_id()
try:
    answer("why not?", fails=True)
except ValueError:
    bad = mlflow.get_last_active_trace_id()
with mlflow.start_run(run_name="traced") as run:
    answer("in a run")
    inside = mlflow.get_last_active_trace_id()
mlflow.flush_trace_async_logging()
seen("good", trace_of(mlflow.get_trace(good)))
seen("bad", trace_of(mlflow.get_trace(bad)))


def found(text=None, order=None):
    traces = mlflow.search_traces(locations=[experiment], filter_string=text, order_by=order, return_type="list")
    return [[trace.info.request_preview, trace.info.state.value, len(trace.data.spans)] for trace in traces]


for text in [
    None, "status = 'ERROR'", "tag.colour = 'red'", "metadata.`mlflow.trace.session` = 's1'", "trace.name = 'answer'",
    "span.name = 'search'", "span.type = 'LLM'", "span.status = 'ERROR'", "span.content LIKE '%because%'",
    f"run_id = '{run.info.run_id}'", "trace.text LIKE '%why%'", "timestamp_ms > 0",
]:
    name = "run" if text and "run_id" in text else text
    seen(f"found {name}", found(text, ["timestamp_ms ASC"]))
refused("bad filter", found, "colour = 'red'")

human = AssessmentSource(source_type="HUMAN", source_id="anna")
judge = AssessmentSource(source_type="LLM_JUDGE", source_id="judge")
feedback = mlflow.log_feedback(
    trace_id=good, name="correct", value=True, rationale="it is", source=human, metadata={"a": "b"}
)
mlflow.log_feedback(trace_id=good, name="score", value={"n": 3, "why": ["x"]}, source=judge)
mlflow.log_feedback(trace_id=good, name="broken", error=ValueError("no judge"))
expectation = mlflow.log_expectation(trace_id=good, name="expected", value="because", source=human)
mlflow.log_expectation(trace_id=good, name="many", value=[1, 2])


def value_of(assessment):
    held = assessment.feedback or assessment.expectation
    return json.dumps(held.value, sort_keys=True)


def assessments():
    listed = mlflow.get_trace(good).info.assessments
    return sorted([a.name, a.source.source_type, a.source.source_id if a.source.source_type == "HUMAN" else "",
                   value_of(a), a.rationale or "", a.valid is not False]
                  for a in listed)


seen("assessments", assessments())
changed = mlflow.entities.Feedback(name="correct", value=False, rationale="it is not")
mlflow.update_assessment(good, feedback.assessment_id, changed)
seen("one", [mlflow.get_assessment(good, feedback.assessment_id).feedback.value])
mlflow.override_feedback(trace_id=good, assessment_id=feedback.assessment_id, value=True, source=human)
mlflow.delete_assessment(good, expectation.assessment_id)
seen("assessments after", assessments())
refused("assessment gone", mlflow.get_assessment, good, expectation.assessment_id)
seen("found by feedback", found("feedback.correct = 'true'"))
client.set_trace_tag(good, "size", "big")
client.delete_trace_tag(good, "colour")
seen("tags", {key: value for key, value in mlflow.get_trace(good).info.tags.items() if not key.startswith("mlflow")})
client.link_traces_to_run([good], run.info.run_id)
seen("linked", len(found(f"run_id = '{run.info.run_id}'")))
prompt = mlflow.genai.register_prompt(name="of-a-trace", template="{{q}}")
client.link_prompt_versions_to_trace([prompt], good)
seen("prompts", mlflow.get_trace(good).info.tags.get("mlflow.linkedPrompts"))
seen("deleted", client.delete_traces(experiment, trace_ids=[bad]))
seen("left", len(found()))
seen("deleted all", client.delete_traces(experiment, max_timestamp_millis=2**52, max_traces=10))
seen("nothing left", len(found()))
seen("gone", mlflow.get_trace(good))
