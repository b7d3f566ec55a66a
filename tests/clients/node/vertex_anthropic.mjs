import { AnthropicVertex } from '@anthropic-ai/vertex-sdk';

const client = new AnthropicVertex();
const message = await client.messages.create({
  model: 'claude-sonnet-5',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'hello' }],
});
console.log(message.content[0].text);
