from anthropic import AnthropicBedrock

client = AnthropicBedrock()
message = client.messages.create(
    model="anthropic.claude-sonnet-5-v1:0",
    max_tokens=16,
    messages=[{"role": "user", "content": "hello"}],
)
print(message.content[0].text)
