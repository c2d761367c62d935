// Calls every method of node-zookeeper-client and checks what comes back.
// Prints one line per check: "ok NAME" or "FAILED NAME: why".
'use strict';
const assert = require('assert');
const path = require('path');
const zookeeper = require(path.resolve(process.argv[3], 'node-zookeeper-client'));

const WAIT_MS = 20000;
const servers = process.argv[2];

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer: ' + what)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Calls a method whose last argument is (error, ...results); gives the list of results.
function call(client, method, ...args) {
  return within(new Promise((resolve, reject) => {
    client[method](...args, (error, ...results) => (error ? reject(error) : resolve(results)));
  }), method);
}

async function fails(name, promise) {
  try {
    await promise;
  } catch (error) {
    assert.strictEqual(error.name, name);
    return;
  }
  throw new Error('succeeded, not ' + name);
}

function connect(suffix) {
  const client = zookeeper.createClient(servers + (suffix || ''), { sessionTimeout: 10000 });
  const ready = new Promise((resolve) => client.once('connected', () => resolve(client)));
  client.connect();
  return within(ready, 'connect');
}

const open = zookeeper.ACL.OPEN_ACL_UNSAFE;
const Mode = zookeeper.CreateMode;

const checks = {
  'create and getData': async (zk, base) => {
    assert.deepStrictEqual(await call(zk, 'create', base + '/a', Buffer.from('x'), open, Mode.PERSISTENT), [base + '/a']);
    const [data, stat] = await call(zk, 'getData', base + '/a', null);
    assert.strictEqual(data.toString(), 'x');
    assert.strictEqual(stat.dataLength, 1);
    await fails('NODE_EXISTS', call(zk, 'create', base + '/a', null, open, Mode.PERSISTENT));
    await fails('NO_NODE', call(zk, 'create', base + '/b/c', null, open, Mode.PERSISTENT));
  },
  'sequential and ephemeral': async (zk, base) => {
    const [first] = await call(zk, 'create', base + '/s-', null, open, Mode.PERSISTENT_SEQUENTIAL);
    const [second] = await call(zk, 'create', base + '/s-', null, open, Mode.EPHEMERAL_SEQUENTIAL);
    assert.deepStrictEqual([first, second], [base + '/s-0000000000', base + '/s-0000000001']);
    const [stat] = await call(zk, 'exists', second, null);
    assert.deepStrictEqual(stat.ephemeralOwner, zk.getSessionId());
  },
  'setData versions': async (zk, base) => {
    const [stat] = await call(zk, 'setData', base, Buffer.from('1'), 0);
    assert.strictEqual(stat.version, 1);
    await fails('BAD_VERSION', call(zk, 'setData', base, Buffer.from('2'), 0));
    await fails('NO_NODE', call(zk, 'setData', base + '/no', Buffer.from('2'), -1));
  },
  'remove and removeRecursive': async (zk, base) => {
    await call(zk, 'mkdirp', base + '/x/y');
    await fails('NOT_EMPTY', call(zk, 'remove', base + '/x', -1));
    await call(zk, 'removeRecursive', base + '/x', -1);
    assert.deepStrictEqual(await call(zk, 'exists', base + '/x', null), [null]);
    await fails('NO_NODE', call(zk, 'remove', base + '/x', -1));
  },
  'getChildren and listSubTreeBFS': async (zk, base) => {
    await call(zk, 'mkdirp', base + '/x');
    await call(zk, 'mkdirp', base + '/z');
    const [children, stat] = await call(zk, 'getChildren', base, null);
    assert.deepStrictEqual(children.sort(), ['x', 'z']);
    assert.strictEqual(stat.numChildren, 2);
    // The library itself looks one level down only.
    const [paths] = await call(zk, 'listSubTreeBFS', base);
    assert.deepStrictEqual(paths.sort(), [base, base + '/x', base + '/z']);
  },
  'watches': async (zk, base) => {
    const seen = [];
    const watcher = (event) => seen.push(event.getName() + ' ' + event.getPath());
    await call(zk, 'exists', base + '/w', watcher);
    await call(zk, 'getData', base, watcher);
    await call(zk, 'getChildren', base, watcher);
    await call(zk, 'create', base + '/w', null, open, Mode.PERSISTENT);
    await call(zk, 'setData', base, Buffer.from('x'), -1);
    await call(zk, 'exists', base, null);
    assert.deepStrictEqual(seen.sort(), [
      'NODE_CHILDREN_CHANGED ' + base, 'NODE_CREATED ' + base + '/w', 'NODE_DATA_CHANGED ' + base,
    ]);
  },
  'transaction': async (zk, base) => {
    const good = zk.transaction().create(base + '/t', Buffer.from('t')).setData(base + '/t', Buffer.from('u'), 0)
      .check(base + '/t', 1);
    const [results] = await call(good, 'commit');
    assert.strictEqual(results.length, 3);
    assert.strictEqual((await call(zk, 'getData', base + '/t', null))[0].toString(), 'u');
    await fails('NO_NODE', call(zk.transaction().remove(base + '/t', -1).remove(base + '/no', -1), 'commit'));
    assert.notStrictEqual((await call(zk, 'exists', base + '/t', null))[0], null);
  },
  'ACLs and auth': async (zk, base) => {
    const secret = [new zookeeper.ACL(zookeeper.Permission.ALL, new zookeeper.Id('auth', ''))];
    await fails('INVALID_ACL', call(zk, 'create', base + '/s', null, secret, Mode.PERSISTENT));
    zk.addAuthInfo('digest', Buffer.from('n:pw'));
    await call(zk, 'create', base + '/s', Buffer.from('s'), secret, Mode.PERSISTENT);
    const [acls] = await call(zk, 'getACL', base + '/s');
    assert.strictEqual(acls[0].id.scheme, 'digest');
    const other = await connect();
    await fails('NO_AUTH', call(other, 'getData', base + '/s', null));
    other.close();
    const [stat] = await call(zk, 'setACL', base + '/s', open, 0);
    assert.strictEqual(stat.aversion, 1);
  },
  'ephemerals go with their session': async (zk, base) => {
    const other = await connect();
    await call(other, 'create', base + '/e', null, open, Mode.EPHEMERAL);
    const gone = within(new Promise((resolve) => {
      zk.exists(base + '/e', (event) => resolve(event.getName()), () => {});
    }), 'the event');
    await call(zk, 'exists', base, null);
    other.close();
    assert.strictEqual(await gone, 'NODE_DELETED');
  },
  'chroot': async (zk, base) => {
    const rooted = await connect(base);
    assert.deepStrictEqual(await call(rooted, 'create', '/in', null, open, Mode.PERSISTENT), ['/in']);
    assert.notStrictEqual((await call(zk, 'exists', base + '/in', null))[0], null);
    rooted.close();
  },
  'binary and large data': async (zk, base) => {
    const data = Buffer.alloc(900000, 7);
    await call(zk, 'create', base + '/big', data, open, Mode.PERSISTENT);
    assert.ok((await call(zk, 'getData', base + '/big', null))[0].equals(data));
  },
  '2000 requests in flight': async (zk, base) => {
    const order = [];
    const all = [];
    for (let i = 0; i < 2000; i += 1) {
      const op = i % 2 ? call(zk, 'getData', base, null) : call(zk, 'setData', base, Buffer.from('' + i), -1);
      all.push(op.then(() => order.push(i)));
    }
    await within(Promise.all(all), 'all replies');
    assert.deepStrictEqual(order, [...order].sort((a, b) => a - b));
  },
};

async function main() {
  let failed = 0;
  let number = 0;
  for (const [name, check] of Object.entries(checks)) {
    const base = '/node-' + number;
    number += 1;
    const zk = await connect();
    try {
      await call(zk, 'create', base, null, open, Mode.PERSISTENT);
      await check(zk, base);
      console.log('ok ' + name);
    } catch (error) {
      failed += 1;
      console.log('FAILED ' + name + ': ' + String(error.message || error).split('\n')[0]);
    }
    zk.close();
  }
  process.exit(failed ? 1 : 0);
}

main();
