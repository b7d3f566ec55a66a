import { Mistral } from '@mistralai/mistralai';

const client = new Mistral();
const response = await client.chat.complete({
  model: 'mistral-small-latest',
  messages: [{ role: 'user', content: 'hello' }],
});
console.log(response.choices[0].message.content);
