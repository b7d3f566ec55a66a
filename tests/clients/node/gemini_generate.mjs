import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const response = await client.models.generateContent({ model: 'gemini-2.5-flash', contents: 'hello' });
console.log(response.text);
