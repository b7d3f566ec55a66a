from anthropic import AnthropicBedrockMantle

client = AnthropicBedrockMantle()
message = client.messages.create(
    model="anthropic.claude-sonnet-5",
    max_tokens=16,
    messages=[{"role": "user", "content": "hello"}],
)
print(message.content[0].text)
