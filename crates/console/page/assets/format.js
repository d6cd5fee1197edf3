// Numbers, times and names as people read them. Times are shown in the reader's own zone; the title has them in UTC.
import { h } from './dom.js';

const numbers = new Intl.NumberFormat();
export const number = (value) => (value === null || value === undefined ? '–' : numbers.format(value));
export const many = (count, one, several = `${one}s`) => `${number(count)} ${count === 1 ? one : several}`;

/// The server's clock as far as it is known: all countdowns are against it, not against this machine's.
let ahead = null;
/// While an earlier state is looked at, its moment: nothing passes there.
let still = null;
const heard = new WeakSet();
export function told(answer, past = false) {
  const ms = Date.parse(answer.generated_at);
  if (!Number.isFinite(ms)) return;
  if (past) { still = ms; return; }
  still = null;
  // An answer that is shown again because nothing has changed says what the time was when it came.
  if (!heard.has(answer)) ahead = ms - Date.now();
  heard.add(answer);
}
export function present() { still = null; }
export const now = () => still ?? Date.now() + (ahead ?? 0);

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
export const clockTime = (ms) => seconds.format(ms);
export const stamp = (text) => text.replace(/\.\d+/, '').replace(/\+00:00$/, 'Z').replace('T', ' ').replace(/Z$/, ' UTC');

/// Today as a time, other days with their date.
export function when(text) {
  const ms = Date.parse(text);
  if (!Number.isFinite(ms)) return text ? String(text) : '–';
  const date = new Date(ms);
  const shown = date.toDateString() === new Date(Date.now() + (ahead ?? 0)).toDateString() ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
  return h('time', { datetime: text, title: stamp(text) }, shown);
}

/// How long, in the two greatest units.
export function span(ms) {
  const minutes = Math.floor(Math.abs(ms) / 60000);
  if (minutes < 1) return 'under a minute';
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 && hours < 10 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return days < 14 && hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}
export const bytes = (count) => (count < 1e6 ? `${number(Math.ceil(count / 1000))} kB` : `${number(Math.round(count / 1e5) / 10)} MB`);

/// A countdown: `data-due` is kept up to date without a refresh.
const left = (ms) => (ms < 600000 ? `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, '0')} min` : span(ms));
export const dueText = (ms) => (ms > now() ? `in ${left(ms - now())}` : `${span(now() - ms)} over`);
export const due = (text) => h('span', { class: 'due', 'data-due': Date.parse(text) }, dueText(Date.parse(text)));
/// Brings the countdowns up to date; `over` is told when one of them has ended, for then more than a text is different.
export function tick(root, over) {
  let ended = false;
  for (const node of root.querySelectorAll('[data-due]')) {
    const due = Number(node.dataset.due);
    const text = dueText(due);
    if (node.textContent !== text) node.textContent = text;
    ended ||= node.$due === due && due <= now();
    node.$due = due > now() ? due : null;
  }
  if (ended) over();
}

export const words = (name) => String(name ?? '').replaceAll('_', ' ');
/// What a field for date and time holds, in the reader's own zone, and back.
export function localTime(ms) {
  const date = new Date(ms - new Date(ms).getTimezoneOffset() * 60000);
  return date.toISOString().slice(0, 19);
}
export const utc = (local) => new Date(local).toISOString();
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const short = (id) => (id && id.length > 30 ? `${id.slice(0, 14)}…${id.slice(-8)}` : id || '–');

const KINDS = {
  'go-backend-rollback-drill-notification-plan': 'Notification plan',
  'go-backend-rollback-drill-notification-ack': 'Acknowledgement',
  'go-backend-rollback-drill-notification-ack-undo': 'Undo of an acknowledgement',
  'go-backend-rollback-drill-bulk-acknowledgement': 'Bulk acknowledgement',
  'go-backend-rollback-drill-bulk-acknowledgement-undo': 'Undo of a bulk',
  'go-backend-rollback-drill-notification-escalation-plan': 'Escalation plan',
  'go-backend-rollback-drill-acknowledgement-audit-package': 'Audit package',
  'release-connector-delivery': 'Delivery',
};
const RELEASE = 'go-backend-rollback-drill-acknowledgement-audit-delivery-';
export const KIND = Object.freeze({
  plan: 'go-backend-rollback-drill-notification-plan',
  ack: 'go-backend-rollback-drill-notification-ack',
  bulk: 'go-backend-rollback-drill-bulk-acknowledgement',
  escalation: 'go-backend-rollback-drill-notification-escalation-plan',
  package: 'go-backend-rollback-drill-acknowledgement-audit-package',
  delivery: 'release-connector-delivery',
  export: `${RELEASE}final-reporting-auditor-export`,
  retry: `${RELEASE}final-reporting-auditor-export-delivery-retry-plan`,
  reference: `${RELEASE}final-reporting-immutable-archive-reference`,
  health: `${RELEASE}final-reporting-archive-reference-health`,
});
export function kind(name) {
  if (KINDS[name]) return KINDS[name];
  const rest = String(name || 'record').replace(RELEASE, '').replace('go-backend-rollback-drill-', '').replace('final-reporting-', '');
  return capital(rest.replaceAll('-', ' '));
}
