import { GoogleAuth } from 'google-auth-library';

const auth = new GoogleAuth({ scopes: 'https://www.googleapis.com/auth/cloud-platform' });
const client = await auth.getClient();
const { token } = await client.getAccessToken();
console.log(await auth.getProjectId(), token.length);
