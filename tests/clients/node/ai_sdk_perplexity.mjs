import { generateText } from 'ai';
import { perplexity } from '@ai-sdk/perplexity';

const { text } = await generateText({ model: perplexity('sonar'), prompt: 'hello' });
console.log(text);
