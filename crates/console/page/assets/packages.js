// Audit packages: what was handed to whom, over which scope, and the same bytes again.
import { B } from './api.js';
import { h } from './dom.js';
import { TERMS, address, sentence } from './filter.js';
import { KIND, many, number, when } from './format.js';
import { badge, button, empty, table, waiting } from './widgets.js';
import { end } from './forms.js';
import { packageFacts, savePackage, signedName, verifying } from './bulk.js';

async function load(ctx, signal, update) {
  const page = await ctx.read(B, { metadata_kind: KIND.package, limit: 100 }, signal);
  update({ items: page.items, total: page.total, more: page.next_cursor });
}

async function fetchOne(ctx, id, envelope) {
  try {
    await savePackage(ctx, id, envelope);
    ctx.notify(`Package ${id} was downloaded`);
  } catch (error) { ctx.failed(error); }
}

function facts(ctx, record) {
  const made = record.acknowledgement_audit_package;
  ctx.open({ name: 'package', render: () => [h('h2', { id: 'dialog-title', tabindex: '-1' }, 'Audit package'), packageFacts({ audit_id: record.audit_id, ...made }, made),
    verifying(ctx, record.audit_id),
    h('div', { class: 'dialog-foot' }, ctx.sample ? null : h('button', { class: 'button', onclick: () => fetchOne(ctx, record.audit_id, true) }, signedName(ctx)), h('button', { class: 'button', onclick: () => fetchOne(ctx, record.audit_id) }, ctx.sample ? 'Download' : 'Plain JSON'), end(ctx))] });
}

function render(ctx, data) {
  if (!data.items) return waiting();
  const scope = (made) => Object.fromEntries(TERMS.map((term) => [term, made.filters?.[term]]).filter(([, value]) => value !== '' && value !== null && value !== undefined));
  const rows = data.items.map((record) => {
    const made = record.acknowledgement_audit_package || {};
    return { key: record.session_id, cells: [
      h('span', { class: 'nowrap' }, when(record.created_at)), h('a', { href: address('routes', scope(made)) }, sentence({ ...scope(made), action: scope(made).action === 'deliver' ? undefined : scope(made).action })),
      `${many(made.route_count ?? record.route_count ?? 0, 'route')}, ${number(made.outstanding_count ?? record.outstanding_count ?? 0)} outstanding`, badge(record.alert_level || made.alert_level || 'healthy'), made.generated_by || record.signer,
      h('div', { class: 'tools' }, button(ctx, { label: 'Facts', kind: 'small', name: `Facts of package ${record.audit_id}`, act: () => facts(ctx, record) }), ctx.sample ? null : button(ctx, { key: 'dsse', label: ctx.config?.signing_key_id ? 'Signed' : 'DSSE', kind: 'small', name: `${signedName(ctx)}: download package ${record.audit_id}`, act: () => fetchOne(ctx, record.audit_id, true) }), button(ctx, { key: 'json', label: 'JSON', kind: 'small', name: `Plain JSON: download package ${record.audit_id}`, act: () => fetchOne(ctx, record.audit_id) })),
    ] };
  });
  return [table('Audit packages, newest first', ['Made', 'Scope', 'Covers', 'Level', 'By', 'Package'].map((name) => ({ name })), rows, { empty: empty('No package has been made yet', h('p', {}, 'Filter the ', h('a', { href: '#/routes' }, 'routes'), ' and choose Export Ack Audit: the package covers what is shown.')) }),
    data.more ? h('p', { class: 'quiet' }, `The newest 100 of ${number(data.total)}; `, h('a', { href: `#/history?${new URLSearchParams({ kind: KIND.package })}` }, 'the history has all'), '.') : null];
}

export const packages = {
  title: 'Audit packages', lead: 'Each covers a scope of routes with every route’s whole history, and says what it left out.', load, render,
  tools: () => h('a', { class: 'button', href: '#/routes' }, 'Choose a scope'),
};
