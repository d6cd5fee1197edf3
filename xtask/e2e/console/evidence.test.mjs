// What the console hands out and takes in as evidence: signed packages, results of deliveries, and earlier states.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AD, B, CAVRA, FOLDER, QUICKSTART, barriers, cavra, get, launch, open, overflows, post, settled, stopAll, until } from './lib.mjs';

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); await stopAll(); });

const dialog = (page) => page.getByRole('dialog');
const press = (page, name) => page.getByRole('button', { name, exact: false }).first().click();
const clean = (page) => assert.deepEqual(page.faults, []);
const saved = async (page, act) => {
  const [file] = await Promise.all([page.waitForEvent('download'), act()]);
  return { name: file.suggestedFilename(), path: await file.path() };
};
/// What `cavra verify` says; it throws unless the exit code is 0.
const verify = (path, ...more) => execFileSync(CAVRA, ['verify', path, ...more], { encoding: 'utf8' });
const DELIVERY = 'release-connector-delivery';
const deliveries = async (url) => (await get(url, `${B}?metadata_kind=${DELIVERY}&limit=1`)).total;

test('with a signing key the package of what is shown is signed, and a verifier agrees; so are the packages in the list', async () => {
  const key = join(FOLDER, `log-${process.pid}`);
  execFileSync(CAVRA, ['keys', 'generate', '--out', key]);
  const server = await cavra(['--import', QUICKSTART, '--signing-key', key]);
  const page = await open(browser, `${server.url}/#/routes?provider=slack`);
  await settled(page);
  await press(page, 'Export Ack Audit');
  assert.equal(await dialog(page).getByLabel(/^Signed \(DSSE\)/).isChecked(), true);
  const signed = await saved(page, () => dialog(page).getByRole('button', { name: 'Make and download' }).click());
  assert.match(signed.name, /^gordackaudit-.*\.dsse\.json$/);
  assert.match(verify(signed.path, '--key', `${key}.pub`), /verified with the key that was given/);
  const envelope = JSON.parse(readFileSync(signed.path));
  assert.equal(envelope.signatures.length, 1);
  await until(page, () => /is on its way/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.match(await dialog(page).textContent(), /cavra verify gordackaudit-.*\.dsse\.json --key .*cavra report .* --format html/);
  // Both forms, again, of the one package that was made.
  const plain = await saved(page, () => dialog(page).getByRole('button', { name: 'Plain JSON' }).click());
  assert.equal(JSON.parse(readFileSync(plain.path)).filters.provider, 'slack');
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await page.goto(`${server.url}/#/packages`);
  await settled(page);
  const [newest] = (await get(server.url, `${B}?metadata_kind=go-backend-rollback-drill-acknowledgement-audit-package&limit=1`)).items;
  const again = await saved(page, () => page.getByRole('button', { name: `Signed (DSSE): download package ${newest.audit_id}` }).click());
  assert.match(verify(again.path, '--key', `${key}.pub`), new RegExp(newest.audit_id));
  await page.getByRole('button', { name: `Facts of package ${newest.audit_id}` }).click();
  assert.match(await dialog(page).textContent(), /Signed with cavra\.log/);
  assert.deepEqual(await barriers(page), []);
  // A package that was made elsewhere has no evidence here, and that is said.
  const elsewhere = (await get(server.url, `${B}?metadata_kind=go-backend-rollback-drill-acknowledgement-audit-package&limit=50`)).items.find((one) => one.audit_id !== newest.audit_id);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: `Signed (DSSE): download package ${elsewhere.audit_id}` }).click();
  await until(page, () => /Request/.test(document.querySelector('.notices .is-critical')?.textContent || ''));
  clean(page);
  await page.context().close();
  await server.stop();
});

