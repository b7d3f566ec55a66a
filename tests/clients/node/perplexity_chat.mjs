import Perplexity from '@perplexity-ai/perplexity_ai';

const client = new Perplexity();
const completion = await client.chat.completions.create({
  model: 'sonar',
  messages: [{ role: 'user', content: 'hello' }],
});
console.log(completion.choices[0].message.content);
