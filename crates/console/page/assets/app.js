// The console: one page, seven screens, one place where state lives.
import { Api, Refused, Unreachable } from './api.js';
import { clockTime, present, span, tick, told } from './format.js';
import { carry, carrying, fill, h, listen } from './dom.js';
import { Live } from './live.js';
import { errorBox, icon, sentence, waiting } from './widgets.js';
import { overview } from './overview.js';
import { routes } from './routes.js';
import { packages } from './packages.js';
import { exporting } from './export.js';
import { archive } from './archive.js';
import { history } from './history.js';
import { choose, lookAt, pastStrip } from './past.js';

const VIEWS = { overview, routes, packages, export: exporting, archive, history };
const NAMES = { overview: 'Overview', routes: 'Routes', packages: 'Audit packages', export: 'Auditor export', archive: 'Archive', history: 'History' };
const LETTERS = { o: 'overview', r: 'routes', p: 'packages', x: 'export', v: 'archive', h: 'history' };
const MODES = { starting: 'Connecting…', live: 'Live', polling: 'Checked every second', away: 'Not connected', sample: 'Sample data' };

const root = document.getElementById('app');
const sample = new URLSearchParams(location.search).has('sample');
const base = String(window.CAVRA_API_BASE || '').trim();

const ctx = {
  asOf: '', moment: null, sample, api: null, session: null, config: null, page: '', parameters: new URLSearchParams(), data: null, error: null,
  at: null, away: false, awaySince: null, mode: 'starting', dialog: null, notices: [], gate: null,
};

