import AnthropicBedrock from '@anthropic-ai/bedrock-sdk';

const client = new AnthropicBedrock();
const message = await client.messages.create({
  model: 'anthropic.claude-sonnet-5-v1:0',
  max_tokens: 16,
  messages: [{ role: 'user', content: 'hello' }],
});
console.log(message.content[0].text);
