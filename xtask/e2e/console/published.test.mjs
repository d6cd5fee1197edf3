// The published browser client against `cavra api`: what it sends (contract sandbox-ui 2.1, 2.2 and the pairs of 8), from a
// page of another origin, in a browser, with its token on every POST and on nothing else.
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AD, B, FOLDER, QUICKSTART, cavra, get, launch, open, stopAll } from './lib.mjs';

const ACK = 'go-backend-rollback-drill-notification-ack';
// Guards nothing: the provider lives as long as the test.
const SECRET = 'e2e-only-not-a-credential';

let browser;
let provider;
let idp;
let site;
let api;
let page;
before(async () => {
  browser = await launch();
  provider = spawn(process.execPath, [process.env.IDP], { env: { PATH: process.env.PATH }, stdio: ['ignore', 'pipe', 'inherit'] });
  idp = JSON.parse((await once(createInterface({ input: provider.stdout }), 'line'))[0]);
  site = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>the published page</title>')).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const origin = `http://127.0.0.1:${site.address().port}`;
  const [oidc, rbac] = [join(FOLDER, 'published-oidc.json'), join(FOLDER, 'published-rbac.yaml')];
  writeFileSync(oidc, JSON.stringify({ issuer: idp.issuer, audience: idp.audience }));
  writeFileSync(rbac, 'group_mappings:\n  release-operators: release-manager\n  auditors: auditor\n');
  api = await cavra(['--import', QUICKSTART, '--anonymous-read'], { environment: { CAVRA_APPROVAL_OIDC_CONFIG: oidc, CAVRA_APPROVAL_RBAC_FILE: rbac, CAVRA_CORS_ORIGINS: origin } });
  page = await open(browser, origin, { may: [api.url], name: '' });
});
after(async () => {
  await browser.close();
  provider?.kill('SIGTERM');
  site?.close();
  await stopAll();
});

async function tokenOf(client) {
  const answer = await fetch(`${idp.issuer}/token`, {
    method: 'POST', headers: { authorization: `Basic ${Buffer.from(`${client}:${SECRET}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: idp.audience }),
  });
  return (await answer.json()).access_token;
}

/// As the page asks: `fetch` without credentials; what the browser keeps from it counts as no answer.
const ask = (method, path, { query = {}, body, token } = {}) => page.evaluate(async ([verb, url, sent, bearer]) => {
  const headers = { ...(sent ? { 'content-type': 'application/json' } : {}), ...(bearer ? { authorization: `Bearer ${bearer}` } : {}) };
  const response = await fetch(url, { method: verb, headers, ...(sent ? { body: JSON.stringify(sent) } : {}) });
  const text = await response.text();
  let answer = null;
  try { answer = JSON.parse(text); } catch { /* no JSON is a failure, below */ }
  return { status: response.status, body: answer, text };
}, [method, `${api.url}${path}${Object.keys(query).length ? `?${new URLSearchParams(query)}` : ''}`, body || null, token || null]);

/// What the client needs for success: 2xx with a JSON object. Never 204, never an empty body.
const good = ({ status, body, text }, what) => {
  assert.ok(status >= 200 && status < 300 && status !== 204 && body && typeof body === 'object', `${what}: ${status} ${text.slice(0, 300)}`);
  return body;
};
const has = (object, what, fields) => { for (const [name, type] of Object.entries(fields)) assert.ok(type === 'array' ? Array.isArray(object[name]) : typeof object[name] === type && object[name] !== null, `${what}: ${name} is ${JSON.stringify(object[name])}`); };
const outstandingOf = (history) => history.items.flatMap((item) => item.escalation_plan?.routes || []).filter((route) => route.acknowledgement_state === 'outstanding');
const refreshed = async () => good(await ask('GET', B, { query: { limit: '50' } }), 'history');