// Theme
const theme = () => localStorage.getItem('cavra-theme') || 'system';
function applyTheme() {
  if (theme() === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme();
}

// Saying things
ctx.say = (text) => { document.getElementById('said').textContent = text; };
ctx.notify = (text, kind = 'healthy') => {
  const notice = { text: sentence(text), kind, id: Math.random() };
  ctx.notices.push(notice);
  const place = kind === 'critical' ? 'cried' : 'said';
  document.getElementById(place).textContent = notice.text;
  // What went wrong stays until somebody has read it.
  if (kind !== 'critical') setTimeout(() => { ctx.notices = ctx.notices.filter((one) => one !== notice); draw(); }, 8000);
  draw();
};
ctx.failed = (error) => {
  if (error.name === 'AbortError') return;
  ctx.notify(error instanceof Refused && error.requestId ? `${sentence(error.message)} Request ${error.requestId}` : error.message, 'critical');
  if (error instanceof Refused && error.status === 401) start();
};

// Where we are
ctx.go = (to, { replace = false, moment } = {}) => {
  const address = moment === undefined ? carrying(to) : to;
  if (address === location.hash) { refresh(); return; }
  if (replace) window.history.replaceState(null, '', address);
  else window.history.pushState(null, '', address);
  arrive();
};

function arrive() {
  const [page, query] = location.hash.replace(/^#\/?/, '').split('?');
  const name = VIEWS[page] ? page : 'overview';
  const moved = name !== ctx.page;
  ctx.parameters = new URLSearchParams(query || '');
  // What is known of one moment says nothing about another.
  const asOf = sample ? '' : (ctx.parameters.get('as_of') || '').trim();
  const turned = asOf !== ctx.asOf;
  if (turned) {
    Object.assign(ctx, { asOf, moment: null, data: null, error: null, at: null });
    carry(asOf ? `as_of=${encodeURIComponent(asOf)}` : '');
    if (!asOf) present();
    if (!moved) { draw(); ctx.say(asOf ? 'You are looking at an earlier state.' : 'You are looking at now.'); }
  }
  document.body.classList.toggle('past', asOf !== '');
  if (moved) {
    const first = ctx.page === '';
    Object.assign(ctx, { page: name, data: null, error: null, at: null });
    draw();
    if (!first) { document.getElementById('title')?.focus(); scrollTo(0, 0); ctx.say(NAMES[name]); }
  }
  document.title = `${asOf ? '(earlier state) ' : ''}${NAMES[name]} – CAVRA console${sample ? ' (sample data)' : ''}`;
  load();
}
/// Reads what is shown: as it is, or as it was.
ctx.read = async (path, query, signal) => {
  const asOf = ctx.asOf;
  const answer = await ctx.api.get(path, asOf ? { ...query, as_of: asOf } : query, signal);
  if (answer.generated_at && asOf === ctx.asOf) {
    told(answer, asOf !== '');
    if (asOf) ctx.moment = answer.generated_at;
  }
  return answer;
};

/// Time itself has changed something, such as who is late.
const passed = () => { if (started && !ctx.gate && !ctx.asOf && !ctx.away && !document.hidden) refresh(); };

let running = null;
let again = false;
async function load() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  const page = ctx.page;
  document.body.classList.add('busy');
  soon();
  try {
    await VIEWS[page].load(ctx, mine.signal, (part) => {
      if (mine.signal.aborted || ctx.page !== page) return;
      ctx.data = { ...ctx.data, ...part };
      ctx.at = Date.now();
      ctx.error = null;
      draw();
    });
    if (running === mine && ctx.away) reached(true);
  } catch (error) {
    if (error.name !== 'AbortError' && !mine.signal.aborted) {
      if (error instanceof Unreachable) reached(false);
      else if (error instanceof Refused && error.status === 401) start();
      if (!(error instanceof Unreachable && ctx.data)) ctx.error = error;
    }
  } finally {
    if (running === mine) {
      running = null;
      document.body.classList.remove('busy');
      soon();
      if (again) { again = false; load(); }
    }
  }
}
/// What is shown, once more. While something is on its way it is followed by one more look, not interrupted.
function refresh() {
  if (running) again = true;
  else load();
}
ctx.refresh = refresh;

// Whether the API is there
function reached(yes) {
  if (ctx.away === !yes) return;
  ctx.away = !yes;
  ctx.awaySince = yes ? null : Date.now();
  if (yes) ctx.notify('The API is back. What you see is up to date again');
  else document.getElementById('cried').textContent = 'The API cannot be reached. What you see may be out of date.';
  draw();
}

// Dialogs
ctx.open = (dialog) => {
  ctx.dialog = dialog;
  draw();
  const element = document.getElementById('dialog');
  if (!element.open) element.showModal();
  (element.querySelector('[autofocus]') || element.querySelector('h2'))?.focus();
};
ctx.close = () => document.getElementById('dialog')?.close();
/// Moves on inside an open dialog: the new step is drawn, and its first thing to do has the focus.
ctx.step = () => {
  draw();
  const element = document.getElementById('dialog');
  (element?.querySelector('[autofocus]') || element?.querySelector('h2'))?.focus();
};

// Drawing
const brand = () => h('a', { class: 'brand', href: '#/overview' }, h('img', { src: 'assets/icon.svg', alt: '' }), h('span', {}, 'CAVRA', h('small', {}, 'evidence console')));

function side() {
  const session = ctx.session;
  const ends = session?.expires_at ? Date.parse(session.expires_at) : null;
  return h('header', { class: 'side' },
    brand(),
    h('nav', { class: 'nav', 'aria-label': 'Screens' }, Object.entries(NAMES).map(([page, name]) => h('a', { href: `#/${page}`, key: page, 'aria-current': page === ctx.page ? 'page' : null }, icon(page), name))),
    h('div', { class: 'side-foot' },
      h('p', { class: `pulse is-${ctx.asOf && !ctx.away ? 'past' : ctx.mode}` }, h('span', { class: 'dot' }), ctx.asOf && !ctx.away ? 'An earlier state' : MODES[ctx.mode]),
      session ? h('div', { class: 'who', id: 'who' },
        session.authenticated ? [h('b', {}, session.actor.actor), h('span', { class: 'quiet' }, roles(session)),
          ends ? h('span', { class: 'quiet' }, ` · ends in ${span(ends - Date.now())}`) : null,
          session.csrf_token ? h('div', {}, h('button', { class: 'linkish', onclick: signOut }, 'Sign out')) : null]
          : session.auth_required ? [h('span', { class: 'quiet' }, 'Not signed in'), h('div', {}, h('button', { class: 'linkish', onclick: signIn }, 'Sign in'))]
            : sample ? h('span', { class: 'quiet' }, 'Nobody is signed in: this is a sample.') : h('span', { class: 'quiet local' }, 'Open local mode: nobody is verified.')) : null,
      h('label', { class: 'field' }, h('span', { class: 'unseen' }, 'Colours'),
        h('select', { value: theme(), onchange: (event) => { localStorage.setItem('cavra-theme', event.target.value); applyTheme(); } },
          h('option', { value: 'system' }, 'System colours'), h('option', { value: 'light' }, 'Light'), h('option', { value: 'dark' }, 'Dark'))),
      h('button', { class: 'linkish', onclick: help, 'aria-keyshortcuts': '?' }, 'Keyboard')));
}

/// What the actor may do follows from roles; published servers tell only the groups.
function roles(session) {
  const { roles: named = [], actor: { groups = [] } } = session;
  return named.length ? named.join(', ') : groups.length ? groups.join(', ') : 'no role here';
}

function strips() {
  return [
    sample ? h('section', { class: 'strip is-sample', 'aria-label': 'Sample data', key: 'sample' }, icon('warning'),
      h('span', { class: 'spread' }, 'Sample data. Invented, in this browser only; nothing you do here is sent anywhere or kept.'),
      h('button', { class: 'button small', onclick: () => leaveSample() }, 'Leave the sample')) : null,
    ctx.config?.metadata_mode === 'sample' && !sample ? h('section', { class: 'strip is-sample', 'aria-label': 'Sample server', key: 'server' }, icon('warning'),
      h('span', { class: 'spread' }, 'Sample server. Its data is invented and in memory: when it stops, everything is gone.')) : null,
    ctx.asOf ? pastStrip(ctx) : null,
    ctx.away ? h('section', { class: 'strip is-away', 'aria-label': 'Connection', key: 'away' }, icon('critical'),
      h('span', { class: 'spread' }, `The API cannot be reached since ${clockTime(ctx.awaySince)}. `,
        ctx.at ? `What you see is from ${clockTime(ctx.at)} and may be out of date; nothing can be changed.` : 'There is nothing to show yet.'),
      h('button', { class: 'button small', onclick: refresh }, 'Try now'),
      h('button', { class: 'button small', onclick: enterSample }, 'Look at sample data')) : null,
  ];
}

/// With the next picture that the browser shows anyway, once for all who ask until then.
let due = 0;
function soon() { due ||= requestAnimationFrame(draw); }
function draw() {
  cancelAnimationFrame(due);
  due = 0;
  if (ctx.gate) { fill(root, h('main', { id: 'main', class: 'gate stack', tabindex: '-1', key: 'gate' }, brand(), ctx.gate())); return; }
  if (!ctx.page) return;
  const view = VIEWS[ctx.page];
  document.body.classList.toggle('stale', ctx.away);
  fill(root,
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); document.getElementById('main').focus(); } }, 'Skip to content'),
    h('div', { class: 'progress', 'aria-hidden': 'true' }),
    h('div', { class: 'strips', id: 'strips' }, strips()),
    h('div', { class: 'frame' }, side(),
      h('main', { id: 'main', class: 'content', tabindex: '-1', 'aria-busy': running && !ctx.data ? 'true' : null, key: ctx.page },
        h('div', { class: 'head' }, h('div', {}, h('h1', { id: 'title', tabindex: '-1' }, view.title), view.lead ? h('p', {}, view.lead) : null), h('div', { class: 'tools' },
          sample || ctx.asOf ? null : h('button', { class: 'button plain', id: 'as-of', key: 'as-of', onclick: () => choose(ctx) }, icon('history'), 'As of…'), view.tools ? view.tools(ctx) : null)),
        ctx.error ? errorBox(ctx.error, refresh) : null,
        ctx.data ? view.render(ctx, ctx.data) : ctx.error ? null : waiting())),
    h('dialog', { id: 'dialog', 'aria-labelledby': 'dialog-title', onclose: (_, element) => { if (element.open) return; const done = ctx.dialog?.closed; ctx.dialog = null; done?.(); draw(); }, oncancel: (event) => { if (ctx.dialog?.busy) event.preventDefault(); } },
      ctx.dialog ? h('div', { class: 'dialog', key: ctx.dialog.name }, sample ? h('p', { class: 'badge is-warning' }, icon('warning'), 'Sample data') : null, ctx.dialog.render(),
        h('button', { class: 'button plain small dialog-close', 'aria-label': 'Close', onclick: () => { if (!ctx.dialog?.busy) ctx.close(); } }, icon('close'))) : null),
    h('section', { class: 'notices', 'aria-label': 'Messages' }, ctx.notices.map((notice) => h('div', { class: `note is-${notice.kind}`, key: notice.id }, icon(notice.kind), h('div', {}, h('p', {}, notice.text)),
      h('button', { class: 'button plain small', 'aria-label': 'Dismiss this message', onclick: () => { ctx.notices = ctx.notices.filter((one) => one !== notice); draw(); } }, icon('close'))))));
  tick(root, passed);
  // What sticks below them has to know how high they are.
  const high = `${document.getElementById('strips').offsetHeight}px`;
  if (document.documentElement.style.getPropertyValue('--strips') !== high) document.documentElement.style.setProperty('--strips', high);
}
ctx.draw = draw;

