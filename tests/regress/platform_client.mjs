// Calls methods of the published platform client for test_npm_client.py: one JSON request a line on
// standard input, {"call": "apiKey.create", "args": [...]}, one JSON answer a line on standard output.
import {createInterface} from 'node:readline';
import {PlatformClient} from '@coveo/platform-client';

const {SALLYPORT_ORG, SALLYPORT_ADMIN_TOKEN, SALLYPORT_HTTP_URL} = process.env;
const client = new PlatformClient({
  organizationId: SALLYPORT_ORG,
  accessToken: SALLYPORT_ADMIN_TOKEN,
  host: SALLYPORT_HTTP_URL,
});

for await (const line of createInterface({input: process.stdin})) {
  const {call, args} = JSON.parse(line);
  const [resource, method] = call.split('.');
  let answer;
  try {
    answer = {result: (await client[resource][method](...args)) ?? null};
  } catch (error) {
    const {name, message, status, title, detail, errorCode, xRequestId} = error;
    answer = {error: {name: error.constructor.name ?? name, message, status, title, detail, errorCode, xRequestId}};
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
