"""Has a real model behind the server call tools and keep to a schema, with OpenAI's Python client; any surprise is an error."""

import json
import sys

import openai
from pydantic import BaseModel

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0)


class Place(BaseModel):
    city: str
    note: str


weather = {"name": "get_weather", "description": "Weather of a city", "parameters": Place.model_json_schema()}
tools = [{"type": "function", "function": weather}]
messages = [{"role": "user", "content": "What is the weather in Paris?"}]

answer = client.chat.completions.create(model=model, messages=messages, tools=tools, temperature=0)
assert answer.choices[0].finish_reason == "tool_calls", answer
call = answer.choices[0].message.tool_calls[0]
assert call.function.name == "get_weather", call
assert set(json.loads(call.function.arguments)) == {"city", "note"}, call

with client.chat.completions.stream(model=model, messages=messages, tools=tools, temperature=0) as stream:
    for _ in stream:
        pass
    streamed = stream.get_final_completion().choices[0]
assert streamed.finish_reason == "tool_calls", streamed
assert streamed.message.tool_calls[0].function.arguments == call.function.arguments, streamed

# What the client was given goes back as it is.
messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
told = client.chat.completions.create(model=model, messages=messages, tools=tools, temperature=0)
assert told.choices[0].message.content == "Ok!", told
assert told.usage.prompt_tokens > 0 and told.usage.completion_tokens > 0, told

parsed = client.chat.completions.parse(model=model, messages=messages[:1], response_format=Place, temperature=0)
assert isinstance(parsed.choices[0].message.parsed, Place), parsed

limited = client.chat.completions.create(model=model, messages=messages[:1], max_completion_tokens=1, temperature=0)
assert limited.choices[0].finish_reason == "length", limited
