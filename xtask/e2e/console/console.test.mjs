// The console in Chromium against the real programs.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { AD, B, PAGE, QUICKSTART, SCREENS, barriers, cavra, get, launch, open, overflows, post, sample, settled, staticSite, stopAll, until } from './lib.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); await stopAll(); });

const dialog = (page) => page.getByRole('dialog');
const press = (page, name) => page.getByRole('button', { name, exact: false }).first().click();
const total = async (page) => Number((await page.locator('#scope b').textContent()).replace(/\D/g, ''));
async function routesOf(page, url, query = '') {
  await page.goto(`${url}/#/routes${query}`);
  await settled(page);
  await until(page, () => /\d/.test(document.querySelector('#scope b')?.textContent || '') && !document.querySelector('.acts')?.textContent.includes('…0'));
}
const clean = (page) => assert.deepEqual(page.faults, []);
const bulks = async (url) => (await get(url, `${B}?metadata_kind=go-backend-rollback-drill-bulk-acknowledgement&limit=500`)).items;

test('the whole page weighs less than 200 kB and asks nobody but its own origin', async () => {
  const server = await sample();
  const files = readdirSync(PAGE, { recursive: true }).map((name) => join(PAGE, name)).filter((name) => statSync(name).isFile());
  const bytes = files.reduce((sum, name) => sum + statSync(name).size, 0);
  const packed = files.reduce((sum, name) => sum + gzipSync(readFileSync(name)).length, 0);
  assert.ok(bytes < 200000, `${bytes} bytes`);
  const page = await open(browser, server.url);
  await settled(page);
  await until(page, () => document.querySelector('.hbars'));
  const shown = await page.evaluate(() => Math.round(performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint').startTime));
  console.log(`page weight ${(bytes / 1000).toFixed(1)} kB in ${files.length} files, ${(packed / 1000).toFixed(1)} kB compressed; first contentful paint ${shown} ms`);
  const policy = (await page.request.get(server.url)).headers()['content-security-policy'];
  assert.match(policy, /^default-src 'self'; /);
  assert.doesNotMatch(policy, /unsafe/);
  assert.equal((await page.request.get(`${server.url}/health`)).headers()['content-security-policy'], "default-src 'none'; frame-ancestors 'none'");
  clean(page);
  await page.context().close();
  await server.stop();
});

test('every number on the overview is the number behind its link', async () => {
  const server = await sample();
  const page = await open(browser, server.url);
  await settled(page);
  const figures = await page.locator('.step .figure').evaluateAll((all) => all.map((one) => [one.querySelector('span').textContent, Number(one.querySelector('b').textContent), one.getAttribute('href')]));
  assert.equal(figures.length, 17);
  assert.deepEqual(await page.locator('.step h2').allTextContents(), ['Notify', 'Acknowledge', 'Package', 'Deliver', 'Archive']);
  const numberIn = async (locator) => Number(/\d+/.exec((await locator.textContent()).replaceAll(',', ''))[0]);
  for (const [name, number, href] of figures) {
    assert.ok(href, `${name} leads nowhere`);
    await page.goto(`${server.url}/${href}`);
    await settled(page);
    const rows = page.locator('main tbody tr');
    let behind = null;
    if (href.startsWith('#/routes')) behind = await total(page);
    else if (href.startsWith('#/history')) behind = await numberIn(page.locator('main p[role=status]'));
    else if (href === '#/packages') behind = await rows.count();
    else if (href === '#/export?action=retry') behind = await page.getByRole('region', { name: 'Decisions', exact: true }).locator('tbody tr').count();
    else if (href === '#/archive') behind = await page.getByRole('region', { name: 'Archive Health' }).locator('tbody tr').count();
    assert.equal(behind, number, `${name}: ${href}`);
    // And the list itself has them, where it fits on its first page.
    if (number <= 50 && /^#\/(routes|history)/.test(href)) assert.equal(await rows.count(), number, name);
  }
  // The legend and the owners lead to their routes as well.
  await page.goto(`${server.url}/#/overview?hours=168`);
  await settled(page);
  await until(page, () => document.querySelector('.hbars'));
  assert.equal(await page.getByLabel('How far back').inputValue(), '168', 'how far back is in the address');
  const links = await page.locator('.legend-link, .hbar').evaluateAll((all) => all.map((one) => [Number(one.querySelector('b').textContent), one.getAttribute('href')]));
  for (const [number, href] of links) {
    await page.goto(`${server.url}/${href}`);
    await settled(page);
    assert.equal(await total(page), number, href);
  }
  clean(page);
  await page.context().close();
  await server.stop();
});

test('the buttons have their names, each does what it says, and one that cannot says why', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await routesOf(page, server.url);
  assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'Go Rollback Drill Notifications');
  const named = (name) => page.getByRole('main').getByRole('button', { name, exact: true });
  for (const [name, heading] of [['Bulk Ack Outstanding', /^Acknowledge \d+ routes$/], ['Bulk Escalate Breached', /^Escalate \d+ routes$/], ['Export Ack Audit', /^Export Ack Audit$/], ['Auditor Export', /^Auditor Export$/], ['Plan Auditor Retry', /^Plan Auditor Retry$/], ['Archive Reference', /^Archive reference$/]]) {
    await named(name).click();
    await until(page, (text) => new RegExp(text).test(document.querySelector('dialog h2')?.textContent || ''), heading.source);
    await page.keyboard.press('Escape');
    await until(page, () => !document.querySelector('dialog').open);
  }
  // Whoever looks is told what is left alone, by state, and it adds up to what is shown.
  const { counts, total: shown } = await get(server.url, `${B}/routes?limit=1`);
  await named('Bulk Ack Outstanding').click();
  await until(page, () => document.querySelector('dialog .beside'));
  const alone = [...(await page.locator('dialog .beside').textContent()).matchAll(/(\d+) (\w+)/g)].map(([, count, state]) => [state, Number(count)]);
  assert.deepEqual(Object.fromEntries(alone), { acknowledged: counts.acknowledged_count, escalated: counts.escalated_count, dismissed: counts.dismissed_count, resolved: counts.resolved_count, suppressed: counts.suppressed_count });
  assert.equal(alone.reduce((sum, [, count]) => sum + count, counts.outstanding_count), shown);
  await page.keyboard.press('Escape');
  await named('Export Ack Audit').click();
  assert.match(await page.locator('dialog .beside').textContent(), new RegExp(`^${counts.route_count} routes.*The ${counts.suppressed_count} suppressed ones.* left out`));
  await page.keyboard.press('Escape');
  assert.match(await named('Dismiss…').getAttribute('aria-description'), /Filter first/);
  await named('Plan Auditor Retry').click();
  await dialog(page).getByRole('button', { name: 'Make the plan' }).click();
  await until(page, () => location.hash === '#/export?plan=newest' && document.querySelector('section[aria-label="Retry plan"] tbody tr'));
  await page.goBack();
  await settled(page);
  await named('Archive Health').click();
  await until(page, () => location.hash === '#/archive' && document.querySelector('section[aria-label="Archive Health"] .verdict'));
  assert.match(await page.locator('section[aria-label="Archive Health"] .verdict').textContent(), /Judged at \d.*nothing was stored by looking/);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('the whole scope lives in the address: filters, order, page, route and moment survive a reload, a paste, back and forward', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await routesOf(page, server.url);
  // Each of the seven terms, by the control that sets it.
  const chosen = { owner: 'governance', provider: 'service_now', state: 'outstanding', action: 'deliver', category: 'deliver', breached: 'true', schedule_id: 'fraud-scoring-monthly' };
  for (const term of ['provider', 'state', 'action', 'breached']) await page.locator(`#filter-${term}`).selectOption(chosen[term]);
  for (const term of ['owner', 'schedule_id']) await page.locator(`#filter-${term}`).fill(chosen[term]);
  delete chosen.category;
  await until(page, (terms) => Object.entries(terms).every(([term, value]) => new URLSearchParams(location.hash.split('?')[1]).get(term) === value), chosen);
  await settled(page);
  assert.equal(await total(page), 1);
  await page.locator('#filter-category').selectOption('maintenance_window');
  await until(page, () => /^0 /.test(document.querySelector('#scope').textContent));
  await page.goBack();
  await until(page, () => /^1 /.test(document.querySelector('#scope').textContent));
  await page.goForward();
  await until(page, () => /^0 /.test(document.querySelector('#scope').textContent) && document.querySelector('#filter-category').value === 'maintenance_window');
  assert.equal(await page.locator('.counted [aria-disabled]').count(), 2, 'suppressed routes are no bulk');
  // Suppressed routes by category are shown, exported as they are shown, and acted on by nobody.
  const suppressed = (await get(server.url, `${B}/routes?category=owner_calendar&limit=500`)).total;
  await routesOf(page, server.url, '?category=owner_calendar');
  assert.equal(await total(page), suppressed);
  const asked = page.waitForRequest((request) => request.url().endsWith('/audit-package'));
  await press(page, 'Export Ack Audit');
  await dialog(page).getByRole('button', { name: 'Make and download' }).click();
  assert.deepEqual((({ generated_by, ...filter }) => filter)((await asked).postDataJSON()), { category: 'owner_calendar' }, 'the body is the filter');
  await until(page, () => /is on its way/.test(document.querySelector('dialog h2')?.textContent || ''));
  // Going elsewhere closes the dialog: it belongs to what was shown.
  // A bulk sends the same filter, and only its own terms more.
  await routesOf(page, server.url, '?owner=platform&schedule_id=payments-ledger-monthly');
  const looked = page.waitForRequest((request) => request.url().endsWith('/acknowledgements/bulk'));
  await press(page, 'Bulk Ack Outstanding');
  assert.deepEqual((await looked).postDataJSON().filter, { owner: 'platform', schedule_id: 'payments-ledger-monthly', state: 'outstanding', action: 'deliver' });
  await page.keyboard.press('Escape');
  // A route that is open, on a later page in another order: somebody else who gets the address sees the same.
  await routesOf(page, server.url, '?size=25&sort=-owner&from=25');
  await page.locator('#routes tbody th a').nth(3).click();
  await until(page, () => document.querySelectorAll('.timeline li').length);
  const [title, first, at] = [await page.locator('.detail').getAttribute('aria-label'), await page.locator('#routes tbody tr').first().textContent(), page.url()];
  const other = await open(browser, at, { name: 'bo@example.org' });
  await until(other, () => document.querySelectorAll('.timeline li').length);
  assert.equal(await other.locator('.detail').getAttribute('aria-label'), title);
  assert.equal(await other.locator('#routes tbody tr').first().textContent(), first);
  // Also when the route has left what the filter shows since.
  const open_ = (await get(server.url, `${B}/routes?state=outstanding&limit=1`)).items[0];
  await routesOf(other, server.url, '?state=outstanding');
  await other.locator(`#row-${open_.route_id}`).click();
  await until(other, () => document.querySelectorAll('.timeline li').length);
  const left = other.url();
  await post(server.url, `${B}/${open_.schedule_id}/acknowledgements`, { provider: open_.provider, owner: open_.owner, acknowledged_by: 'cem@example.org', external_ref: 'CHG-LEFT' });
  await page.goto(left);
  await until(page, () => /CHG-LEFT/.test(document.querySelector('.detail')?.textContent || ''));
  await page.goto(left.replace(/route=[^&]+/, 'route=no-such-route'));
  await until(page, () => /This route is not there/.test(document.querySelector('.detail')?.textContent || ''));
  for (const one of [page, other]) { clean(one); await one.context().close(); }
  await server.stop();
});

test('one filter decides what is shown, what a bulk acts on and what is exported, and it lives in the address', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await routesOf(page, server.url);
  await page.locator('#filter-owner').fill('platform');
  await page.locator('#filter-provider').selectOption('slack');
  await until(page, () => location.hash.includes('owner=platform') && location.hash.includes('provider=slack'));
  await settled(page);
  const wanted = (await get(server.url, `${B}/routes?owner=platform&provider=slack`)).total;
  await until(page, (number) => document.querySelector('#scope b')?.textContent === String(number), wanted);
  assert.equal(await page.locator('#routes tbody tr').count(), wanted);
  const outstanding = (await get(server.url, `${B}/routes?owner=platform&provider=slack&state=outstanding`)).total;
  assert.equal(await page.locator('.counted').first().textContent(), `Bulk Ack Outstanding${outstanding}`);
  // Reloaded, the same; back, the filter before.
  await page.reload();
  await settled(page);
  assert.equal(await total(page), wanted);
  assert.equal(await page.locator('#filter-owner').inputValue(), 'platform');
  // What is exported is this scope, and the file is the stored package, byte for byte.
  await press(page, 'Export Ack Audit');
  const [file] = await Promise.all([page.waitForEvent('download'), dialog(page).getByRole('button', { name: 'Make and download' }).click()]);
  const bytes = readFileSync(await file.path());
  const made = JSON.parse(bytes);
  assert.deepEqual([made.filters.owner, made.filters.provider], ['platform', 'slack']);
  assert.match(file.suggestedFilename(), /^gordackaudit-.*\.json$/);
  const digest = createHash('sha256').update(bytes).digest('hex');
  assert.ok((await dialog(page).textContent()).includes(digest), 'the shown digest is that of the file');
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await page.getByRole('link', { name: 'Audit packages' }).click();
  await settled(page);
  assert.match(await page.locator('tbody tr').first().textContent(), /owners like “platform” over slack/);
  // A filter that contradicts a button makes the button say so.
  await routesOf(page, server.url, '?state=resolved');
  const button = page.getByRole('button', { name: /^Bulk Ack Outstanding/ });
  assert.equal(await button.getAttribute('aria-disabled'), 'true');
  clean(page);
  await page.context().close();
  await server.stop();
});

test('outstanding routes are acknowledged by keyboard in at most six keys', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  // A browser that has never been here: there is no name yet.
  const page = await open(browser, server.url, { name: '' });
  await settled(page);
  const outstanding = (await get(server.url, `${B}/dashboard`)).outstanding_acknowledgement_count;
  assert.ok(outstanding > 0);
  let keys = 0;
  const key = async (name) => { keys += 1; await page.keyboard.press(name); };
  await key('r');
  await settled(page);
  await until(page, () => /Outstanding\d/.test(document.querySelector('.acts')?.textContent || ''));
  await key('a');
  await until(page, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(await page.evaluate(() => document.activeElement.textContent), `Acknowledge ${outstanding} routes`);
  await key('Enter');
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  await key('Enter');
  await until(page, () => !document.querySelector('dialog').open);
  console.log(`keys for a bulk acknowledgement: ${keys}`);
  assert.ok(keys <= 6);
  assert.equal((await get(server.url, `${B}/dashboard`)).outstanding_acknowledgement_count, 0);
  const [bulk] = await bulks(server.url);
  assert.equal(bulk.bulk_acknowledgement.expected_digest, bulk.bulk_acknowledgement.selection_digest);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('a bulk shows what changes and what does not, is confirmed once, says what it did, and can be undone', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await routesOf(page, server.url, '?schedule_id=feature-flags-weekly');
  const before_ = await get(server.url, `${B}/routes?schedule_id=feature-flags-weekly&action=deliver`);
  const states = (list) => Object.fromEntries(list.items.map((route) => [route.route_id, route.acknowledgement_state]));
  await press(page, 'Dismiss…');
  await until(page, () => /^Dismiss \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  const resolved = before_.items.filter((route) => route.acknowledgement_state === 'resolved').length;
  assert.ok(resolved > 0);
  assert.match(await dialog(page).locator('.sum').textContent(), new RegExp(`${resolved}cannot change`));
  assert.match(await dialog(page).textContent(), /is resolved, and resolved is final/);
  // Reference and notes belong to the action: they are empty, and a secret in them is refused with nothing written.
  assert.equal(await dialog(page).getByLabel(/^Reference/).inputValue(), '');
  await dialog(page).getByLabel(/^Notes/).fill('see https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX');
  await dialog(page).getByRole('button', { name: /^Dismiss \d/ }).click();
  await until(page, () => /Request/.test(document.querySelector('dialog [role=alert]')?.textContent || ''));
  assert.deepEqual(states(await get(server.url, `${B}/routes?schedule_id=feature-flags-weekly&action=deliver`)), states(before_));
  await dialog(page).getByLabel(/^Notes/).fill('the drill was moved');
  // Pressed three times at once, done once.
  await dialog(page).getByRole('button', { name: /^Dismiss \d/ }).evaluate((button) => { button.click(); button.click(); button.click(); });
  await until(page, () => / dismissed$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal((await bulks(server.url)).length, 1);
  const changed = before_.items.filter((route) => !['resolved', 'dismissed'].includes(route.acknowledgement_state)).length;
  assert.match(await dialog(page).locator('.sum').textContent(), new RegExp(`^${changed}now dismissed`));
  await press(dialog(page), 'Undo…');
  await dialog(page).getByLabel('Reason').fill('the wrong schedule');
  await dialog(page).getByRole('button', { name: 'Undo', exact: true }).click();
  await until(page, () => /taken back$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.deepEqual(states(await get(server.url, `${B}/routes?schedule_id=feature-flags-weekly&action=deliver`)), states(before_));
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  // The next action begins with empty fields.
  await routesOf(page, server.url, '?breached=true');
  await press(page, 'Bulk Escalate Breached');
  await until(page, () => /^Escalate \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(await dialog(page).getByLabel(/^Notes/).inputValue(), '');
  await dialog(page).getByLabel(/^Reference/).fill('INC-902');
  await dialog(page).getByRole('button', { name: /^Escalate \d/ }).click();
  await until(page, () => / escalated$/.test(document.querySelector('dialog h2')?.textContent || ''));
  const late = await get(server.url, `${B}/routes?breached=true&limit=500`);
  assert.ok(late.items.every((route) => route.acknowledgement_state === 'escalated'));
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  // A bulk is found and undone from the history as well.
  await page.goto(`${server.url}/#/history?kind=go-backend-rollback-drill-bulk-acknowledgement`);
  await settled(page);
  await page.getByRole('button', { name: /^Bulk acknowledgement/ }).first().click();
  await press(dialog(page), 'Undo this bulk…');
  await dialog(page).getByLabel('Reason').fill('answered by telephone');
  await dialog(page).getByRole('button', { name: 'Undo', exact: true }).click();
  await until(page, () => /taken back$/.test(document.querySelector('dialog h2')?.textContent || ''));
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  // Resolving works the same way, and is final.
  await routesOf(page, server.url, '?schedule_id=search-index-weekly&action=deliver');
  await press(page, 'Resolve…');
  await until(page, () => /^Resolve \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  await dialog(page).getByRole('button', { name: /^Resolve \d/ }).click();
  await until(page, () => / resolved$/.test(document.querySelector('dialog h2')?.textContent || ''));
  const ended = (await get(server.url, `${B}/routes?schedule_id=search-index-weekly&action=deliver&limit=500`)).items;
  assert.ok(ended.length > 0 && ended.every((route) => route.acknowledgement_state === 'resolved'));
  clean(page);
  await page.context().close();
  await server.stop();
});

test('of two operators the slower one is told what has changed, and nothing is overwritten', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const [ana, bo] = [await open(browser, server.url), await open(browser, server.url, { name: 'bo@example.org' })];
  await routesOf(ana, server.url, '?schedule_id=payments-ledger-monthly');
  await routesOf(bo, server.url, '?schedule_id=payments-ledger-monthly');
  await press(ana, 'Bulk Ack Outstanding');
  await until(ana, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  // Bo answers one of them, and Ana's page shows it at once: behind her dialog, the dialog stays.
  const route = (await get(server.url, `${B}/routes?schedule_id=payments-ledger-monthly&state=outstanding`)).items[0];
  await bo.locator(`#row-${route.route_id}`).click();
  await press(bo.locator('.detail'), 'Resolve');
  await dialog(bo).getByLabel(/^Reference/).fill('CHG-1');
  const begun = Date.now();
  await dialog(bo).getByRole('button', { name: 'Resolve', exact: true }).click();
  await until(ana, (id) => document.getElementById(`row-${id}`)?.closest('tr').textContent.includes('resolved'), route.route_id);
  const seen = Date.now() - begun;
  console.log(`another person's change was seen after ${seen} ms, the request included`);
  assert.ok(await ana.evaluate(() => document.querySelector('dialog').open));
  const count = (await bulks(server.url)).length;
  await dialog(ana).getByRole('button', { name: /^Acknowledge \d/ }).click();
  await until(ana, () => /Somebody was faster/.test(document.querySelector('dialog')?.textContent || ''));
  assert.equal((await bulks(server.url)).length, count);
  await press(dialog(ana), 'Look again');
  await until(ana, () => !/Somebody was faster/.test(document.querySelector('dialog')?.textContent || '') && /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  await dialog(ana).getByRole('button', { name: /^Acknowledge \d/ }).click();
  await until(ana, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  const now = (await get(server.url, `${B}/routes?schedule_id=payments-ledger-monthly&limit=200`)).items.find((one) => one.route_id === route.route_id);
  assert.equal(now.acknowledgement_state, 'resolved');
  for (const page of [ana, bo]) { clean(page); await page.context().close(); }
  await server.stop();
});

test('one route: who answered and why, what happened when, answering and taking back, and focus that stays', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await routesOf(page, server.url, '?schedule_id=fraud-scoring-monthly&state=outstanding');
  await page.locator('#routes tbody th a').first().focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelectorAll('.timeline li').length >= 2);
  const title = await page.locator('#detail-title').textContent();
  await press(page.locator('.detail'), 'Acknowledge');
  await dialog(page).getByLabel(/^Reference/).fill('CHG-77');
  await dialog(page).getByLabel(/^Notes/).fill('done by hand');
  await page.keyboard.press('Enter');
  await until(page, () => /CHG-77/.test(document.querySelector('.detail')?.textContent || '') && /acknowledged by ana@example.org/i.test(document.querySelector('.timeline')?.textContent || ''));
  assert.equal(await page.locator('#detail-title').textContent(), title);
  await press(page.locator('.detail'), 'Undo…');
  await dialog(page).getByLabel('Reason').fill('it was the other one');
  await page.keyboard.press('Enter');
  await until(page, () => /taken back by ana@example.org/.test(document.querySelector('.timeline')?.textContent || ''));
  // Somebody else's change refreshes the page, and the field that has the focus keeps it and its text.
  await page.locator('#filter-schedule_id').focus();
  const other = (await get(server.url, `${B}/routes?state=outstanding&limit=500`)).items.at(-1);
  const asked = page.waitForResponse((response) => response.url().includes('/routes?'));
  await post(server.url, `${B}/${other.schedule_id}/acknowledgements`, { provider: other.provider, owner: other.owner, acknowledged_by: 'cem@example.org' });
  await asked;
  await settled(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'filter-schedule_id');
  await page.getByRole('button', { name: 'Close details' }).click();
  await until(page, () => !document.querySelector('.detail'));
  clean(page);
  await page.context().close();
  await server.stop();
});

test('the timeline of a route has its plan, its delivery, its acknowledgements and escalations, and nothing of another cycle', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  const told = async (schedule, provider) => {
    const route = (await get(server.url, `${B}/routes?schedule_id=${schedule}&provider=${provider}&limit=1`)).items[0];
    await page.goto(`${server.url}/#/routes?schedule_id=${schedule}&provider=${provider}`);
    await page.locator(`#row-${route.route_id}`).click();
    // The one before is shown until this one is known.
    await until(page, (plan) => document.querySelector('.detail dl')?.textContent.endsWith(plan) && document.querySelectorAll('.timeline li').length > 0, route.plan_id);
    await settled(page);
    return { route, knots: await page.locator('.timeline li b').allTextContents(), text: await page.locator('.timeline').textContent() };
  };
  const { route, knots } = await told('identity-gateway-monthly', 'pagerduty');
  assert.deepEqual(knots.map((knot) => knot.replace(/ by .*/, '')), ['Planned', 'Notification not delivered', 'Time to acknowledge was over', 'Escalated']);
  // Acknowledged now, as part of a bulk, which the timeline leads to; then taken back.
  await page.goto(`${server.url}/#/routes?schedule_id=identity-gateway-monthly&state=escalated&provider=pagerduty`);
  await settled(page);
  await press(page, 'Resolve…');
  await until(page, () => /^Resolve \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  await dialog(page).getByLabel(/^Reference/).fill('CHG-5');
  await dialog(page).getByRole('button', { name: /^Resolve \d/ }).click();
  await until(page, () => / resolved$/.test(document.querySelector('dialog h2')?.textContent || ''));
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  const after = await told('identity-gateway-monthly', 'pagerduty');
  assert.match(after.text, /Resolved by ana@example\.org.*CHG-5/);
  await page.getByRole('button', { name: 'part of a bulk' }).last().click();
  await until(page, () => document.querySelector('dialog table'));
  assert.match(await dialog(page).textContent(), /Bulk acknowledgement.*gordbulkack-.*identity-gateway-monthly/);
  await page.keyboard.press('Escape');
  // A new cycle: its timeline begins anew, although the delivery named no plan.
  await post(server.url, '/evidence', { metadata_kind: 'go-backend-rollback-drill-notification-plan', session_id: 'gordn-next', created_at: new Date().toISOString(), schedule_id: route.schedule_id, plan: { status: 'due_soon', schedule_id: route.schedule_id, route_decisions: [{ provider: 'pagerduty', owner: route.owner, escalation_owner: 'head', acknowledgement_minutes: 30, action: 'deliver', reason: 'the next drill is due' }] } });
  const next = await told('identity-gateway-monthly', 'pagerduty');
  assert.deepEqual(next.knots, ['Planned', 'Time to acknowledge ends']);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('auditor export, retry plan, archive reference and archive health', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await page.goto(`${server.url}/#/export`);
  await settled(page);
  await press(page, 'Plan Auditor Retry');
  await dialog(page).getByRole('button', { name: 'Make the plan' }).click();
  await until(page, () => !document.querySelector('dialog').open && document.querySelectorAll('svg.retry .rowname').length > 1);
  const record = (await get(server.url, `${B}?metadata_kind=go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export-delivery-retry-plan&limit=1`)).items[0];
  const plan = record.final_reporting_auditor_export_delivery_retry_plan;
  await until(page, (count) => document.querySelectorAll('section[aria-label="Retry plan"] tbody tr').length === count, plan.decision_count);
  const decided = (await page.locator('section[aria-label="Retry plan"] table').textContent()).toLowerCase();
  for (const decision of plan.retry_decisions) assert.ok(decided.includes(decision.reason.toLowerCase()), decision.reason);
  assert.equal(await page.locator('section[aria-label="Retry plan"] tbody td[data-name="What to do"]').evaluateAll((cells) => cells.filter((cell) => cell.textContent.length > 20).length), plan.decision_count, 'each has a remedy');
  await press(page, 'Auditor Export');
  await dialog(page).getByLabel(/^Release record/).fill('REL-900');
  await dialog(page).getByRole('button', { name: 'Make the export' }).click();
  await until(page, () => /^The export is /.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.ok(await dialog(page).locator('tbody tr').count() >= 6, 'every check is shown');
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await page.goto(`${server.url}/#/archive`);
  await settled(page);
  const health = (await get(server.url, `${AD}/final-reporting-archive-reference-health?persist=false`)).health;
  await until(page, (count) => document.querySelectorAll('section[aria-label="Archive Health"] tbody tr').length === count, health.alert_count);
  const table = await page.locator('section[aria-label="Archive Health"] table').textContent();
  for (const alert of health.alerts) assert.ok(table.includes(alert.remedy), alert.alert_id);
  const missing = health.alerts.find((alert) => alert.alert_id === 'archive_reference_missing');
  await press(page, 'Archive Reference');
  await dialog(page).getByLabel(/^Where in the archive/).fill('worm://vault-7/one');
  await dialog(page).getByLabel(/^Export/).fill(missing.export_id);
  await dialog(page).getByLabel('SHA-256 that the archive reports').fill('ab'.repeat(32));
  await dialog(page).getByRole('button', { name: 'Record the reference' }).click();
  await until(page, (id) => {
    const rows = [...document.querySelectorAll('section[aria-label="Archive Health"] tbody tr')].filter((row) => row.querySelector(`[title="${id}"]`)).map((row) => row.textContent).join();
    return rows.includes('archive_hash_mismatch') && !rows.includes('archive_reference_missing');
  }, missing.export_id);
  const reports = async () => (await get(server.url, `${B}?metadata_kind=go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-archive-reference-health`)).total;
  const before_ = await reports();
  await press(page, 'Store the report…');
  await dialog(page).getByRole('button', { name: 'Store the report' }).click();
  await until(page, () => !document.querySelector('dialog').open);
  assert.equal(await reports(), before_ + 1, 'looking stored nothing, storing stored one');
  clean(page);
  await page.context().close();
  await server.stop();
});

test('the API goes away and comes back: nothing is invented, nothing can be changed, and everything is there again', async () => {
  const database = join(process.env.FOLDER, `away-${process.pid}.db`);
  let server = await cavra(['--import', QUICKSTART], { database });
  const listen = `127.0.0.1:${server.port}`;
  const page = await open(browser, server.url);
  await routesOf(page, server.url);
  const shown = await total(page);
  assert.equal(await server.stop(), 0, 'an open stream does not keep the server from stopping');
  await until(page, () => document.querySelector('.strip.is-away'));
  assert.match(await page.locator('.strip.is-away').textContent(), /cannot be reached since .* may be out of date; nothing can be changed/);
  assert.equal(await total(page), shown);
  assert.equal(await page.getByRole('button', { name: /^Bulk Ack Outstanding/ }).getAttribute('aria-disabled'), 'true');
  server = await cavra([], { database, listen });
  await until(page, () => !document.querySelector('.strip.is-away'));
  await until(page, () => document.querySelector('.pulse.is-live'));
  assert.equal(await page.getByRole('button', { name: /^Bulk Ack Outstanding/ }).getAttribute('aria-disabled'), null);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('where events do not get through, the page asks now and then', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, 'about:blank');
  page.faults.length = 0;
  await page.route((url) => url.pathname === '/events' && !url.search, (route) => route.abort());
  await page.goto(`${server.url}/#/routes?state=outstanding`);
  await until(page, () => document.querySelector('.pulse.is-polling'));
  const route = (await get(server.url, `${B}/routes?state=outstanding`)).items[0];
  const before_ = await total(page);
  await post(server.url, `${B}/${route.schedule_id}/acknowledgements`, { provider: route.provider, owner: route.owner, acknowledged_by: 'cem@example.org' });
  await until(page, (number) => Number(document.querySelector('#scope b')?.textContent) === number, before_ - 1);
  await page.context().close();
  await server.stop();
});

test('without an API the page says so and offers a sample that is unmistakable, apart from everything, and complete', async () => {
  const site = await staticSite('http://127.0.0.1:9');
  const page = await open(browser, site.url, { may: ['http://127.0.0.1:9'] });
  await page.getByRole('heading', { name: 'The API cannot be reached' }).waitFor();
  await press(page, 'Look at sample data');
  await until(page, () => document.querySelector('.strip.is-sample'));
  page.requests.length = 0;
  for (const screen of SCREENS) {
    await page.goto(`${site.url}?sample#/${screen}`);
    await settled(page);
    assert.match(await page.locator('.strip.is-sample').textContent(), /Sample data\. Invented/);
    assert.match(await page.title(), /sample data/);
    if (screen === 'export' || screen === 'archive') assert.match(await page.locator('.empty').textContent(), /The sample has no .* need an API/);
  }
  await page.goto(`${site.url}?sample#/routes`);
  await until(page, () => /Outstanding\d/.test(document.querySelector('.acts')?.textContent || ''));
  for (const [button, verb, word] of [['Bulk Escalate Breached', 'Escalate', 'escalated'], ['Bulk Ack Outstanding', 'Acknowledge', 'acknowledged']]) {
    await press(page, button);
    await until(page, (text) => document.querySelector('dialog h2')?.textContent.startsWith(text) && document.querySelector('dialog table'), verb);
    await dialog(page).getByRole('button', { name: new RegExp(`^${verb} \\d`) }).click();
    await until(page, (text) => document.querySelector('dialog h2')?.textContent.endsWith(text), word);
    await dialog(page).getByRole('button', { name: 'Done' }).click();
    await until(page, () => !document.querySelector('dialog').open);
  }
  await press(page, 'Export Ack Audit');
  assert.match(await dialog(page).textContent(), /^Sample data/, 'dialogs say it as well');
  const [file] = await Promise.all([page.waitForEvent('download'), dialog(page).getByRole('button', { name: 'Make and download' }).click()]);
  const made = JSON.parse(readFileSync(await file.path()));
  assert.match(made.sample, /It is no evidence/);
  assert.match(made.audit_id, /^sample-/);
  assert.match(file.suggestedFilename(), /^sample-/);
  assert.equal(made.outstanding_count, 0);
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  const elsewhere = page.requests.map((request) => request.url()).filter((url) => !url.startsWith('blob:') && !/\/(assets\/|config\.js|\?sample|$)/.test(url.replace(site.url.slice(0, -1), '')));
  assert.deepEqual(elsewhere, [], 'the sample asks nobody');
  await press(page, 'Leave the sample');
  await page.getByRole('heading', { name: 'The API cannot be reached' }).waitFor();
  clean(page);
  await page.context().close();
  site.close();
});

test('any static file server can serve the page, with the API in config.js', async () => {
  const site = await staticSite('http://127.0.0.1:0');
  const server = await cavra(['--import', QUICKSTART], { environment: { CAVRA_CORS_ORIGINS: site.origin } });
  site.close();
  // The port of the API is known only now.
  const own = await staticSite(server.url);
  const again = await cavra(['--import', QUICKSTART], { environment: { CAVRA_CORS_ORIGINS: own.origin } });
  const page = await open(browser, 'about:blank', { may: [own.origin, server.url, again.url] });
  page.faults.length = 0;
  await page.route(`${server.url}/**`, (route) => route.continue({ url: route.request().url().replace(server.url, again.url) }));
  await page.goto(`${own.url}#/routes?state=outstanding`);
  await settled(page);
  assert.equal(await total(page), (await get(again.url, `${B}/routes?state=outstanding`)).total);
  await page.context().close();
  own.close();
  await server.stop();
  await again.stop();
});

test('no screen and no dialog has a barrier, in either theme, from 320 pixels to 4k', async () => {
  const server = await sample();
  let looked = 0;
  for (const theme of ['light', 'dark']) {
    const page = await open(browser, server.url, { theme });
    const look = async (name) => {
      looked += 1;
      assert.deepEqual(await barriers(page), [], `${name}, ${theme}`);
    };
    for (const screen of SCREENS) {
      await page.goto(`${server.url}/#/${screen}`);
      await settled(page);
      await look(screen);
    }
    await routesOf(page, server.url, '?schedule_id=payments-ledger-monthly');
    await page.locator('#routes tbody th a').first().click();
    await until(page, () => document.querySelector('.timeline'));
    await look('a route');
    await press(page, 'Bulk Ack Outstanding');
    await until(page, () => document.querySelector('dialog table'));
    await look('the preview of a bulk');
    await page.keyboard.press('Escape');
    await until(page, () => !document.querySelector('dialog').open);
    await page.getByRole('heading', { level: 1 }).focus();
    await page.keyboard.press('?');
    await look('the keyboard list');
    await page.keyboard.press('Escape');
    await page.keyboard.press('t');
    await look('the choice of a moment');
    await page.keyboard.press('Escape');
    await press(page, 'Export Ack Audit');
    await look('the choice of a package');
    await page.keyboard.press('Escape');
    await page.goto(`${server.url}/#/packages`);
    await settled(page);
    await page.getByRole('button', { name: /^Facts of/ }).first().click();
    await look('the facts of a package');
    await page.keyboard.press('Escape');
    await page.goto(`${server.url}/#/export`);
    await settled(page);
    await page.getByRole('button', { name: /^Record result/ }).first().click();
    await dialog(page).getByLabel('It failed').check();
    await look('the result of a delivery');
    await page.keyboard.press('Escape');
    await page.getByRole('region', { name: 'Auditor exports, newest first' }).getByRole('button').nth(1).click();
    await until(page, () => document.querySelector('dialog [aria-label^="Deliveries"]'));
    await look('an export with its deliveries');
    await page.keyboard.press('Escape');
    for (const screen of SCREENS) {
      await page.goto(`${server.url}/#/${screen}?as_of=184`);
      await settled(page);
      await look(`${screen} as it was`);
    }
    for (const [width, height] of [[320, 720], [3840, 2160]]) {
      await page.setViewportSize({ width, height });
      for (const screen of SCREENS) {
        await page.goto(`${server.url}/#/${screen}`);
        await settled(page);
        assert.equal(await overflows(page), false, `${screen} scrolls sideways at ${width}`);
        if (width === 320) await look(`${screen} at 320`);
      }
    }
    clean(page);
    await page.context().close();
  }
  console.log(`axe looked at ${looked} states of the page: 0 violations`);
  await server.stop();
});

test('high contrast and forced colours keep every word and every shape', async () => {
  const server = await sample();
  for (const more of [{ contrast: 'more' }, { forcedColors: 'active' }]) {
    const page = await open(browser, server.url, more);
    await settled(page);
    assert.deepEqual(await barriers(page), []);
    await routesOf(page, server.url);
    assert.deepEqual(await barriers(page), []);
    assert.ok(await page.locator('.badge svg').count() > 10);
    await page.context().close();
  }
  await server.stop();
});