// Keyboard
const keysOn = () => localStorage.getItem('cavra-keys') !== 'off';
function help() {
  const view = VIEWS[ctx.page];
  const rows = [...Object.entries(LETTERS).map(([key, page]) => [key, NAMES[page]]), ...(view.keys ? Object.entries(view.keys).map(([key, { name }]) => [key, name]) : []), ...(sample ? [] : [['t', 'State as of…'], ['n', 'Back to now']]), ['?', 'This list'], ['Esc', 'Close']];
  ctx.open({
    name: 'help',
    render: () => [h('h2', { id: 'dialog-title', tabindex: '-1' }, 'Keyboard'),
      h('dl', { class: 'keys' }, rows.map(([key, name]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, name)])),
      h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: keysOn(), onchange: (event) => localStorage.setItem('cavra-keys', event.target.checked ? 'on' : 'off') }), 'Use single letters as shortcuts'),
      h('div', { class: 'dialog-foot' }, h('button', { class: 'button primary', autofocus: true, onclick: ctx.close }, 'Done'))],
  });
}
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !keysOn() || document.getElementById('dialog')?.open || ctx.gate) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const moment = sample ? null : event.key === 't' ? () => choose(ctx) : event.key === 'n' && ctx.asOf ? () => lookAt(ctx, '') : null;
  const act = event.key === '?' ? help : moment ? moment : VIEWS[ctx.page]?.keys?.[event.key] ? () => VIEWS[ctx.page].keys[event.key].act(ctx) : LETTERS[event.key] ? () => ctx.go(`#/${LETTERS[event.key]}`) : null;
  if (!act) return;
  event.preventDefault();
  act();
});

