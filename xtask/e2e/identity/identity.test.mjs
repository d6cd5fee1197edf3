// cavra against a real OpenID provider, with a real browser. Started by `cargo xtask e2e`, or by hand:
//   CAVRA=target/debug/cavra CHROMIUM=/usr/bin/chromium SEED_DATA=fixtures/quickstart.json node --test
//
// The numbers are the rows of the identity contract; those that need no provider are tests in crates/http/tests.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const HERE = dirname(fileURLToPath(import.meta.url));
const CAVRA = process.env.CAVRA;
const SEED = process.env.SEED_DATA;
const AUDIENCE = 'https://drills.test/api';
const SECRET = 'e2e-only-not-a-credential';
const B = '/runtime/go-pilot/rollback-drill-notifications';
const ACK = `${B}/fraud-scoring-monthly/acknowledgements`;
const RBAC = `# Rights of the end-to-end tests.
group_mappings:
  release-operators: operator
  change-advisory-board: board
  auditors: auditor
roles:
  operator: [drill.ack, evidence.read]
  board: [drill.ack.bulk, evidence.read]
`;

const folder = mkdtempSync(join(process.env.E2E_FOLDER || tmpdir(), 'identity-'));
const children = [];
const instances = [];
const tokens = new Set();
let answers = '';
let idp;
let second;
let cavra;
let browser;

// ---- programs -------------------------------------------------------------------------------------------------

async function start(name, command, args, env) {
  const log = join(folder, `${name}.log`);
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  child.stderr.pipe(createWriteStream(log));
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'exit').then(([code]) => ({ code }));
  const first = await Promise.race([once(lines, 'line').then(([line]) => ({ line })), ended]);
  if (first.line === undefined) throw new Error(`${name} ended with ${first.code}: ${readFileSync(log, 'utf8')}`);
  return { child, line: first.line, log, ended };
}

async function startIdp(name, env = {}) {
  const started = await start(name, process.execPath, [join(HERE, 'idp.mjs')], env);
  return { ...started, ...JSON.parse(started.line) };
}

async function freePort() {
  const server = http.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

let count = 0;
async function startCavra(oidc, { port = 0, env = {} } = {}) {
  count += 1;
  const name = `cavra-${count}`;
  const home = join(folder, name);
  mkdirSync(home);
  writeFileSync(join(home, 'oidc.json'), JSON.stringify(oidc));
  writeFileSync(join(home, 'rbac.yaml'), RBAC);
  const args = ['api', '--listen', `127.0.0.1:${port}`, '--database', join(home, 'cavra.db'), '--import', SEED];
  const started = await start(name, CAVRA, args, {
    CAVRA_APPROVAL_OIDC_CONFIG: join(home, 'oidc.json'), CAVRA_APPROVAL_RBAC_FILE: join(home, 'rbac.yaml'), ...env,
  });
  const base = started.line.replace('listening on ', '');
  const instance = { ...started, base, home, database: join(home, 'cavra.db') };
  instances.push(instance);
  return instance;
}

const oidcFile = (provider, more = {}) => ({
  issuer: provider.issuer, audience: AUDIENCE, leeway_seconds: 30, algorithms: ['RS256', 'ES256', 'EdDSA'],
  bad_tokens_per_minute: 100000, ...more,
});

// ---- requests -------------------------------------------------------------------------------------------------

function request(url, { method = 'GET', headers = {}, body, localAddress } = {}) {
  return new Promise((resolve, reject) => {
    const call = http.request(url, { method, headers, localAddress, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece) => { text += piece; });
      response.on('end', () => {
        answers += text + JSON.stringify(response.headers);
        const json = () => JSON.parse(text);
        resolve({ status: response.statusCode, headers: response.headers, text, json });
      });
    });
    call.on('error', reject);
    call.end(body);
  });
}

const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {});

function acknowledge(server, token, options = {}) {
  return request(server.base + ACK, {
    method: 'POST', body: JSON.stringify({ provider: 'email' }), ...options,
    headers: { 'content-type': 'application/json', ...bearer(token), ...options.headers },
  });
}

const read = (server, token) => request(`${server.base}${B}/dashboard`, { headers: bearer(token) });

