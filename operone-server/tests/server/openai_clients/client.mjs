// Asks the server with OpenAI's client for JavaScript and TypeScript; any surprise is an error.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [modules, baseURL, embedder] = process.argv.slice(2);
const { default: OpenAI } = createRequire(`${modules}/`)("openai");
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.deepEqual(models, ["extractive", embedder]);

const ask = {
  model: "extractive",
  messages: [{ role: "user", content: "When was the lease signed?" }],
  operone: { capabilities: ["rag"] },
};
const answer = await client.chat.completions.create(ask);
assert.match(answer.choices[0].message.content, /signed in March/);
assert.equal(answer.choices[0].finish_reason, "stop");

let text = "";
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? "";
}
assert.equal(text, answer.choices[0].message.content);

const streamed = await client.chat.completions.stream(ask).finalChatCompletion();
assert.equal(streamed.choices[0].message.content, text);

const vectors = await client.embeddings.create({ model: embedder, input: ["a lease", "a contract"] });
assert.equal(vectors.data.length, 2);
assert.equal(typeof vectors.data[0].embedding[0], "number");

await assert.rejects(
  client.chat.completions.create({ ...ask, n: 2 }),
  (error) => error instanceof OpenAI.BadRequestError && error.code === "unsupported_parameter",
);
