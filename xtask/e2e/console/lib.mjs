// What every test needs: programs that are started and stopped, a browser that notices what must not happen.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

for (const name of ['CAVRA', 'CAVRA_SAMPLE', 'FOLDER', 'ROOT']) if (!process.env[name]) throw new Error(`${name} is not set; run: cargo xtask e2e`);
export const { CAVRA, CAVRA_SAMPLE, FOLDER, ROOT } = process.env;
export const PAGE = join(ROOT, 'crates/console/page');
export const B = '/runtime/go-pilot/rollback-drill-notifications';
export const AD = `${B}/acknowledgements/audit-delivery`;
export const QUICKSTART = join(ROOT, 'fixtures/quickstart.json');
export const SCREENS = ['overview', 'routes', 'packages', 'export', 'archive', 'history'];
mkdirSync(FOLDER, { recursive: true });

const running = new Set();

/// A program that prints its address first.
export class Program {
  static async start(program, args, environment = {}) {
    const log = openSync(join(FOLDER, `server-${running.size}-${Date.now()}.log`), 'w');
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CAVRA')));
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', log], env: { ...clean, ...environment } });
    const self = new Program();
    self.child = child;
    self.ended = new Promise((resolve) => { child.once('exit', (code, signal) => resolve(code ?? signal)); });
    self.url = await new Promise((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (piece) => {
        text += piece;
        const [, url] = /listening on (http:\S+)\n/.exec(text) || [];
        if (url) resolve(url);
      });
      self.ended.then((code) => reject(new Error(`${program} ended with ${code}`)));
    });
    running.add(self);
    return self;
  }

  get port() { return new URL(this.url).port; }

  async stop() {
    running.delete(this);
    this.child.kill('SIGTERM');
    return this.ended;
  }
}
/// Whatever a failed test left behind.
export const stopAll = () => Promise.all([...running].map((one) => one.stop()));
process.on('exit', () => { for (const one of running) one.child.kill('SIGKILL'); });

export const sample = (listen = '127.0.0.1:0') => Program.start(CAVRA_SAMPLE, ['--listen', listen]);
let databases = 0;
export const cavra = (more = [], { database, listen = '127.0.0.1:0', environment } = {}) => {
  databases += 1;
  return Program.start(CAVRA, ['api', '--listen', listen, '--database', database || join(FOLDER, `console-${process.pid}-${databases}.db`), ...more], environment);
};

export async function get(base, path) {
  const response = await fetch(base + path);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}
export async function post(base, path, body) {
  const response = await fetch(base + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/// Any static file server, with the API's address in `config.js`.
export function staticSite(api) {
  const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://x').pathname.replace(/^\/console\/$/, '/console/index.html').replace(/^\/console/, '');
    const file = join(PAGE, path);
    if (!file.startsWith(PAGE) || !existsSync(file) || !extname(file)) { response.writeHead(404).end(); return; }
    response.writeHead(200, { 'content-type': types[extname(file)], 'content-security-policy': `default-src 'self'; connect-src 'self' ${api}` });
    response.end(path === '/config.js' ? `window.CAVRA_API_BASE = '${api}';\n` : readFileSync(file));
  });
  return new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}/console/`, origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() })); });
}

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM || CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });

/// A page in a context of its own. What must never happen is kept in `faults`: violations of the policy, uncaught errors,
/// requests to anybody else.
export async function open(browser, url, { theme = 'light', width = 1440, height = 900, name = 'ana@example.org', may = [], ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, acceptDownloads: true, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...more });
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.faults = [];
  page.requests = [];
  page.on('pageerror', (error) => page.faults.push(`uncaught: ${error}`));
  page.on('console', (message) => { if (/Content Security Policy|violat/i.test(message.text())) page.faults.push(message.text()); });
  const origins = [new URL(url).origin, ...may];
  page.on('request', (request) => {
    page.requests.push(request);
    const from = request.url();
    if (!from.startsWith('blob:') && !origins.some((origin) => from.startsWith(origin))) page.faults.push(`a request to ${from}`);
  });
  await page.addInitScript((who) => {
    document.addEventListener('securitypolicyviolation', (event) => console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`));
    // An empty page has no storage.
    if (who && location.protocol !== 'about:' && !localStorage.getItem('cavra-name')) localStorage.setItem('cavra-name', who);
  }, name);
  await page.goto(url);
  return page;
}

/// Until something on the page holds. Playwright's own waiting, without a sleep.
export const until = (page, test, argument, options) => page.waitForFunction(test, argument, { polling: 'raf', ...options });
export const settled = (page) => until(page, () => document.querySelector('main') && !document.querySelector('.waiting') && !document.body.classList.contains('busy'));

/// What axe finds: rule, how bad, where.
export async function barriers(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return violations.flatMap((violation) => violation.nodes.map((node) => `${violation.id} (${violation.impact}): ${node.target} ${node.failureSummary?.replace(/\s+/g, ' ').slice(0, 160)}`));
}
export const overflows = (page) => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth + 1);
export const percentile = (values, share) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)];
