// Small parts that every screen uses.
import { h, s } from './dom.js';
import { Refused, Unreachable } from './api.js';
import { capital, words } from './format.js';

const PATHS = {
  outstanding: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11',
  acknowledged: 'm3 8.5 3.3 3.3L13 4.8',
  escalated: 'M8 12.5v-9m-4 4 4-4 4 4',
  dismissed: 'M3.5 8h9',
  resolved: 'm1.5 8.6 3 3 6-7m-2.5 5.6 1.4 1.4 6-7',
  not_required: 'M3.5 12.5l9-9M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11',
  critical: 'M8 1.8 15 14H1zM8 6v4m0 1.6v.6',
  warning: 'M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M8 5v4m0 1.6v.6',
  healthy: 'm3 8.5 3.3 3.3L13 4.8',
  overview: 'M2.5 9h4V2.5h-4zm0 4.5h4v-2h-4zm7 0h4V7h-4zm0-9h4v-2h-4z',
  routes: 'M2 4h12M2 8h12M2 12h8',
  packages: 'M2.5 5 8 2l5.5 3v6L8 14l-5.5-3zM2.5 5 8 8l5.5-3M8 8v6',
  export: 'M3 9v4.5h10V9M8 10.5v-8m-3.5 3L8 2l3.5 3.5',
  archive: 'M2 3h12v3H2zm1 3v7.5h10V6M6 9h4',
  history: 'M2.6 6A5.8 5.8 0 1 1 2.2 8M2.2 3v3.2h3.2M8 5v3.2l2.2 1.4',
  close: 'm3.5 3.5 9 9m0-9-9 9',
  down: 'm3.5 6 4.5 4.5L12.5 6',
  up: 'm3.5 10 4.5-4.5 4.5 4.5',
  undo: 'M3 6h6.5a3.5 3.5 0 0 1 0 7H6M5.5 3 2.8 6l2.7 3',
  file: 'M4 1.8h5L12.5 5v9.2H4zM9 1.8V5h3.5',
};
export const icon = (name) => s('svg', { viewBox: '0 0 16 16', class: 'icon', 'aria-hidden': 'true' }, s('path', { d: PATHS[name] || PATHS.warning }));

/// A word with a shape and a colour: never a colour alone.
export const badge = (name, text) => h('span', { class: `badge is-${name}` }, icon(name), text || words(name));
export const late = (text = 'past its time') => h('span', { class: 'badge is-breached' }, icon('critical'), text);

const NEEDS = {
  'drill.ack': 'acknowledge a route', 'drill.ack.bulk': 'acknowledge in bulk', 'drill.ack.undo': 'undo an acknowledgement',
  'audit.package.create': 'make an audit package', 'export.create': 'make an auditor export', 'delivery.record': 'record a delivery',
  'retry.plan.create': 'make a retry plan', 'archive.reference.write': 'record an archive reference',
  'archive.health.read': 'see archive health', 'archive.health.record': 'store an archive health report',
};

/// What looks, or makes something of what was; the rest changes what is now.
const LOOKING = ['audit.package.create', 'archive.health.read'];
export const PAST = 'You are looking at an earlier state. Go back to now to change something.';

/// Why somebody may not do something now; empty when they may.
export function barred(ctx, permission, other) {
  if (ctx.asOf && permission && !LOOKING.includes(permission)) return PAST;
  if (ctx.away) return 'The API cannot be reached, so nothing can be changed now.';
  if (lacks(ctx, permission)) {
    return ctx.session.auth_required && !ctx.session.authenticated
      ? `Sign in to ${NEEDS[permission] || permission}.`
      : `Your role does not let you ${NEEDS[permission] || permission} (${permission}).`;
  }
  return other || '';
}
const lacks = (ctx, permission) => permission && ctx.session && ctx.session.permissions[permission] !== true;

/// What somebody may not do here, said once in the open and not only by each button.
export function limits(ctx, permissions) {
  const all = permissions.filter((one) => lacks(ctx, one)).map((one) => NEEDS[one]);
  return all.length && ctx.session.authenticated && !ctx.asOf ? h('p', { class: 'quiet limits' }, `Your role does not let you ${all.length > 1 ? `${all.slice(0, -1).join(', ')} or ${all.at(-1)}` : all[0]}.`) : null;
}

/// A button that says why it does nothing when it cannot do anything.
export function button(ctx, { label, act, permission, why, kind = '', name, keys, key, about, bare }) {
  const reason = barred(ctx, permission, why);
  if (reason === PAST) return null;
  // The name of a button is its name, whatever hinders it: why it does nothing is its description.
  return h('button', {
    class: bare ? null : `button ${kind}`, 'aria-disabled': reason ? 'true' : null, title: reason || null, key,
    'aria-label': name || null, 'aria-description': reason || about || null,
    'aria-keyshortcuts': keys || null, onclick: () => (reason ? ctx.notify(reason, 'warning') : act()),
  }, label);
}

/// An error as sentences, with the request's id for whoever has to look it up.
export function errorBox(error, again) {
  const reached = !(error instanceof Unreachable);
  return h('div', { class: 'note is-critical', role: 'alert' }, icon('critical'), h('div', {},
    h('p', {}, capital(sentence(error.message))),
    error instanceof Refused && error.faults.length > 1 ? h('ul', {}, error.faults.map((fault) => h('li', {}, sentence(fault)))) : null,
    reached && error.requestId ? h('p', { class: 'quiet' }, 'Request ', h('code', {}, error.requestId)) : null,
    again ? h('p', {}, h('button', { class: 'button', onclick: again }, 'Try again')) : null));
}
/// What the API says, as a person would write it: names in quotation marks, without the path that leads to them.
export const sentence = (text) => {
  const plain = text.replace(/`\/?([^`]*)`/g, '“$1”');
  return /[.!?…]$/.test(plain) ? plain : `${plain}.`;
};

export const waiting = (text = 'Loading…') => h('div', { class: 'waiting', role: 'status' }, h('span', { class: 'spinner' }), text);
export const empty = (title, ...more) => h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title), more);

/// A label with its field.
export const field = (label, control, hint) => h('label', { class: 'field' }, h('span', { class: 'label' }, label), control, hint ? h('span', { class: 'hint' }, hint) : null);

/// A file for the reader to keep.
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const link = Object.assign(document.createElement('a'), { href: url, download: name.replace(/[^A-Za-z0-9_.-]+/g, '-') });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/// What a table leaves out is said, and given as a file.
export const rest = (list, shown, name) => (list.length > shown ? h('p', { class: 'quiet' }, `The first ${shown} of ${list.length.toLocaleString()}. `, h('button', { class: 'linkish', onclick: () => download(name, JSON.stringify(list, null, 2)) }, 'All of them as a file')) : null);

/// A table that becomes a list of cards where it has no room: every cell knows its column's name.
export function table(caption, columns, rows, { empty: none, id } = {}) {
  if (rows.length === 0 && none) return none;
  // Focusable, because a table that is wider than its place is scrolled by keyboard too.
  return h('div', { class: 'tablebox', id, tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', { class: 'unseen' }, caption),
      h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col', class: column.class || null, 'aria-sort': column.sorted || null }, column.head || column.name)))),
      h('tbody', {}, rows.map((row) => h('tr', { key: row.key, class: row.class || null, 'aria-selected': row.selected ? 'true' : null },
        row.cells.map((cell, index) => h(index === 0 ? 'th' : 'td', { scope: index === 0 ? 'row' : null, 'data-name': columns[index].name, class: columns[index].class || null }, cell)))))));
}
