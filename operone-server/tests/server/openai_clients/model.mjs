// Has a real model behind the server call a tool that the client runs, with OpenAI's client for JavaScript and
// TypeScript; any surprise is an error.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [modules, baseURL, model] = process.argv.slice(2);
const { default: OpenAI } = createRequire(`${modules}/`)("openai");
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

const place = {
  type: "object",
  properties: { city: { type: "string" }, note: { type: "string" } },
  required: ["city", "note"],
  additionalProperties: false,
};
const messages = [{ role: "user", content: "What is the weather in Paris?" }];

for (const stream of [false, true]) {
  const called = [];
  const getWeather = (input) => {
    called.push(Object.keys(input).sort());
    return "sunny";
  };
  const weather = { name: "get_weather", description: "Weather of a city", parameters: place };
  const tools = [{ type: "function", function: { ...weather, function: getWeather, parse: JSON.parse } }];
  const run = client.chat.completions.runTools({ model, messages, tools, stream, temperature: 0 });
  assert.equal(await run.finalContent(), "Ok!");
  assert.deepEqual(called, [["city", "note"]]);
}

const format = { type: "json_schema", json_schema: { name: "place", strict: true, schema: place } };
const shaped = await client.chat.completions.create({ model, messages, response_format: format, temperature: 0 });
assert.deepEqual(Object.keys(JSON.parse(shaped.choices[0].message.content)).sort(), ["city", "note"]);

// A client that leaves takes the request with it.
const controller = new AbortController();
const left = await client.chat.completions.create({ model, messages, stream: true }, { signal: controller.signal });
controller.abort();
for await (const _ of left) break;
