import { BedrockOpenAI } from 'openai';

const client = new BedrockOpenAI();
const completion = await client.chat.completions.create({
  model: 'openai.gpt-oss-20b',
  messages: [{ role: 'user', content: 'hello' }],
});
console.log(completion.choices[0].message.content);
