// The responses of the recorder: the minimum of each vendor's format that its client accepts.

const model = 'recorded';
const text = 'hello';

const chat = {
  id: 'chat-1', object: 'chat.completion', created: 1, model,
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: text } }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
};
const responses = {
  id: 'resp_1', object: 'response', created_at: 1, model, status: 'completed', error: null,
  incomplete_details: null, parallel_tool_calls: true, tool_choice: 'auto', tools: [],
  output: [{
    type: 'message', id: 'msg_1', role: 'assistant', status: 'completed',
    content: [{ type: 'output_text', text, annotations: [] }],
  }],
  usage: {
    input_tokens: 1, output_tokens: 1, total_tokens: 2,
    input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 },
  },
};
const message = {
  id: 'msg_1', type: 'message', role: 'assistant', model, stop_reason: 'end_turn', stop_sequence: null,
  content: [{ type: 'text', text }], usage: { input_tokens: 1, output_tokens: 1 },
};
const generated = {
  candidates: [{ content: { role: 'model', parts: [{ text }] }, finishReason: 'STOP', index: 0 }],
  usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 },
  modelVersion: model,
};
const converse = {
  output: { message: { role: 'assistant', content: [{ text }] } }, stopReason: 'end_turn',
  usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 }, metrics: { latencyMs: 1 },
};
const assumed = `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/reader/session</Arn><AssumedRoleId>A:session</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAASSUMEDROLE00000</AccessKeyId><SecretAccessKey>assumed</SecretAccessKey>
<SessionToken>assumed-session-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>`;

/** The paths' endings, the first that matches answers. */
const answers = [
  [/\/chat\/completions$/, chat],
  [/\/responses$/, responses],
  [/\/messages$|:rawPredict$|\/invoke$/, message],
  [/:generateContent$/, generated],
  [/\/converse$/, converse],
  [/^\/token$/, { access_token: 'granted-access-token', expires_in: 3600, token_type: 'Bearer' }],
  [/\/foundation-models$/, { modelSummaries: [] }],
  [/\/models$/, { object: 'list', data: [] }],
];

export function answer(request, response) {
  const bare = request.path.split('?')[0];
  if ((request.headers['content-type'] ?? '').startsWith('application/grpc')) {
    response.writeHead(200, { 'content-type': 'application/grpc', 'grpc-status': '12' });
    response.end();
    return;
  }
  if (request.host?.startsWith('sts.') && request.body.includes('Action=AssumeRole')) {
    response.writeHead(200, { 'content-type': 'text/xml' });
    response.end(assumed);
    return;
  }
  const found = answers.find(([ending]) => ending.test(decodeURIComponent(bare)));
  response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(found ? found[1] : { error: { message: `the recorder has no ${bare}`, type: 'none' } }));
}
