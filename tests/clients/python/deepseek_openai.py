import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["DEEPSEEK_API_KEY"], base_url="https://api.deepseek.com")
completion = client.chat.completions.create(
    model="deepseek-chat", messages=[{"role": "user", "content": "hello"}]
)
print(completion.choices[0].message.content)
