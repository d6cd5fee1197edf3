// What changes while somebody looks: others, time, the network; and what is never done twice.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, connect } from 'node:net';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { B, FOLDER, QUICKSTART, cavra, get, launch, open, post, settled, stopAll, until } from './lib.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); await stopAll(); });

const dialog = (page) => page.getByRole('dialog');
const clean = (page) => assert.deepEqual(page.faults, []);
const total = async (page) => Number((await page.locator('#scope b').textContent()).replace(/\D/g, ''));
const bulks = async (url) => (await get(url, `${B}?metadata_kind=go-backend-rollback-drill-bulk-acknowledgement&limit=500`)).items;

/// A network between page and server: it can be cut, and it hears what is said.
async function wire(server) {
  const self = { cut: false, heads: [], sockets: new Set() };
  const listener = createServer((near) => {
    if (self.cut) { near.destroy(); return; }
    const far = connect(server.port, '127.0.0.1');
    for (const socket of [near, far]) {
      self.sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => { self.sockets.delete(socket); near.destroy(); far.destroy(); });
    }
    near.on('data', (piece) => { self.heads.push(piece.toString('latin1')); far.write(piece); });
    far.on('data', (piece) => near.write(piece));
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  self.url = `http://127.0.0.1:${listener.address().port}`;
  self.break = () => { self.cut = true; for (const socket of self.sockets) socket.destroy(); };
  self.mend = () => { self.cut = false; };
  self.close = () => { self.break(); listener.close(); };
  return self;
}

test('a broken connection is taken up where it broke: Last-Event-ID is said, and nothing of what others did meanwhile is missed', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const network = await wire(server);
  const page = await open(browser, `${network.url}/#/routes?state=outstanding`);
  await until(page, () => document.querySelector('.pulse.is-live'));
  await settled(page);
  const before_ = await total(page);
  const routes = (await get(server.url, `${B}/routes?state=outstanding&limit=3`)).items;
  // News that is heard, so that there is something to say.
  await post(server.url, `${B}/${routes[0].schedule_id}/acknowledgements`, { provider: routes[0].provider, owner: routes[0].owner, acknowledged_by: 'cem@example.org' });
  await until(page, (count) => document.querySelector('#scope b')?.textContent === String(count), before_ - 1);
  const [, position] = /"position":(\d+)/.exec(await (await fetch(`${server.url}/events?follow=false`)).text());
  network.heads.length = 0;
  network.break();
  for (const route of routes.slice(1)) await post(server.url, `${B}/${route.schedule_id}/acknowledgements`, { provider: route.provider, owner: route.owner, acknowledged_by: 'cem@example.org' });
  await until(page, () => document.querySelector('.strip.is-away') && document.body.classList.contains('stale'));
  assert.equal(await total(page), before_ - 1, 'what was known is still shown, marked as old');
  network.mend();
  await until(page, (count) => document.querySelector('#scope b')?.textContent === String(count), before_ - 3);
  await until(page, () => document.querySelector('.pulse.is-live') && !document.querySelector('.strip.is-away'));
  assert.ok(network.heads.some((head) => head.startsWith('GET /events ') && new RegExp(`last-event-id: ${position}`, 'i').test(head)), 'the stream goes on behind what was heard');
  clean(page);
  await page.context().close();
  network.close();
  await server.stop();
});

test('where events do not get through, changes are seen within a second or so, and events are tried again', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, 'about:blank');
  page.faults.length = 0;
  await page.clock.install();
  let through = false;
  await page.route((url) => url.pathname === '/events' && !url.search, (route) => (through ? route.continue() : route.abort()));
  await page.goto(`${server.url}/#/routes?state=outstanding`);
  await until(page, () => document.querySelector('.pulse.is-polling')?.textContent === 'Checked every second');
  await settled(page);
  const took = [];
  for (const route of (await get(server.url, `${B}/routes?state=outstanding&limit=3`)).items) {
    const before_ = await total(page);
    const begun = Date.now();
    await post(server.url, `${B}/${route.schedule_id}/acknowledgements`, { provider: route.provider, owner: route.owner, acknowledged_by: 'cem@example.org' });
    await until(page, (number) => Number(document.querySelector('#scope b')?.textContent) === number, before_ - 1);
    took.push(Date.now() - begun);
  }
  console.log(`without events another person's changes were seen after ${took.join(', ')} ms, the requests included`);
  assert.ok(Math.min(...took) < 1500, `${took}`);
  through = true;
  // The browser itself has given up on the stream by now or does so soon; the page begins a new one.
  await page.clock.fastForward(31000);
  await until(page, () => document.querySelector('.pulse.is-live'));
  await page.context().close();
  await server.stop();
});

