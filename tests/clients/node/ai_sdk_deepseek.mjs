import { generateText } from 'ai';
import { deepseek } from '@ai-sdk/deepseek';

const { text } = await generateText({ model: deepseek('deepseek-chat'), prompt: 'hello' });
console.log(text);