/** A token of a machine client, from the provider's token endpoint. */
async function machineToken(provider, client = 'operator', query = {}) {
  const resource = new URL(AUDIENCE);
  for (const [name, value] of Object.entries(query)) resource.searchParams.set(name, value);
  const answer = await fetch(`${provider.issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${client}:${SECRET}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: resource.toString() }),
  });
  const { access_token: token, error } = await answer.json();
  assert.ok(token, `the provider gave no token: ${error}`);
  tokens.add(token);
  return token;
}

function assertInvalid(answer) {
  assert.equal(answer.status, 401, answer.text);
  assert.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"');
  assert.equal(answer.json().detail, 'the token is not valid');
}

function assertOperator(answer, provider, subject = 'operator') {
  assert.equal(answer.status, 200, answer.text);
  const { actor } = answer.json();
  assert.equal(actor.issuer, provider.issuer);
  assert.equal(actor.subject, subject);
  assert.equal(actor.verified, true);
  assert.deepEqual(actor.groups, ['release-operators']);
}

/** Asks again until the status is the wanted one; the caches of the service have lifetimes of seconds here. */
async function eventually(wanted, ask) {
  const deadline = Date.now() + 20000;
  for (;;) {
    const answer = await ask();
    if (answer.status === wanted || Date.now() > deadline) {
      assert.equal(answer.status, wanted, answer.text);
      return answer;
    }
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

/** A line of the log; it comes through a pipe, and may be later than the answer. */
async function logged(server, ...words) {
  let line;
  await eventually(200, async () => {
    line = readFileSync(server.log, 'utf8').split('\n').find((one) => words.every((word) => one.includes(word)));
    return { status: line ? 200 : 0, text: `no line with ${words.join(', ')}` };
  });
  return line;
}

const records = (server) => execFileSync(CAVRA, ['export-evidence', '--database', server.database], {
  env: { PATH: process.env.PATH }, maxBuffer: 1 << 28,
}).toString();

// ---- browser --------------------------------------------------------------------------------------------------

async function context() {
  // The pages' own policy allows no script of ours; what is tested is the browser's handling of cookies.
  const made = await browser.newContext({ bypassCSP: true });
  made.setDefaultTimeout(20000);
  return made;
}

/** Fills in the provider's own pages, as far as it shows any. */
async function signInAtProvider(page, login) {
  await page.waitForSelector('input[name=login]');
  await page.fill('input[name=login]', login);
  await page.fill('input[name=password]', 'x');
  await page.click('button[type=submit]');
  await page.waitForSelector('button:has-text("Continue")');
  await page.click('button:has-text("Continue")');
}

async function signIn(server, login, path = '/version') {
  const own = await context();
  const page = await own.newPage();
  await page.goto(`${server.base}/console/sign-in?return_to=${encodeURIComponent(path)}`);
  await signInAtProvider(page, login);
  await page.waitForURL(`${server.base}${path}`);
  return { own, page };
}

/** A request that the page itself makes. */
const inPage = (page, url, options = {}) => page.evaluate(async ([address, init]) => {
  try {
    const answer = await fetch(address, init);
    return { status: answer.status, text: await answer.text() };
  } catch (error) {
    return { status: 0, text: String(error) };
  }
}, [url, options]);

const session = async (page) => JSON.parse((await inPage(page, '/console/session')).text);

const webAck = (page, headers) => inPage(page, ACK, {
  method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ provider: 'email' }),
});

// ---- tests ----------------------------------------------------------------------------------------------------

before(async () => {
  const port = await freePort();
  const native = await freePort();
  const confidential = await freePort();
  const eddsa = await freePort();
  const back = (one) => `http://127.0.0.1:${one}/console/callback`;
  const redirects = [back(port), back(confidential), back(eddsa), `http://127.0.0.1:${native}/callback`].join(' ');
  idp = { ...(await startIdp('idp', { IDP_REDIRECTS: redirects })), native, confidential, eddsa };
  second = await startIdp('second-idp');
  cavra = await startCavra(oidcFile(idp, {
    client_id: 'console', redirect_url: back(port), scopes: ['email', 'groups'],
  }), { port });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update',
      '--disable-sync'],
  });
});

after(async () => {
  await browser?.close();
  for (const child of children) child.kill('SIGTERM');
});

