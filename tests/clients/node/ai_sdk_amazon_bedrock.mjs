import { generateText } from 'ai';
import { bedrock } from '@ai-sdk/amazon-bedrock';

const { text } = await generateText({ model: bedrock('amazon.nova-lite-v1:0'), prompt: 'hello' });
console.log(text);