// Signing in and out
function signIn() {
  sessionStorage.setItem('cavra-hash', location.hash);
  location.assign(ctx.api.url('/console/sign-in', { return_to: location.pathname }));
}
async function signOut() {
  try {
    await ctx.api.post('/console/sign-out', {});
    location.reload();
  } catch (error) { ctx.failed(error); }
}

// Sample and real data never meet: going from one to the other starts the page anew.
function enterSample() { location.assign(`${location.pathname}?sample${location.hash}`); }
function leaveSample() { location.assign(`${location.pathname}${location.hash}`); }

// Starting
let live = null;
let retry = null;
let started = false;
async function start() {
  clearTimeout(retry);
  try {
    [ctx.session, ctx.config] = await Promise.all([ctx.api.get('/console/session'), ctx.api.get('/console/config')]);
  } catch (error) {
    if (started) { if (!(error instanceof Unreachable)) ctx.failed(error); return; }
    ctx.gate = () => [h('h1', { tabindex: '-1' }, error instanceof Unreachable ? 'The API cannot be reached' : 'The API does not answer as expected'),
      errorBox(error), h('p', {}, 'The console asks again by itself. Until then there is nothing true to show here.'),
      h('div', { class: 'tools' }, h('button', { class: 'button primary', onclick: start }, 'Try now'), h('button', { class: 'button', onclick: enterSample }, 'Look at sample data'))];
    draw();
    retry = setTimeout(start, 2000);
    return;
  }
  ctx.api.csrf = ctx.session.csrf_token || null;
  if (ctx.session.permissions['evidence.read'] !== true) {
    live?.stop();
    const signs = ctx.config.sign_in === 'configured';
    ctx.gate = () => [h('h1', { tabindex: '-1' }, ctx.session.authenticated ? 'You may not see the evidence' : 'Sign in'),
      ctx.session.authenticated
        ? h('p', {}, `You are signed in as ${ctx.session.actor.actor}, and none of your groups gives the permission evidence.read.`)
        : h('p', {}, signs ? 'Evidence is shown to people who are known here. Your organisation’s identity provider says who you are.' : 'This service knows people by their tokens only: signing in with a browser is not configured (client_id and redirect_url).'),
      h('div', { class: 'tools' },
        !ctx.session.authenticated && signs ? h('button', { class: 'button primary', onclick: signIn }, 'Sign in') : null,
        ctx.session.csrf_token ? h('button', { class: 'button', onclick: signOut }, 'Sign out') : null,
        h('button', { class: 'button', onclick: enterSample }, 'Look at sample data'))];
    draw();
    return;
  }
  const returned = sessionStorage.getItem('cavra-hash');
  sessionStorage.removeItem('cavra-hash');
  if (returned && !location.hash) window.history.replaceState(null, '', returned);
  const gated = ctx.gate !== null;
  ctx.gate = null;
  if (started && !gated) { draw(); return; }
  started = true;
  ctx.page = '';
  arrive();
  if (!live && !sample) {
    live = new Live(ctx.api, { changed: () => { if (!ctx.asOf) refresh(); }, // Nothing new happens to what was.
      state: (mode) => { ctx.mode = mode; reached(mode !== 'away'); draw(); } });
  }
  live?.start();
}

applyTheme();
listen(root);
// An address that changes before anything is known of the session is read when it is.
addEventListener('hashchange', () => {
  // A dialog belongs to the screen that it was opened on.
  if (!ctx.dialog?.busy) ctx.close();
  if (started && !ctx.gate) arrive();
});
setInterval(() => tick(root, passed), 1000);
setInterval(passed, 30000);
addEventListener('resize', draw);
setInterval(() => {
  const ends = ctx.session?.expires_at ? Date.parse(ctx.session.expires_at) : null;
  if (ends && Date.now() > ends + 1000) start();
  else if (ends) draw();
}, 30000);

if (sample) {
  const { SampleApi } = await import('./sample.js');
  ctx.api = new SampleApi();
  ctx.mode = 'sample';
} else {
  ctx.api = new Api(base);
}
await start();
