// OpenPGP.js as a program: make KIND | seal KIND OURS FORM COMPRESSION IN OUT | open KIND OURS IN OUT
import {readFile, writeFile} from 'node:fs/promises';
import * as openpgp from 'openpgp';

const [command, kind, ...rest] = process.argv.slice(2);
const kinds = {
  rsa2048: {type: 'rsa', rsaBits: 2048},
  rsa3072: {type: 'rsa', rsaBits: 3072},
  curve25519: {type: 'ecc', curve: openpgp.enums.curve.ed25519Legacy ? 'ed25519Legacy' : 'curve25519'},
};
const text = (path) => readFile(path, 'utf8');

if (command === 'make') {
  const made = await openpgp.generateKey({...kinds[kind], userIDs: [{name: 'Openpgpjs', email: 'js@example.org'}], format: 'armored'});
  await writeFile(`${kind}.key`, made.privateKey);
  await writeFile(`${kind}.cert`, made.publicKey);
} else if (command === 'seal') {
  const [ours, form, compression, input, output] = rest;
  const message = await openpgp.createMessage({binary: new Uint8Array(await readFile(input))});
  const sealed = await openpgp.encrypt({
    message,
    encryptionKeys: await openpgp.readKey({armoredKey: await text(ours)}),
    signingKeys: await openpgp.readPrivateKey({armoredKey: await text(`${kind}.key`)}),
    format: form === 'armoured' ? 'armored' : 'binary',
    config: {preferredCompressionAlgorithm: openpgp.enums.compression[compression === 'none' ? 'uncompressed' : compression]},
  });
  await writeFile(output, sealed);
} else if (command === 'open') {
  const [ours, input, output] = rest;
  const content = await readFile(input);
  const message = content.toString('latin1').startsWith('-----')
    ? await openpgp.readMessage({armoredMessage: content.toString()})
    : await openpgp.readMessage({binaryMessage: new Uint8Array(content)});
  const opened = await openpgp.decrypt({
    message,
    decryptionKeys: await openpgp.readPrivateKey({armoredKey: await text(`${kind}.key`)}),
    verificationKeys: await openpgp.readKey({armoredKey: await text(ours)}),
    expectSigned: true,
    format: 'utf8',
  });
  await opened.signatures[0].verified;
  await writeFile(output, opened.data);
}
