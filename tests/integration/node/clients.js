// ioredis and node-redis with their defaults: connect, pipeline, reconnect, close, without a warning.
'use strict';
const assert = require('assert');
const host = process.argv[2];

const trouble = [];
process.on('warning', (warning) => trouble.push(String(warning)));
for (const name of ['warn', 'error']) console[name] = (...words) => trouble.push(words.join(' '));

async function ioredis() {
  const Redis = require('ioredis');
  const client = new Redis({ host });
  client.on('error', (error) => trouble.push(`ioredis: ${error}`));
  assert.strictEqual(await client.ping(), 'PONG');
  await client.set('ioredis', 'value');
  assert.strictEqual(await client.get('ioredis'), 'value');
  const pipeline = client.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(`i${i}`, i).get(`i${i}`);
  const replies = await pipeline.exec();
  assert.strictEqual(replies.length, 1000);
  replies.forEach(([error, reply], i) => {
    assert.strictEqual(error, null);
    assert.strictEqual(reply, i % 2 === 0 ? 'OK' : String((i - 1) / 2));
  });
  const closed = new Promise((resolve) => client.once('ready', resolve));
  client.disconnect(true);
  await closed;
  assert.strictEqual(await client.get('ioredis'), 'value');
  await client.quit();
}

async function nodeRedis() {
  const { createClient } = require('redis');
  const client = createClient({ url: `redis://${host}:6379`, name: 'node' });
  client.on('error', (error) => trouble.push(`redis: ${error}`));
  await client.connect();
  assert.strictEqual(await client.ping(), 'PONG');
  await client.set('node', 'value', { EX: 100 });
  assert.strictEqual(await client.get('node'), 'value');
  const replies = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => client.set(`n${i}`, String(i)).then(() => client.get(`n${i}`))));
  replies.forEach((reply, i) => assert.strictEqual(reply, String(i)));
  assert.strictEqual(await client.clientGetName(), 'node');
  await (client.close ? client.close() : client.quit());
  await client.connect();
  assert.strictEqual(await client.get('n7'), '7');
  await (client.close ? client.close() : client.quit());
}

(async () => {
  await ioredis();
  await nodeRedis();
  assert.deepStrictEqual(trouble, []);
  console.log('ok');
})().catch((error) => {
  console.log(error.stack, trouble);
  process.exit(1);
});
