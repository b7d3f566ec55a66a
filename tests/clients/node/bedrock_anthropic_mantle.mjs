import { AnthropicBedrockMantle } from '@anthropic-ai/bedrock-sdk';

const client = new AnthropicBedrockMantle();
const message = await client.messages.create({
  model: 'anthropic.claude-sonnet-5',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'hello' }],
});
console.log(message.content[0].text);
