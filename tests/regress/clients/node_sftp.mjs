// ssh2-sftp-client as a script would use it: one JSON request a line in, one answer a line out.
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Client from 'ssh2-sftp-client';

const sftp = new Client();
const env = process.env;
const pinned = readFileSync(env.SFTP_HOST_KEYS, 'utf8')
  .split('\n').filter(Boolean).map((line) => line.split(' ')[2]);

const calls = {
  connect: () => sftp.connect({
    host: env.SFTP_HOST,
    port: Number(env.SFTP_PORT),
    username: env.SFTP_USER,
    privateKey: readFileSync(env.SFTP_KEY),
    hostVerifier: (key) => pinned.includes(key.toString('base64')),
  }).then(() => true),
  mkdir: (far) => sftp.mkdir(far),
  uploadDir: (near, far) => sftp.uploadDir(near, far),
  fastPut: (near, far) => sftp.fastPut(near, far),
  put: (near, far) => sftp.put(near, far),
  resume: async (near, far) => {
    const { size } = await sftp.stat(far);
    return sftp.append(createReadStream(near, { start: size }), far);
  },
  rename: (from, to) => sftp.rename(from, to),
  list: async (far) => (await sftp.list(far)).map((entry) => entry.name),
  // Without fastGet it says done when all is read, not when all is written here.
  downloadDir: (far, near) => sftp.downloadDir(far, near, { filter: null, useFastget: true }),
  sha256: async (far) => createHash('sha256').update(await sftp.get(far)).digest('hex'),
  rmdir: (far) => sftp.rmdir(far, true),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await calls[call](...args)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await sftp.end();
