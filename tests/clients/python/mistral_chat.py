from mistralai.client import Mistral

client = Mistral()
response = client.chat.complete(
    model="mistral-small-latest", messages=[{"role": "user", "content": "hello"}]
)
print(response.choices[0].message.content)
