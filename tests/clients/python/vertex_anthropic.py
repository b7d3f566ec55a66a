from anthropic import AnthropicVertex

client = AnthropicVertex()
message = client.messages.create(
    model="claude-sonnet-5", max_tokens=16, messages=[{"role": "user", "content": "hello"}]
)
print(message.content[0].text)
