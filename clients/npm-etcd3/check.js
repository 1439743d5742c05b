// Talks to a cluster as an application on the npm package etcd3 does, and checks every answer. The package ships no tests, so
// these are ours: kv, txn, watch, lease, lock, election, namespace and stm. Endpoints come from ENDPOINTS.
'use strict';

const assert = require('assert');
const { Etcd3, Range, EtcdLeaseInvalidError, EtcdLockFailedError } = require('etcd3');

const hosts = process.env.ENDPOINTS.split(',').map(url => url.replace('http://', ''));
const client = new Etcd3({ hosts });

// within fails where a promise takes too long.
const within = (what, promise, time = 10000) =>
  Promise.race([promise, new Promise((_, no) => setTimeout(no, time, new Error(`${what}: nothing in ${time} ms`)).unref())]);
const once = (emitter, event) => within(event, new Promise(yes => emitter.once(event, yes)));
const sleep = time => new Promise(yes => setTimeout(yes, time));

const parts = {
  async kv() {
    await client.put('node/name').value('Fram');
    assert.strictEqual(await client.get('node/name').string(), 'Fram');
    assert.strictEqual(await client.get('node/none').string(), null);
    await client.put('node/number').value(7);
    assert.strictEqual(await client.get('node/number').number(), 7);
    assert.deepStrictEqual(await client.getAll().prefix('node/').strings(), { 'node/name': 'Fram', 'node/number': '7' });
    assert.deepStrictEqual(await client.getAll().prefix('node/').sort('Key', 'Descend').limit(1).keys(), ['node/number']);
    assert.strictEqual(await client.getAll().prefix('node/').count(), 2);
    const before = await client.put('node/name').value('Gjoa').getPrevious();
    assert.strictEqual(before.value.toString(), 'Fram');
    const old = await client.get('node/name').revision(before.mod_revision).string();
    assert.strictEqual(old, 'Fram');
    assert.strictEqual((await client.delete().key('node/name')).deleted, '1');
    assert.strictEqual((await client.delete().prefix('node/')).deleted, '1');
    await assert.rejects(client.put('').value('x').exec(), /key is not provided/);
  },
  async txn() {
    const create = () => client.if('node/once', 'Create', '==', 0).then(client.put('node/once').value('1'))
      .else(client.get('node/once')).commit();
    assert.strictEqual((await create()).succeeded, true);
    const second = await create();
    assert.strictEqual(second.succeeded, false);
    assert.strictEqual(second.responses[0].response_range.kvs[0].value.toString(), '1');
  },
  async stm() {
    await client.put('node/sum').value(0);
    const add = () => client.stm({ retries: 50 }).transact(async tx => tx.put('node/sum').value((await tx.get('node/sum').number()) + 1));
    await Promise.all([add(), add(), add(), add()]);
    assert.strictEqual(await client.get('node/sum').number(), 4);
  },
  async watch() {
    const watcher = await client.watch().prefix('node/w/').create();
    const next = once(watcher, 'put');
    await client.put('node/w/1').value('x');
    assert.strictEqual((await next).key.toString(), 'node/w/1');
    const gone = once(watcher, 'delete');
    await client.delete().key('node/w/1');
    assert.strictEqual((await gone).key.toString(), 'node/w/1');
    await watcher.cancel();
    const { header } = await client.put('node/w/2').value('1');
    const late = client.watch().key('node/w/2').startRevision(header.revision).watcher();
    assert.strictEqual((await once(late, 'put')).value.toString(), '1');
    await late.cancel();
  },
  async lease() {
    const lease = client.lease(10);
    await lease.put('node/leased').value('x');
    await lease.keepaliveOnce();
    const id = await lease.grant();
    const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
    assert.strictEqual(left.keys[0].toString(), 'node/leased');
    await lease.revoke();
    assert.strictEqual(await client.get('node/leased').string(), null);
    const short = client.lease(2, { autoKeepAlive: false });
    await short.put('node/short').value('x');
    const watcher = await client.watch().key('node/short').create();
    await once(watcher, 'delete');
    await watcher.cancel();
    await assert.rejects(short.keepaliveOnce(), EtcdLeaseInvalidError);
  },
  async lock() {
    const lock = await client.lock('node/lock').ttl(10).acquire();
    await assert.rejects(client.lock('node/lock').ttl(10).acquire(), EtcdLockFailedError);
    await lock.release();
    assert.strictEqual(await client.lock('node/lock').do(() => 'held'), 'held');
  },
  async election() {
    const election = client.election('node/office', 10);
    const campaign = election.campaign('one');
    await once(campaign, 'elected');
    assert.strictEqual(await election.leader(), 'one');
    const observer = await client.election('node/office').observe();
    assert.strictEqual(observer.leader() || (await once(observer, 'change')), 'one');
    const changed = once(observer, 'change');
    await campaign.proclaim('two');
    assert.strictEqual(await changed, 'two');
    await campaign.resign();
    await sleep(100);
    assert.strictEqual(await election.leader(), undefined);
    await observer.cancel();
  },
  async namespace() {
    const space = client.namespace('node/space/');
    await space.put('key').value('x');
    assert.strictEqual(await client.get('node/space/key').string(), 'x');
    assert.deepStrictEqual(await space.getAll().keys(), ['key']);
  },
  async cluster() {
    assert.strictEqual((await client.cluster.memberList({})).members.length, hosts.length);
    assert.ok(Number((await client.maintenance.status()).dbSize) > 0);
    assert.strictEqual((await client.maintenance.alarm({ action: 0, memberID: 0, alarm: 0 })).alarms.length, 0);
  },
  async auth() {
    const root = client.user('root');
    await root.create('secret');
    await client.role('root').create();
    await root.addRole('root');
    await client.role('part').create();
    await client.role('part').grant({ permission: 'Readwrite', range: Range.prefix('node/') });
    await client.user('vera').create('secret');
    await client.user('vera').addRole('part');
    await client.auth.authEnable();
    const as = username => new Etcd3({ hosts, auth: { username, password: 'secret' } });
    const [boss, vera] = [as('root'), as('vera')];
    try {
      await vera.put('node/hers').value('x');
      assert.strictEqual(await vera.get('node/hers').string(), 'x');
      await assert.rejects(vera.put('other').value('x').exec(), /permission denied/);
      await assert.rejects(client.get('node/hers').string(), /user name is empty/);
    } finally {
      await boss.auth.authDisable();
      boss.close();
      vera.close();
    }
    for (const name of ['root', 'vera']) await client.user(name).delete();
    for (const name of ['root', 'part']) await client.role(name).delete();
  },
};

(async () => {
  let wrong = 0;
  await client.delete().prefix('node/');
  for (const [name, part] of Object.entries(parts)) {
    try {
      await within(name, part(), 30000);
      console.log(`${name}: ok`);
    } catch (error) {
      wrong += 1;
      console.log(`${name}: WRONG: ${error.message}`);
    }
  }
  client.close();
  console.log(wrong ? `npm etcd3: ${wrong} parts are wrong` : 'npm etcd3: everything as expected');
  process.exit(wrong ? 1 : 0);
})();
