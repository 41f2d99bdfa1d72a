// The official Node client against the server: does what a user would, prints what it saw as one JSON object.
// Usage: node client.mjs BASE_URL API_KEY MODEL MISSING_MODEL RATE_LIMITED_MODEL BREAKING_MODEL
import OpenAI from "openai";

const [baseURL, apiKey, model, missing, limited, breaking] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "Say hello." }];

async function errorOf(attempt) {
  try {
    await attempt();
  } catch (error) {
    return { class: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
  return null;
}

async function streamed(options) {
  const seen = { text: "", ids: new Set(), finish: [], usage: null };
  const stream = await client.chat.completions.create({
    messages,
    max_completion_tokens: 24,
    stream: true,
    stream_options: { include_usage: true },
    ...options,
  });
  for await (const chunk of stream) {
    seen.ids.add(chunk.id);
    seen.usage = chunk.usage ?? seen.usage;
    for (const choice of chunk.choices) {
      seen.text += choice.delta.content ?? "";
      if (choice.finish_reason) seen.finish.push(choice.finish_reason);
    }
  }
  return { ...seen, ids: [...seen.ids] };
}

const models = [];
for await (const item of client.models.list()) models.push(item.id);

const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 24 });

console.log(
  JSON.stringify({
    models,
    answer: {
      text: answer.choices[0].message.content,
      finish: answer.choices[0].finish_reason,
      usage: answer.usage,
    },
    stream: await streamed({ model }),
    errors: {
      missing: await errorOf(() => client.chat.completions.create({ model: missing, messages })),
      limited: await errorOf(() => client.chat.completions.create({ model: limited, messages })),
      breaking: await errorOf(() => streamed({ model: breaking })),
      invalid: await errorOf(() => client.chat.completions.create({ model, messages: [] })),
      key: await errorOf(() => client.withOptions({ apiKey: "wrong" }).models.list()),
    },
  }),
);
