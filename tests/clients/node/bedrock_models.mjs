import { BedrockClient, ListFoundationModelsCommand } from '@aws-sdk/client-bedrock';

const client = new BedrockClient();
const response = await client.send(new ListFoundationModelsCommand({}));
console.log(response.modelSummaries.length);
