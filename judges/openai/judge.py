"""Does the stock OpenAI client work unchanged, with a release's name as the model?"""

import openai

from product import URL, check, close, run

client = openai.OpenAI(base_url=URL + "/v1", api_key="unused", max_retries=0)
KNOWN = "How do I roll back a release?"
UNKNOWN = "Which zebra won the 1974 chess olympiad in Reykjavik?"


def ask(question, **more):
    return {"model": model, "messages": [{"role": "user", "content": question}], **more}


models = list(client.models.list())
check(len(models) >= 1, "models.list() names the releases")
model = models[0].id
check(client.models.retrieve(model).id == model, "models.retrieve() finds the release")

# A whole answer, with its id in the header and in the body.
raw = client.chat.completions.with_raw_response.create(**ask(KNOWN))
answer_id = raw.headers.get("x-sextant-answer-id")
whole = raw.parse()
text = whole.choices[0].message.content
check(answer_id, "the answer's id is in a header")
check(whole.id == answer_id, "the same id is in the body")
check(whole.choices[0].finish_reason == "stop", "finish_reason is stop")
check(text and len(text) > 20, "the answer has text")
check(whole.usage.total_tokens > 0, "usage is counted")
extra = whole.choices[0].message.model_extra.get("sextant", {})
check(extra.get("citations"), "the answer cites passages")
check(extra.get("abstained") is False, "a known question is answered")

# Recorded before it was sent: the chain can be walked at once.
tree = run("why", answer_id)
check(tree.get("inputs"), "`why` walks the answer that the client was given")
check(tree.get("holes") == 0, "its chain has no hole")

# The same answer, streamed.
pieces = list(client.chat.completions.create(**ask(KNOWN, stream=True)))
streamed = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
check(streamed == text, "streamed and whole answers are the same text")
check(pieces[-1].choices[0].finish_reason == "stop", "the stream ends with finish_reason stop")
check(pieces[0].choices[0].delta.role == "assistant", "the stream begins with the role")
check(len({piece.id for piece in pieces}) == 1, "every piece carries one id")

counted = list(
    client.chat.completions.create(**ask(KNOWN, stream=True, stream_options={"include_usage": True}))
)
check(counted[-1].usage and not counted[-1].choices, "usage comes last when it is asked for")

with client.chat.completions.with_streaming_response.create(**ask(KNOWN, stream=True)) as stream:
    check(stream.headers.get("x-sextant-answer-id"), "a stream has the id in its header too")
    stream.read()

# Abstaining in plain words.
nothing = client.chat.completions.create(**ask(UNKNOWN))
extra = nothing.choices[0].message.model_extra.get("sextant", {})
check(extra.get("abstained") is True, "a question without support is not answered")
check(not extra.get("citations"), "an abstention cites nothing")
check(nothing.choices[0].message.content, "an abstention says so in words")

# Errors arrive as the client's own types.
for name, kind, arguments in [
    ("an unknown model", openai.NotFoundError, ask(KNOWN, ) | {"model": "no-such-release"}),
    ("no messages", openai.BadRequestError, {"model": model, "messages": []}),
    ("a tool", openai.BadRequestError, ask(KNOWN, tools=[{"type": "function", "function": {"name": "f"}}])),
]:
    try:
        client.chat.completions.create(**arguments)
        check(False, f"{name} is refused")
    except kind as error:
        check(error.body and error.body.get("message"), f"{name} is refused with a message")
    except openai.APIError as error:
        check(False, f"{name} is refused as {kind.__name__}, not {type(error).__name__}")

close(at_least=23)