test('without a key the page says that packages are unsigned, and how far that goes', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, `${server.url}/#/routes?provider=slack`);
  await settled(page);
  await press(page, 'Export Ack Audit');
  assert.equal(await dialog(page).getByLabel(/^Plain JSON/).isChecked(), true);
  assert.match(await dialog(page).textContent(), /has no signing key/);
  await dialog(page).getByLabel(/^With its evidence/).check();
  const file = await saved(page, () => dialog(page).getByRole('button', { name: 'Make and download' }).click());
  assert.deepEqual(JSON.parse(readFileSync(file.path)).signatures, []);
  await until(page, () => /packages are unsigned/.test(document.querySelector('dialog')?.textContent || ''));
  clean(page);
  await page.context().close();
  await server.stop();
});

test('the result of a redelivery is recorded once, the decisions show it, and the next plan knows it', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, `${server.url}/#/export`);
  await settled(page);
  await press(page, 'Plan Auditor Retry');
  await dialog(page).getByRole('button', { name: 'Make the plan' }).click();
  await until(page, () => !document.querySelector('dialog').open && document.querySelector('svg.retry'));
  const plans = async () => (await get(server.url, `${B}?metadata_kind=go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export-delivery-retry-plan&limit=1`)).items[0].final_reporting_auditor_export_delivery_retry_plan;
  const first = await plans();
  const [good, bad] = first.retry_decisions.filter((one) => one.action === 'retry' && one.export_known);
  const recordOf = (one) => page.getByRole('button', { name: `Record result… of the delivery to ${one.provider}, ${one.release_record_ref || one.export_id}` }).first();
  const before_ = await deliveries(server.url);

  // One arrived: pressed three times at once, recorded once.
  await recordOf(good).click();
  assert.match(await dialog(page).textContent(), new RegExp(`What became of the delivery to ${good.provider}`));
  await dialog(page).getByLabel(/^HTTP status/).fill('200');
  assert.deepEqual(await barriers(page), []);
  await dialog(page).getByRole('button', { name: 'Record the result' }).evaluate((button) => { button.click(); button.click(); button.click(); });
  await until(page, () => /has it$/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.equal(await deliveries(server.url), before_ + 1);
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  await until(page, () => /delivered/.test(document.querySelector('section[aria-label="Retry plan"] tbody')?.textContent || ''));
  assert.match(await page.locator('section[aria-label="Retry plan"]').textContent(), /1 delivery has been reported since this plan/);

  // One failed again. What contradicts itself is refused with nothing recorded, and the fields stay as they were.
  await recordOf(bad).click();
  await dialog(page).getByLabel('It failed').check();
  await dialog(page).getByLabel(/^HTTP status/).fill('200');
  await dialog(page).getByLabel(/^Error/).fill('timeout');
  await dialog(page).getByLabel(/^Asked to wait/).fill('7200');
  await dialog(page).getByRole('button', { name: 'Record the result' }).click();
  await until(page, () => /says that a failed delivery succeeded/.test(document.querySelector('dialog [role=alert]')?.textContent || ''));
  assert.equal(await deliveries(server.url), before_ + 1);
  assert.equal(await dialog(page).getByLabel(/^Error/).inputValue(), 'timeout');
  // Also when somebody else's change draws the page anew behind the dialog.
  await dialog(page).getByLabel('Attempts').fill('4');
  await dialog(page).getByLabel(/^HTTP status/).focus();
  const asked = page.waitForResponse((response) => response.url().includes('metadata_kind'));
  await post(server.url, `${AD}/final-reporting-auditor-export/deliveries`, { export_id: bad.export_id, provider: 'elsewhere', success: true, completed_at: new Date().toISOString() });
  await asked;
  await settled(page);
  assert.equal(await dialog(page).getByLabel('Attempts').inputValue(), '4');
  assert.equal(await dialog(page).getByLabel('It failed').isChecked(), true);
  await dialog(page).getByLabel(/^HTTP status/).fill('503');
  await dialog(page).getByRole('button', { name: 'Record the result' }).click();
  await until(page, () => /has not got it$/.test(document.querySelector('dialog h2')?.textContent || ''));
  await press(dialog(page), 'Plan again');
  await dialog(page).getByRole('button', { name: 'Make the plan' }).click();
  await until(page, () => !document.querySelector('dialog').open);
  const second = await plans();
  const find = (plan, one) => plan.retry_decisions.find((other) => other.export_id === one.export_id && other.provider === one.provider);
  assert.equal(find(second, good), undefined, 'what has arrived is decided no more');
  assert.equal(find(second, bad).retry_count, bad.retry_count + 1);
  await until(page, (count) => document.querySelectorAll('section[aria-label="Retry plan"] tbody tr').length === count, second.decision_count);

  // The export's own list has all of them, and takes a delivery to somebody new.
  await page.getByRole('region', { name: 'Auditor exports, newest first' }).getByRole('button', { name: bad.release_record_ref }).first().click();
  // One row for each provider of a report; those that it does not call failed have got it.
  const reports = (await get(server.url, `${B}?metadata_kind=${DELIVERY}&delivery_id=${bad.export_id}`)).items;
  const listed = reports.flatMap((report) => report.providers).length;
  await until(page, (count) => document.querySelectorAll('dialog [aria-label^="Deliveries of this export"] tbody tr').length === count, listed);
  const got = reports.flatMap((report) => report.providers.filter((provider) => report.delivery_success || (report.failed_providers.length > 0 && !report.failed_providers.includes(provider)))).length;
  assert.equal(await page.locator('dialog [aria-label^="Deliveries of this export"] .badge.is-resolved').count(), got);
  assert.match(await dialog(page).textContent(), /status 503, 4 attempts, timeout/);
  await press(dialog(page), 'Record a delivery');
  await dialog(page).getByLabel('Provider').fill('servicenow');
  await dialog(page).getByRole('button', { name: 'Record the result' }).click();
  await until(page, () => document.querySelector('dialog h2')?.textContent === 'servicenow has it');
  assert.equal(await deliveries(server.url), before_ + 4);
  clean(page);
  await page.context().close();
  await server.stop();
});