describe('machine clients', () => {
  for (const [row, alg] of [['01', 'RS256'], ['02', 'ES256'], ['03', 'EdDSA']]) {
    test(`row ${row}: a client-credentials token signed with ${alg} acknowledges`, async () => {
      assertOperator(await acknowledge(cavra, await machineToken(idp, 'operator', { alg })), idp);
    });
  }

  const good = { 'row 05': ['multi-aud'], 'row 06': ['expired-in-leeway'], 'row 27': ['jku'] };
  for (const [row, twists] of Object.entries(good)) {
    for (const twist of twists) {
      test(`${row}: a token with ${twist} is accepted`, async () => {
        assertOperator(await acknowledge(cavra, await machineToken(idp, 'operator', { twist })), idp);
      });
    }
  }

  const bad = {
    'row 43': ['wrong-aud', 'no-aud'], 'row 44': ['wrong-iss', 'iss-slash'], 'row 46': ['expired'],
    'row 47': ['no-exp'], 'row 48': ['exp-string'], 'row 50': ['nbf-future', 'iat-future'], 'row 52': ['no-kid'],
    'row 53': ['wrong-kid'], 'row 54': ['typ-jwt', 'typ-dpop'],
    'required claims and sizes': ['no-sub', 'exp-huge', 'huge-groups'],
  };
  for (const [row, twists] of Object.entries(bad)) {
    for (const twist of twists) {
      test(`${row}: a token with ${twist}, rightly signed, is refused`, async () => {
        const before = records(cavra);
        assertInvalid(await acknowledge(cavra, await machineToken(idp, 'operator', { twist })));
        assert.equal(records(cavra), before);
      });
    }
  }

  test('a display name with control characters is not taken, the subject is', async () => {
    const answer = await acknowledge(cavra, await machineToken(idp, 'operator', { twist: 'ctl-email' }));
    assertOperator(answer, idp);
    assert.equal(answer.json().actor.actor, 'operator');
  });

  test('row 45: a valid token of a second provider is refused', async () => {
    assertInvalid(await acknowledge(cavra, await machineToken(second)));
  });

  test('row 56: a valid token without a group gets 403, and the log says who', async () => {
    const answer = await acknowledge(cavra, await machineToken(idp, 'nogroups'));
    assert.equal(answer.status, 403);
    assert.equal(answer.headers['www-authenticate'], 'Bearer error="insufficient_scope", scope="drill.ack"');
    const hash = createHash('sha256').update(`${idp.issuer}\0nogroups`).digest('hex').slice(0, 16);
    await logged(cavra, 'insufficient_scope', hash, idp.issuer, answer.json().request_id);
  });

  test('row 57: the right of another operation is none', async () => {
    assert.equal((await acknowledge(cavra, await machineToken(idp, 'auditor'))).status, 403);
    const bulk = { method: 'POST', body: '{"filter":{"state":"outstanding"},"dry_run":true}' };
    const send = async (client) => request(`${cavra.base}${B}/acknowledgements/bulk`, {
      ...bulk, headers: { 'content-type': 'application/json', ...bearer(await machineToken(idp, client)) },
    });
    assert.equal((await send('operator')).status, 403);
    assert.equal((await send('cab')).status, 200);
  });

  test('row 59: rights in a claim that is not configured are none', async () => {
    assert.equal((await acknowledge(cavra, await machineToken(idp, 'rolesonly'))).status, 403);
    const other = await startCavra(oidcFile(idp, { groups_claim: 'roles' }));
    assertOperator(await acknowledge(other, await machineToken(idp, 'rolesonly')), idp, 'rolesonly');
  });

  test('row 74: many bad tokens from one address are slowed, and a valid one from another is not', async () => {
    const limited = await startCavra(oidcFile(idp, { bad_tokens_per_minute: 30 }));
    const token = await machineToken(idp);
    const bad = await Promise.all(Array.from({ length: 50 }, (_, i) => acknowledge(limited, `bad.token.${i}`)));
    const slowed = bad.filter((answer) => answer.status === 429);
    assert.ok(slowed.length >= 15, `${slowed.length} of 50`);
    assert.ok(slowed.every((answer) => Number(answer.headers['retry-after']) > 0));
    assertOperator(await acknowledge(limited, token, { localAddress: '127.0.0.2' }), idp);
    assertOperator(await acknowledge(limited, token), idp);
    const metrics = await request(`${limited.base}/metrics`, { headers: bearer(token) });
    assert.match(metrics.text, /cavra_identity_refusals_total\{reason="malformed"\} 50/);
    assert.match(metrics.text, /cavra_identity_key_renewals\{result="renewed"\} [1-9]/);
  });
});

