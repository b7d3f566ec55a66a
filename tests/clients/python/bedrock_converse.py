import boto3

client = boto3.client("bedrock-runtime")
response = client.converse(
    modelId="amazon.nova-lite-v1:0", messages=[{"role": "user", "content": [{"text": "hello"}]}]
)
print(response["output"]["message"]["content"][0]["text"])
