import { generateText } from 'ai';
import { mistral } from '@ai-sdk/mistral';

const { text } = await generateText({ model: mistral('mistral-small-latest'), prompt: 'hello' });
console.log(text);
