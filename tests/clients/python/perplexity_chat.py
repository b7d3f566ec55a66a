from perplexity import Perplexity

client = Perplexity()
completion = client.chat.completions.create(
    model="sonar", messages=[{"role": "user", "content": "hello"}]
)
print(completion.choices[0].message.content)