test('an earlier state is unmistakable, stays in the address, lets nothing be changed, and one click leads back', async () => {
  const server = await cavra(['--import', QUICKSTART]);
  const page = await open(browser, server.url);
  await settled(page);
  const then = await get(server.url, `${B}/dashboard`);
  const head = (await (await fetch(`${server.url}/events?follow=false`)).text()).match(/"position":(\d+)/)[1];
  const open_ = (await get(server.url, `${B}/routes?state=outstanding&limit=500`)).items;
  await post(server.url, `${B}/acknowledgements/bulk`, { filter: { state: 'outstanding' }, acknowledged_by: 'cem@example.org', external_ref: 'CHG-1' });
  await until(page, () => document.querySelector('a.figure[href="#/routes?state=outstanding"] b')?.textContent === '0');

  // By its position in the log.
  await page.keyboard.press('t');
  await dialog(page).getByLabel('or log position').fill(head);
  assert.deepEqual(await barriers(page), []);
  await dialog(page).getByRole('button', { name: 'Show' }).click();
  await until(page, (count) => document.querySelector('a.figure[href^="#/routes?state=outstanding"] b')?.textContent === String(count), then.outstanding_acknowledgement_count);
  const strip = page.locator('.strip.is-past');
  assert.match(await strip.textContent(), new RegExp(`This is not now.*log position ${head}.*Nothing can be changed here`));
  assert.match(await page.title(), /^\(earlier state\)/);
  assert.match(page.url(), new RegExp(`as_of=${head}$`));
  // Links keep the moment; so do filters, reloading and every screen; and no screen has a barrier.
  await page.locator('a.figure[href^="#/routes?state=outstanding"]').click();
  await settled(page);
  assert.match(page.url(), new RegExp(`as_of=${head}`));
  assert.equal(Number(await page.locator('#scope b').textContent()), open_.length);
  await page.locator('#filter-provider').selectOption(open_[0].provider);
  await until(page, (count) => document.querySelector('#scope b').textContent === String(count), open_.filter((route) => route.provider === open_[0].provider).length);
  await page.reload();
  await settled(page);
  assert.equal(await page.locator('.strip.is-past').count(), 1);
  // Nothing that changes anything is there, with the reason; also not by keyboard.
  assert.equal(await page.getByRole('button', { name: /^Bulk|^Dismiss…|^Resolve…/ }).count(), 0);
  assert.match(await page.locator('.acts').first().textContent(), /nobody can acknowledge/);
  await page.getByRole('heading', { level: 1 }).focus();
  await page.keyboard.press('a');
  await until(page, () => /earlier state/.test(document.querySelector('.notices')?.textContent || ''));
  assert.equal(await page.evaluate(() => document.querySelector('dialog').open), false);
  await page.locator('#routes tbody th a').first().click();
  await until(page, () => document.querySelector('.timeline'));
  assert.equal(await page.locator('.detail').getByRole('button', { name: /^Acknowledge|^Undo/ }).count(), 0);
  assert.doesNotMatch(await page.locator('.timeline').textContent(), /CHG-1/);
  assert.deepEqual(await barriers(page), []);
  // A package of it says which moment it shows.
  await press(page, 'Export Ack Audit');
  const file = await saved(page, () => dialog(page).getByRole('button', { name: 'Make and download' }).click());
  const made = JSON.parse(readFileSync(file.path));
  assert.equal(made.as_of.log_position, Number(head));
  assert.equal(made.outstanding_count, made.route_count);
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  for (const screen of ['overview', 'packages', 'export', 'archive', 'history']) {
    await page.goto(`${server.url}/#/${screen}?as_of=${head}`);
    await settled(page);
    assert.equal(await page.locator('.strip.is-past').count(), 1, screen);
    assert.equal(await page.getByRole('button', { name: /^(Plan Auditor|Store the|Record |Auditor Export|Archive Reference)/ }).count(), 0, screen);
    assert.deepEqual(await barriers(page), [], screen);
  }
  await page.setViewportSize({ width: 320, height: 720 });
  assert.equal(await overflows(page), false);
  await page.setViewportSize({ width: 1440, height: 900 });
  assert.equal(Number(/\d+/.exec(await page.locator('main p[role=status]').textContent())[0]), (await get(server.url, `${B}?as_of=${head}&limit=1`)).total);

  // What happens now does not disturb what was; one click leads back to it.
  await page.goto(`${server.url}/#/routes?provider=${open_[0].provider}&as_of=${head}`);
  await settled(page);
  await page.getByRole('button', { name: 'Back to now' }).first().click();
  await until(page, () => !document.querySelector('.strip.is-past') && document.querySelector('.acts .primary'));
  await settled(page);
  assert.match(page.url(), new RegExp(`#/routes\\?provider=${open_[0].provider}$`));
  assert.equal(Number(await page.locator('#scope b').textContent()), (await get(server.url, `${B}/routes?provider=${open_[0].provider}`)).total);

  // By time: an hour of which nobody knows yet is a sentence, not a wrong number.
  await page.getByRole('button', { name: 'As of…' }).click();
  await dialog(page).getByLabel('Time', { exact: false }).first().fill('2020-01-01T00:00:01');
  await dialog(page).getByRole('button', { name: 'Show' }).click();
  await until(page, () => /^0 /.test(document.querySelector('#scope')?.textContent || ''));
  await page.goto(`${server.url}/#/overview?as_of=2999-01-01T00:00:00Z`);
  await until(page, () => /lies ahead/.test(document.querySelector('main [role=alert]')?.textContent || ''));
  await page.getByRole('heading', { level: 1 }).focus();
  await page.keyboard.press('n');
  await until(page, () => !document.querySelector('.strip.is-past') && document.querySelector('.verdict'));
  clean(page);
  await page.context().close();
  await server.stop();
});