test('a deadline counts down second by second, and when it passes the page knows without anybody doing anything', async () => {
  const id = 'countdown-weekly';
  const minutes = 1;
  const file = join(FOLDER, 'countdown.ndjson');
  const record = (seconds) => JSON.stringify({ metadata_kind: 'go-backend-rollback-drill-notification-plan', session_id: `gordn-${id}`, created_at: new Date(Date.now() - (minutes * 60 - seconds) * 1000).toISOString(), schedule_id: id, plan: { status: 'due_soon', schedule_id: id, route_decisions: [{ provider: 'slack', owner: 'team', escalation_owner: 'head', acknowledgement_minutes: minutes, action: 'deliver', reason: 'the drill is due' }] } });
  writeFileSync(file, `${record(12)}\n`);
  const server = await cavra(['--import', file]);
  const page = await open(browser, `${server.url}/#/routes`);
  await settled(page);
  const seen = new Set();
  await page.exposeFunction('count', (text) => seen.add(text));
  await page.evaluate(() => setInterval(() => window.count(document.querySelector('#routes .due').textContent), 200));
  assert.equal(await page.locator('#routes .badge.is-breached').count(), 0);
  assert.match(await page.locator('#routes .due').textContent(), /^in 0:\d\d min$/);
  await until(page, () => document.querySelector('#routes .badge.is-breached') && document.querySelectorAll('.counted .count')[1].textContent === '1', undefined, { timeout: 20000 });
  assert.ok([...seen].filter((text) => text.startsWith('in 0:')).length >= 4, [...seen].join());
  assert.equal((await get(server.url, `${B}/routes?breached=true`)).total, 1);
  assert.equal(await page.getByRole('button', { name: 'Bulk Escalate Breached', exact: true }).getAttribute('aria-disabled'), null);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('an answer that is lost on the way is asked for again under the same key, and the bulk is done once', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, `${server.url}/#/routes?schedule_id=payments-ledger-monthly`);
  await settled(page);
  const sent = [];
  let lose = true;
  await page.route('**/acknowledgements/bulk', async (route) => {
    const key = route.request().headers()['idempotency-key'];
    if (!key) { await route.continue(); return; }
    sent.push(key);
    const response = await route.fetch();
    if (lose) await route.abort('connectionreset');
    else await route.fulfill({ response });
  });
  await page.keyboard.press('a');
  await until(page, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  const before_ = (await bulks(server.url)).length;
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await until(page, () => /may or may not have arrived\. Trying again is safe/.test(document.querySelector('dialog')?.textContent || ''));
  lose = false;
  await page.keyboard.press('Enter');
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(sent.length, 2, 'Enter twice is one request, and trying again is the second');
  assert.equal(new Set(sent).size, 1);
  assert.equal((await bulks(server.url)).length, before_ + 1);
  // The next intent has a key of its own.
  await page.keyboard.press('Enter');
  await until(page, () => !document.querySelector('dialog').open);
  await page.goto(`${server.url}/#/routes?schedule_id=search-index-weekly`);
  await settled(page);
  await page.keyboard.press('a');
  await until(page, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  await page.keyboard.press('Enter');
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(new Set(sent).size, 2);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('long work says what it is and how long it has taken, cannot be begun twice, and ends in its result', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, `${server.url}/#/routes?schedule_id=payments-ledger-monthly`);
  await settled(page);
  let go;
  const held = new Promise((resolve) => { go = resolve; });
  let count = 0;
  await page.route('**/acknowledgements/bulk', async (route) => {
    if (route.request().headers()['idempotency-key']) { count += 1; await held; }
    await route.continue();
  });
  await page.keyboard.press('a');
  await until(page, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  await page.keyboard.press('Enter');
  await until(page, () => /^\d+ routes in one transaction…2 s/.test(document.querySelector('dialog .working')?.textContent || ''));
  assert.equal(await dialog(page).getByRole('progressbar').count(), 1);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  assert.ok(await page.evaluate(() => document.querySelector('dialog').open), 'what is under way is not closed by accident');
  go();
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(count, 1);
  // What went wrong stays to be read, with the request's id.
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await page.route('**/acknowledgements/audit-packages/**', (route) => route.fulfill({ status: 500, contentType: 'application/problem+json', headers: { 'x-request-id': 'req-77' }, body: JSON.stringify({ title: 'Internal', detail: 'the package cannot be read now', code: 'internal', request_id: 'req-77' }) }));
  await page.goto(`${server.url}/#/packages`);
  await settled(page);
  await page.getByRole('button', { name: /^Plain JSON/ }).first().click();
  await until(page, () => /The package cannot be read now\. Request req-77/i.test(document.querySelector('.notices .is-critical')?.textContent || ''));
  assert.match(await page.locator('#cried').textContent(), /req-77/);
  clean(page);
  await page.context().close();
  await server.stop();
});