describe('people', () => {
  let user;

  test('row 04: an access token from a code and PKCE login acknowledges as the user', async () => {
    const verifier = randomBytes(32).toString('base64url');
    const redirect = `http://127.0.0.1:${idp.native}/callback`;
    const receiver = http.createServer((call, response) => { response.end('done'); }).listen(idp.native, '127.0.0.1');
    const own = await context();
    const page = await own.newPage();
    const address = new URL(`${idp.issuer}/auth`);
    address.search = new URLSearchParams({
      client_id: 'native', response_type: 'code', redirect_uri: redirect, scope: 'openid email groups', nonce: 'n-1',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
    }).toString();
    await page.goto(address.toString());
    await signInAtProvider(page, 'operator');
    await page.waitForURL(/callback\?/);
    const code = new URL(page.url()).searchParams.get('code');
    receiver.close();
    const answer = await fetch(`${idp.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code', client_id: 'native', code, redirect_uri: redirect, code_verifier: verifier,
      }),
    });
    user = await answer.json();
    tokens.add(user.access_token).add(user.id_token);
    await own.close();
    assertOperator(await acknowledge(cavra, user.access_token), idp);
  });

  test('row 54: the ID token of that login is no access token', async () => {
    assert.ok(user?.id_token);
    assertInvalid(await acknowledge(cavra, user.id_token));
  });

  test('sign-in in a browser: the session says who, scripts do not see the cookie, and reads work', async () => {
    const { own, page } = await signIn(cavra, 'operator');
    const [cookie] = (await own.cookies()).filter((one) => one.name.startsWith('__Host-'));
    assert.equal(cookie.name, '__Host-cavra-session');
    assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], [true, true, 'Strict', '/']);
    tokens.add(cookie.value);
    assert.equal(await page.evaluate(() => document.cookie), '');
    const said = await session(page);
    assert.deepEqual([said.mode, said.authenticated, said.actor.subject, said.actor.issuer],
      ['authenticated', true, 'operator', idp.issuer]);
    assert.equal(said.permissions['drill.ack'], true);
    assert.equal(said.permissions['drill.ack.bulk'], false);
    assert.equal((await inPage(page, `${B}/dashboard`)).status, 200);
    await own.close();
  });

  test('a write with a session needs the token of the session, and evidence keeps who it was', async () => {
    const { own, page } = await signIn(cavra, 'operator');
    const { csrf_token: csrf } = await session(page);
    assert.equal((await webAck(page, {})).status, 403);
    assert.equal((await webAck(page, { 'x-csrf-token': 'guessed' })).status, 403);
    const done = await webAck(page, { 'x-csrf-token': csrf });
    assert.equal(done.status, 200, done.text);
    const { actor, acknowledgement } = JSON.parse(done.text);
    assert.deepEqual([actor.issuer, actor.subject, actor.verified], [idp.issuer, 'operator', true]);
    assert.ok(records(cavra).includes(acknowledgement.acknowledgement_id));
    await own.close();
  });

  test('another site can neither write with the session nor read with it', async () => {
    const { own, page } = await signIn(cavra, 'operator');
    const { csrf_token: csrf } = await session(page);
    const before = records(cavra);
    // `localhost` is another site than 127.0.0.1.
    const evil = http.createServer((call, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<form method="post" enctype="text/plain" action="${cavra.base}${ACK}">
        <input name='{"provider":"email","x":"' value='"}'><button>go</button></form>`);
    }).listen(0, '127.0.0.1');
    await once(evil, 'listening');
    const other = await own.newPage();
    for (const host of ['localhost', '127.0.0.1']) {
      await other.goto(`http://${host}:${evil.address().port}/`);
      const [answer] = await Promise.all([other.waitForResponse((one) => one.url().endsWith(ACK)), other.click('button')]);
      assert.ok([401, 403].includes(answer.status()), `${host}: ${answer.status()}`);
      await other.goto(`http://${host}:${evil.address().port}/`);
      for (const headers of [{ 'content-type': 'application/json', 'x-csrf-token': csrf }, {}]) {
        const sent = await inPage(other, cavra.base + ACK, {
          method: 'POST', credentials: 'include', headers, body: JSON.stringify({ provider: 'email' }),
        });
        assert.equal(sent.status, 0, `${host}: a page of another origin read an answer`);
      }
      const got = await inPage(other, `${cavra.base}/console/session`, { credentials: 'include' });
      assert.equal(got.status, 0);
    }
    evil.close();
    assert.equal(records(cavra), before);
    await own.close();
  });

  test('a session and a token in one request are refused, and signing out ends the session', async () => {
    const { own, page } = await signIn(cavra, 'operator');
    const token = await machineToken(idp);
    const both = await inPage(page, `${B}/dashboard`, { headers: bearer(token) });
    assert.equal(both.status, 400);
    const [cookie] = (await own.cookies()).filter((one) => one.name === '__Host-cavra-session');
    const { csrf_token: csrf } = await session(page);
    const signOut = (headers) => inPage(page, '/console/sign-out', { method: 'POST', headers });
    assert.equal((await signOut({})).status, 403);
    assert.equal((await session(page)).authenticated, true);
    assert.deepEqual(JSON.parse((await signOut({ 'x-csrf-token': csrf })).text), { signed_out: true });
    assert.equal((await session(page)).mode, 'auth_required');
    assert.deepEqual((await own.cookies()).filter((one) => one.name.startsWith('__Host-')), []);
    // Also for whoever kept the cookie.
    const kept = await request(`${cavra.base}${B}/dashboard`, { headers: { cookie: `${cookie.name}=${cookie.value}` } });
    assert.equal(kept.status, 401);
    await own.close();
  });

  test('an answer that this browser did not ask for begins no session', async () => {
    const forged = await request(`${cavra.base}/console/callback?code=abc&state=def`);
    assert.equal(forged.status, 403);
    assert.equal(forged.json().code, 'sign_in_failed');
    assert.equal(forged.headers['set-cookie'], undefined);
    const own = await context();
    const page = await own.newPage();
    // The right cookie with another state; and then the right one no more, because an answer counts once.
    await page.goto(`${cavra.base}/console/sign-in`);
    const answer = await page.goto(`${cavra.base}/console/callback?code=abc&state=def`);
    assert.equal(answer.status(), 403);
    assert.deepEqual((await own.cookies()).filter((one) => one.name === '__Host-cavra-session'), []);
    await own.close();
  });

  test('after sign-in nobody is sent to another site', async () => {
    for (const path of ['https://evil.test/', '//evil.test/', '/\\evil.test', 'javascript:alert(1)', '/a"b']) {
      const answer = await request(`${cavra.base}/console/sign-in?return_to=${encodeURIComponent(path)}`);
      assert.equal(answer.status, 400, path);
    }
  });

  test('a confidential client with a secret in a file signs people in, with ES256', async () => {
    const secret = join(folder, 'client-secret');
    writeFileSync(secret, `${SECRET}\n`);
    const server = await startCavra(oidcFile(idp, {
      client_id: 'console-confidential', client_secret_file: secret, scopes: ['email', 'groups'],
      redirect_url: `http://127.0.0.1:${idp.confidential}/console/callback`,
    }), { port: idp.confidential });
    const { own, page } = await signIn(server, 'auditor');
    const said = await session(page);
    assert.deepEqual([said.actor.subject, said.permissions['audit.package.create'], said.permissions['drill.ack']],
      ['auditor', true, false]);
    await own.close();
  });

  test('sign-in works right after the provider has new keys', async () => {
    await fetch(`${idp.issuer}/__test/rotate?mode=overlap`);
    const { own, page } = await signIn(cavra, 'operator');
    assert.equal((await session(page)).actor.subject, 'operator');
    await own.close();
  });

  test('a public client signs people in with EdDSA', async () => {
    const server = await startCavra(oidcFile(idp, {
      client_id: 'console-eddsa', scopes: ['email', 'groups'],
      redirect_url: `http://127.0.0.1:${idp.eddsa}/console/callback`,
    }), { port: idp.eddsa });
    const { own, page } = await signIn(server, 'cab');
    assert.equal((await session(page)).permissions['drill.ack.bulk'], true);
    await own.close();
  });
});

