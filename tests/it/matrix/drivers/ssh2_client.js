// ssh2-sftp-client (on ssh2) as people write it in their scripts: node ssh2_client.js VERB ARGUMENT...
//
// put, resume-put, put-times, put-tree LOCAL REMOTE        get, resume-get, get-times, get-tree REMOTE LOCAL
// rename FROM TO        remove PATH        list DIRECTORY        room
//
// TEST_HOST, TEST_PORT, TEST_USER, TEST_TOKEN as in the other scripts; TEST_KEY and TEST_AGENT are tried before the token,
// TEST_WRONG is a password that is given first. TEST_NODE_MODULES is where the package is. What fails is said on stderr, exit code 1.
'use strict';

const fs = require('fs');
const { promisify } = require('util');
const Client = require(`${process.env.TEST_NODE_MODULES}/ssh2-sftp-client`);

const env = process.env;
const username = env.TEST_USER;

// What is tried, in this order, on one connection.
function attempts() {
  const list = [];
  if (env.TEST_KEY) list.push({ type: 'publickey', username, key: fs.readFileSync(env.TEST_KEY) });
  if (env.TEST_AGENT) list.push({ type: 'agent', username, agent: env.TEST_AGENT });
  for (const password of [env.TEST_WRONG, env.TEST_TOKEN]) {
    if (password) list.push({ type: 'password', username, password });
  }
  return list;
}

const verbs = {
  put: (client, local, remote) => client.fastPut(local, remote),
  get: (client, remote, local) => client.fastGet(remote, local),
  'resume-put': async (client, local, remote) => {
    const { size } = await client.stat(remote);
    await client.append(fs.createReadStream(local, { start: size }), remote);
  },
  'resume-get': async (client, remote, local) => {
    const start = fs.statSync(local).size;
    await client.get(remote, fs.createWriteStream(local, { flags: 'a' }), { readStreamOptions: { start } });
  },
  // Setting times is a function of ssh2, below.
  'put-times': async (client, local, remote) => {
    await client.fastPut(local, remote);
    const { atime, mtime } = fs.statSync(local);
    await promisify(client.sftp.utimes.bind(client.sftp))(remote, atime, mtime);
  },
  'get-times': async (client, remote, local) => {
    await client.fastGet(remote, local);
    const { accessTime, modifyTime } = await client.stat(remote);
    fs.utimesSync(local, accessTime / 1000, modifyTime / 1000);
  },
  'put-tree': (client, local, remote) => client.uploadDir(local, remote),
  'get-tree': (client, remote, local) => client.downloadDir(remote, local),
  rename: (client, from, to) => client.rename(from, to),
  remove: (client, path) => client.delete(path),
  list: async (client, directory) => {
    for (const entry of await client.list(directory)) console.log(entry.name);
  },
  room: async (client) => {
    const found = await promisify(client.sftp.ext_openssh_statvfs.bind(client.sftp))('.');
    console.log(JSON.stringify(found, (_, value) => (typeof value === 'bigint' ? Number(value) : value)));
  },
};

async function main([verb, ...words]) {
  const client = new Client();
  const list = attempts();
  try {
    await client.connect({
      host: env.TEST_HOST, port: Number(env.TEST_PORT), username, readyTimeout: 30000,
      authHandler: (_methods, _partial, next) => next(list.shift() || false),
    });
    await verbs[verb](client, ...words);
  } finally {
    await client.end();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
