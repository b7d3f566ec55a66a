import { generateText } from 'ai';
import { vertex } from '@ai-sdk/google-vertex';

const { text } = await generateText({ model: vertex('gemini-2.5-flash'), prompt: 'hello' });
console.log(text);
