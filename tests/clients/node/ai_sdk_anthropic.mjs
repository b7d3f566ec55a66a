import { generateText } from 'ai';
import { anthropic } from '@ai-sdk/anthropic';

const { text } = await generateText({ model: anthropic('claude-sonnet-5'), prompt: 'hello' });
console.log(text);