test('2.1: loading and refreshing', async () => {
  const token = await tokenOf('operator');
  const config = good(await ask('GET', '/console/config'), '8.1');
  has(config, '8.1', { api_base_url: 'string', metadata_mode: 'string', cors_origins: 'array', endpoints: 'object' });
  assert.deepEqual([config.approval_oidc, config.approval_rbac], ['configured', 'configured']);
  const session = good(await ask('GET', '/console/session', { token }), '8.2');
  has(session, '8.2', { mode: 'string', permissions: 'object', repository_permissions: 'array', operator_notes: 'array' });
  assert.equal(session.authenticated, true);
  has(session.actor, '8.2', { actor: 'string', issuer: 'string', groups: 'array' });
  // 8.3: the browser has asked beforehand; here once more, to see the words.
  const preflight = await fetch(`${api.url}${B}/acknowledgements/bulk`, { method: 'OPTIONS', headers: { origin: new URL(page.url()).origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' } });
  assert.ok([200, 204].includes(preflight.status));
  assert.equal(preflight.headers.get('access-control-allow-origin'), new URL(page.url()).origin);
  assert.match(preflight.headers.get('access-control-allow-methods'), /POST/);
  assert.match(preflight.headers.get('access-control-allow-headers'), /authorization/i);
  const foreign = await fetch(`${api.url}${B}/acknowledgements/bulk`, { method: 'OPTIONS', headers: { origin: 'http://127.0.0.1:1', 'access-control-request-method': 'POST' } });
  assert.equal(foreign.headers.get('access-control-allow-origin'), null);

  // 8.4: one escalation plan, in front, with the routes as they are.
  const history = await refreshed();
  has(history, '8.4', { items: 'array' });
  assert.equal(history.items.filter((item) => item.escalation_plan?.routes?.length).length, 1);
  assert.equal(outstandingOf(history).length, (await get(api.url, `${B}/routes?state=outstanding&limit=1`)).total);
  for (const query of [{ provider: 'slack' }, { metadata_kind: ACK }, { connector_delivery_source: 'go_backend_rollback_drill_notification' }, ...['acknowledged', 'dismissed', 'escalated', 'resolved', 'delivered', 'delivery_failed', 'critical', 'healthy'].map((state) => ({ acknowledgement_state: state }))]) {
    assert.ok(good(await ask('GET', B, { query: { ...query, limit: '50' } }), JSON.stringify(query)).items.length > 0, JSON.stringify(query));
  }
  // 8.5
  has(good(await ask('GET', `${B}/dashboard`), '8.5'), '8.5', { alert_level: 'string', plan_count: 'number', delivery_count: 'number', failed_delivery_count: 'number', acknowledgement_count: 'number', outstanding_acknowledgement_count: 'number', outstanding_acknowledgements: 'array', acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retryable_count: 'number' });
  // 8.6, 8.7
  const rows = good(await ask('GET', `${B}/routes`, { query: { owner: 'platform', action: 'suppress', limit: '50' } }), '8.6');
  assert.ok(rows.items.length > 0);
  for (const row of rows.items) has(row, '8.6', { route_id: 'string', schedule_id: 'string', plan_id: 'string', owner: 'string', provider: 'string', action: 'string', category: 'string', reason: 'string' });
  has(good(await ask('GET', `${B}/suppression-trends`, { query: { owner: 'payments' } }), '8.7').trend, '8.7', { trend_id: 'string', generated_at: 'string', category_counts: 'object', owner_counts: 'object', provider_counts: 'object', maintenance_suppressed_count: 'number', calendar_suppressed_count: 'number' });
  // 8.8 is about a part that does not exist here: a refusal that the page can read, and no invented report.
  assert.ok([401, 404].includes((await ask('GET', `${AD}/retry-recovery-report`, { query: { recovery_slo_minutes: '240', generated_by: 'console' } })).status));
});

test('2.2: the buttons of routes', async () => {
  const token = await tokenOf('operator');
  const sent = { external_ref: 'CHG-9001', notes: 'drill re-run booked' };
  // Ack, Escalate, Resolve (8.9), the last of them final.
  const [row] = outstandingOf(await refreshed());
  for (const state of ['acknowledged', 'escalated', 'resolved']) {
    const body = { provider: row.provider, plan_id: row.plan_id, acknowledged_by: 'dana@example.test', acknowledgement_state: state, ...sent };
    const done = good(await ask('POST', `${B}/${encodeURIComponent(row.schedule_id)}/acknowledgements`, { token, body }), '8.9');
    has(done.actor, '8.9', { actor: 'string', issuer: 'string', groups: 'array' });
    has(done.acknowledgement, '8.9', { acknowledgement_id: 'string', acknowledged_by: 'string', acknowledged_at: 'string' });
    assert.equal(done.acknowledgement.acknowledgement_state, state);
    const now = (await refreshed()).items[0].escalation_plan.routes.find((one) => one.schedule_id === row.schedule_id && one.provider === row.provider && one.owner === row.owner);
    assert.equal(now.acknowledgement_state, state, 'the table of the next refresh shows it');
  }
  // Without the right: 403, a reason that is a text, and nothing has changed.
  const [other] = outstandingOf(await refreshed());
  const body = { provider: other.provider, plan_id: other.plan_id, acknowledged_by: 'eve', acknowledgement_state: 'resolved', ...sent };
  for (const [who, status] of [[await tokenOf('auditor'), 403], [null, 401]]) {
    const no = await ask('POST', `${B}/${encodeURIComponent(other.schedule_id)}/acknowledgements`, { token: who, body });
    assert.equal(no.status, status, no.text);
    assert.equal(typeof no.body.detail, 'string');
  }
  assert.equal(outstandingOf(await refreshed())[0].plan_id, other.plan_id);

  // Bulk Escalate Breached (8.11), then Bulk Ack Outstanding (8.10), over the table as the client holds it.
  const bulk = (routes, state, more) => ({ acknowledged_by: 'dana@example.test', acknowledgement_state: state, ...more, routes: routes.map((one) => ({ schedule_id: one.schedule_id, provider: one.provider, plan_id: one.plan_id, external_ref: '', notes: '' })) });
  const late = outstandingOf(await refreshed()).filter((one) => one.breached).slice(0, 4);
  assert.ok(late.length > 0);
  const escalated = good(await ask('POST', `${B}/acknowledgements/bulk`, { token, body: bulk(late, 'escalated', { external_ref: 'INC-40', notes: 'no answer for 65 min' }) }), '8.11');
  assert.equal(escalated.acknowledgement_count, escalated.acknowledgements.length);
  const rest = outstandingOf(await refreshed());
  assert.ok(rest.length > 0);
  const acknowledged = good(await ask('POST', `${B}/acknowledgements/bulk`, { token, body: bulk(rest, 'acknowledged', { external_ref: 'CHG-9001', notes: 'weekly sweep' }) }), '8.10');
  assert.ok(acknowledged.acknowledgement_count >= rest.length);
  for (const one of acknowledged.acknowledgements) assert.deepEqual([one.acknowledgement_state, one.external_ref, one.notes], ['acknowledged', 'CHG-9001', 'weekly sweep']);
  assert.equal(outstandingOf(await refreshed()).length, 0);

  // Export Ack Audit (8.12)
  const made = good(await ask('POST', `${B}/acknowledgements/audit-package`, { token, body: { owner: 'payments', provider: '', generated_by: 'dana@example.test' } }), '8.12').audit_package;
  has(made, '8.12', { audit_id: 'string', generated_at: 'string', generated_by: 'string', filters: 'object', route_count: 'number', acknowledgement_count: 'number', outstanding_count: 'number', alert_level: 'string', routes: 'array' });
  assert.deepEqual([made.filters.owner, made.filters.provider, made.filters.schedule_id], ['payments', '', '']);
  for (const one of made.routes) has(one, '8.12', { route_id: 'string', schedule_id: 'string', plan_id: 'string', provider: 'string', owner: 'string', acknowledgement_state: 'string', acknowledged: 'boolean', acknowledged_by: 'string', acknowledged_at: 'string', external_ref: 'string', notes: 'string' });
});

test('2.2: the buttons of the auditor export', async () => {
  const token = await tokenOf('operator');
  good(await ask('POST', `${B}/acknowledgements/audit-package`, { token, body: { owner: '', provider: '', generated_by: 'dana@example.test' } }), 'a package of everything');
  const asked = { generated_by: 'dana@example.test', release_record_ref: 'REL-77' };
  const EXPORT = `${AD}/final-reporting-auditor-export`;
  // Auditor Export (8.13): sent again before each archive reference, so again it is the same one.
  const made = good(await ask('POST', EXPORT, { token, body: asked }), '8.13').export;
  has(made, '8.13', { export_id: 'string', verification_state: 'string', release_record_ref: 'string', markdown: 'string' });
  assert.equal(made.verification_state, 'verified');
  assert.equal(good(await ask('POST', EXPORT, { token, body: asked }), '8.13').export.export_id, made.export_id);
  // Plan Auditor Retry (8.15)
  const { plan } = good(await ask('POST', `${EXPORT}/delivery-retry-plan`, { token, body: { generated_by: 'dana@example.test', retry_policy: { max_retry_attempts: 3, retry_delay_minutes: 0, allow_immediate_retry: true } } }), '8.15');
  has(plan, '8.15', { retry_plan_id: 'string', alert_level: 'string', decision_count: 'number', retryable_count: 'number', waiting_count: 'number', suppressed_count: 'number', retry_decisions: 'array' });
  for (const one of plan.retry_decisions) has(one, '8.15', { export_id: 'string', provider: 'string', action: 'string', reason: 'string', latest_delivery_id: 'string' });
  // Archive Ref (8.17): only the release says which export it is for.
  const { reference } = good(await ask('POST', `${AD}/final-reporting-immutable-archive-reference`, { token, body: { archived_by: 'dana@example.test', release_record_ref: 'REL-77', archive_ref: `immutable-archive://local/${Date.now()}`, archive_provider: 'operator_archive', legal_hold: false, notes: 'stored in WORM bucket' } }), '8.17');
  has(reference, '8.17', { reference_id: 'string', archive_ref: 'string', archived_at: 'string', archived_by: 'string' });
  assert.equal(reference.export_id, made.export_id);
  // Archive Health (8.18): without a token it is answered and not stored.
  const health = good(await ask('GET', `${AD}/final-reporting-archive-reference-health`, { query: { generated_by: 'dana@example.test' } }), '8.18');
  has(health.health, '8.18', { health_id: 'string', generated_at: 'string', alert_level: 'string', checked_export_count: 'number', archived_export_count: 'number', alert_count: 'number', alerts: 'array' });
  assert.equal(health.persisted, false);
  for (const one of health.health.alerts) has(one, '8.18', { alert_id: 'string', severity: 'string', export_id: 'string' });
  // What this service does not do it does not pretend to have done (docs/compatibility.md).
  const HEALTH = `${AD}/final-reporting-archive-reference-health-alerts`;
  for (const [name, path, body] of [
    ['Deliver Ack Audit', AD, { owner: '', provider: '', delivery_provider: 'webhook', generated_by: 'dana', cadence: 'on_demand', schedule_ref: 'evidence-console' }],
    ['Deliver Auditor, 8.14', `${EXPORT}/deliver`, { ...asked, provider: 'splunk', retries: 0, timeout_seconds: 0.1 }],
    ['Run Auditor Retry, 8.16', `${EXPORT}/delivery-retry-worker-run`, { generated_by: 'dana', execute: true, provider: 'splunk', retries: 0, timeout_seconds: 0.1 }],
    ['Send Archive Alert, 8.19', `${HEALTH}/deliver`, { generated_by: 'dana', provider: 'teams', force: true, retries: 0, timeout_seconds: 0.1 }],
    ['Ack Archive Alert, 8.20', `${HEALTH}//acknowledgements`, { acknowledged_by: 'dana', provider: 'teams', plan_id: '', acknowledgement_state: 'acknowledged', notes: '' }],
  ]) {
    const no = await ask('POST', path, { token, body });
    assert.equal(no.status, 404, `${name}: ${no.text}`);
    assert.equal(typeof no.body.detail, 'string', name);
  }
  assert.deepEqual(page.faults, []);
});
