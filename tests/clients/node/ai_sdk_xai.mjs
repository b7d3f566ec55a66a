import { generateText } from 'ai';
import { xai } from '@ai-sdk/xai';

const { text } = await generateText({ model: xai('grok-4'), prompt: 'hello' });
console.log(text);
