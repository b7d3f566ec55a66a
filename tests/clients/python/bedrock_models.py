import boto3

client = boto3.client("bedrock")
print(len(client.list_foundation_models()["modelSummaries"]))
