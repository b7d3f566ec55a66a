from openai import BedrockOpenAI

client = BedrockOpenAI()
completion = client.chat.completions.create(
    model="openai.gpt-oss-20b", messages=[{"role": "user", "content": "hello"}]
)
print(completion.choices[0].message.content)