describe('keys', () => {
  const control = async (provider, path) => (await fetch(`${provider.issuer}/__test/${path}`)).json();
  const quick = { jwks_ttl_seconds: 2, jwks_stale_seconds: 3, jwks_cooldown_seconds: 1, fetch_timeout_seconds: 1 };

  test('rows 63 and 64: rotation with overlap needs no restart, and a withdrawn key ends with the cache', async () => {
    const server = await startCavra(oidcFile(second, quick));
    const old = await machineToken(second);
    assert.equal((await read(server, old)).status, 200);
    await control(second, 'rotate?mode=overlap');
    const fresh = await machineToken(second);
    assert.equal((await eventually(200, () => read(server, fresh))).status, 200);
    assert.equal((await read(server, old)).status, 200);
    await control(second, 'withdraw');
    assertInvalid(await eventually(401, () => read(server, old)));
    assert.equal((await read(server, fresh)).status, 200);
  });

  for (const fault of ['503', 'hang', 'garbage']) {
    test(`row 65: with warm keys, a key set that answers ${fault} hurts only after the stale limit`, async () => {
      const server = await startCavra(oidcFile(second, quick));
      const token = await machineToken(second);
      assert.equal((await read(server, token)).status, 200);
      const { jwks } = await control(second, 'stats');
      await control(second, `fault?jwks=${fault}`);
      try {
        // Once it was asked again, and failed, old keys still serve.
        await eventually(200, async () => {
          const stats = await control(second, 'stats');
          return { status: stats.jwks > jwks ? 200 : 0, text: JSON.stringify(stats) };
        });
        assert.equal((await read(server, token)).status, 200);
        const closed = await eventually(503, () => read(server, token));
        assert.ok(Number(closed.headers['retry-after']) > 0);
        await logged(server, 'keys could not be renewed');
      } finally {
        await control(second, 'fault');
      }
      await eventually(200, () => read(server, token));
      server.child.kill('SIGTERM');
      assert.deepEqual(await server.ended, { code: 0 });
    });

    test(`row 66: with cold keys, a key set that answers ${fault} is 503, within the time-out`, async () => {
      const token = await machineToken(second);
      await control(second, `fault?jwks=${fault}`);
      try {
        const server = await startCavra(oidcFile(second, quick));
        const begun = Date.now();
        const answer = await acknowledge(server, token);
        assert.equal(answer.status, 503);
        assert.ok(Number(answer.headers['retry-after']) > 0);
        assert.ok(Date.now() - begun < 10000, 'the answer took longer than the time-out and a margin');
        assert.equal((await acknowledge(server, undefined)).status, 401);
      } finally {
        await control(second, 'fault');
      }
    });
  }

  test('row 67: metadata of another issuer gives no keys', async () => {
    // The same listener under another name: its metadata says 127.0.0.1.
    const server = await startCavra(oidcFile({ issuer: second.issuer.replace('127.0.0.1', 'localhost') }, quick));
    const answer = await acknowledge(server, await machineToken(second));
    assert.equal(answer.status, 503);
    await logged(server, 'not of the configured one');
  });

  test('a provider behind TLS is trusted by its own certificate authority, and by no other', async () => {
    const ca = join(folder, 'ca.pem');
    const tls = await startIdp('tls-idp', { IDP_TLS: '1', IDP_CERT_OUT: ca });
    const agent = { ca: readFileSync(ca) };
    const { default: https } = await import('node:https');
    const token = await new Promise((resolve, reject) => {
      const body = new URLSearchParams({ grant_type: 'client_credentials', resource: AUDIENCE }).toString();
      const call = https.request(`${tls.issuer}/token`, {
        ...agent, method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`operator:${SECRET}`).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body),
        },
      }, (response) => {
        let text = '';
        response.on('data', (piece) => { text += piece; });
        response.on('end', () => resolve(JSON.parse(text).access_token));
      });
      call.on('error', reject);
      call.end(body);
    });
    tokens.add(token);
    const trusting = await startCavra(oidcFile(tls, { ca_file: ca }));
    assertOperator(await acknowledge(trusting, token), tls);
    const wary = await startCavra(oidcFile(tls, { fetch_timeout_seconds: 1 }));
    assert.equal((await acknowledge(wary, token)).status, 503);
  });
});

