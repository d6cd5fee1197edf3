// Signing in to the console with a real OpenID provider, and what each role is let do.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { B, FOLDER, QUICKSTART, cavra, launch, open, settled, stopAll, until } from './lib.mjs';

let browser;
let idp;
let provider;
let server;
before(async () => {
  browser = await launch();
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  const back = `http://127.0.0.1:${port}/console/callback`;
  provider = spawn(process.execPath, [process.env.IDP], { env: { PATH: process.env.PATH, IDP_REDIRECTS: back }, stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: provider.stdout }), 'line');
  idp = JSON.parse(line);
  const [oidc, rbac] = [join(FOLDER, 'oidc.json'), join(FOLDER, 'rbac.yaml')];
  writeFileSync(oidc, JSON.stringify({ issuer: idp.issuer, audience: idp.audience, algorithms: ['RS256', 'ES256', 'EdDSA'], client_id: 'console', redirect_url: back, scopes: ['email', 'groups'] }));
  writeFileSync(rbac, 'group_mappings:\n  release-operators: operator\n  auditors: auditor\nroles:\n  operator: [drill.ack, drill.ack.bulk, drill.ack.undo, evidence.read]\n');
  server = await cavra(['--import', QUICKSTART], { listen: `127.0.0.1:${port}`, environment: { CAVRA_APPROVAL_OIDC_CONFIG: oidc, CAVRA_APPROVAL_RBAC_FILE: rbac } });
});
after(async () => {
  await browser.close();
  provider?.kill('SIGTERM');
  await stopAll();
});

async function signIn(login) {
  // The provider's own page asks for a font elsewhere.
  const page = await open(browser, `${server.url}/#/routes?state=outstanding`, { may: [idp.issuer, 'https://fonts.googleapis.com'], name: '' });
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', 'x');
  await page.click('button[type=submit]');
  await page.click('button:has-text("Continue")');
  await page.waitForSelector('#who b');
  await settled(page);
  return page;
}
const dialog = (page) => page.getByRole('dialog');

test('whoever signs in comes back to where they were, sees who they are, and acts under that name', async () => {
  const page = await signIn('operator');
  assert.match(page.url(), /#\/routes\?state=outstanding$/);
  const who = await page.locator('#who').textContent();
  assert.match(who, /operator@example\.test.*operator.*ends in/);
  await until(page, () => document.querySelector('.pulse.is-live'));
  await page.keyboard.press('a');
  await until(page, () => /^Acknowledge \d/.test(document.querySelector('dialog h2')?.textContent || ''));
  assert.match(await dialog(page).textContent(), /Recorded as operator@example\.test, verified/);
  await page.keyboard.press('Enter');
  await until(page, () => / acknowledged$/.test(document.querySelector('dialog h2')?.textContent || ''));
  const recorded = await page.evaluate(async (base) => (await (await fetch(`${base}?metadata_kind=go-backend-rollback-drill-bulk-acknowledgement&limit=1`)).json()).items[0], B);
  assert.equal(recorded.bulk_acknowledgement.actor.actor, 'operator@example.test');
  assert.equal(recorded.bulk_acknowledgement.actor.verified, true);
  await dialog(page).getByRole('button', { name: 'Done' }).click();
  const button = page.getByRole('button', { name: /^Export Ack Audit/ });
  assert.match(await button.getAttribute('aria-description'), /Your role does not let you make an audit package/);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test('an auditor may export and not acknowledge, and the buttons say why', async () => {
  const page = await signIn('auditor');
  const button = page.getByRole('button', { name: /^Bulk Ack Outstanding/ });
  assert.equal(await button.getAttribute('aria-disabled'), 'true');
  assert.match(await button.getAttribute('aria-description'), /Your role does not let you acknowledge in bulk/);
  await page.goto(`${server.url}/#/routes?schedule_id=search-index-weekly`);
  await settled(page);
  await page.getByRole('button', { name: /^Export Ack Audit/ }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), dialog(page).getByRole('button', { name: 'Make and download' }).click()]);
  assert.match(file.suggestedFilename(), /^gordackaudit-/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
