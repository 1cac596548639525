"""Asks the server with OpenAI's Python client; any surprise is an error."""

import sys

import openai

base_url, embedder = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0)

assert [model.id for model in client.models.list()] == ["extractive", embedder]

question = [{"role": "user", "content": "When was the lease signed?"}]
look_up = {"operone": {"capabilities": ["rag"]}}
answer = client.chat.completions.create(model="extractive", messages=question, extra_body=look_up)
assert "signed in March" in answer.choices[0].message.content, answer
assert answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens > 0, answer
assert answer.operone["rag"]["results"], answer

stream = client.chat.completions.create(
    model="extractive",
    messages=question,
    stream=True,
    stream_options={"include_usage": True},
    extra_body=look_up,
)
text, usage = "", None
for chunk in stream:
    text += "".join(choice.delta.content or "" for choice in chunk.choices)
    usage = chunk.usage or usage
assert text == answer.choices[0].message.content, text
assert usage.completion_tokens > 0

# The client asks for base64 where nothing else is said.
vectors = client.embeddings.create(model=embedder, input=["a lease", "a contract"])
plain = client.embeddings.create(model=embedder, input="a lease", encoding_format="float")
same = zip(vectors.data[0].embedding, plain.data[0].embedding, strict=True)
assert all(abs(one - other) < 1e-6 for one, other in same)

try:
    client.chat.completions.create(model="extractive", messages=question, n=2)
except openai.BadRequestError as error:
    assert error.code == "unsupported_parameter" and error.param == "n", error
else:
    raise AssertionError("n=2 was not refused")
try:
    client.chat.completions.create(model="gpt-x", messages=question)
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error
else:
    raise AssertionError("an unknown model was not refused")