describe('at the end', () => {
  test('row 75: no token is in a log, an answer or a record', async () => {
    assert.ok(tokens.size > 20, `${tokens.size} tokens were used`);
    let places = [['the answers', answers]];
    for (const server of instances) {
      places.push([server.log, readFileSync(server.log, 'latin1')]);
      for (const file of readdirSync(server.home)) {
        if (file.startsWith('cavra.db')) places.push([`${server.home}/${file}`, readFileSync(join(server.home, file), 'latin1')]);
      }
    }
    places.push(['the evidence', records(cavra)]);
    for (const token of tokens) {
      // The whole, the payload and the signature: any of them would be too much. Session cookies have one part.
      for (const part of new Set([token, ...token.split('.').slice(1)])) {
        for (const [place, text] of places) assert.ok(!text.includes(part), `${place} holds a token`);
      }
    }
    // What a search for nothing would also pass: the places are the right ones.
    assert.ok(places.some(([place, text]) => place.endsWith('.log') && text.includes('refused')));
    assert.ok(places.some(([place, text]) => place.endsWith('cavra.db') && text.includes('fraud-scoring-monthly')));
    assert.ok(records(cavra).includes(idp.issuer));
  });

  test('the service ends well', async () => {
    cavra.child.kill('SIGTERM');
    assert.deepEqual(await cavra.ended, { code: 0 });
  });
});
