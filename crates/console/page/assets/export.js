// The final auditor export: making it, what became of its deliveries, and which are safe to try again.
import { AD, B } from './api.js';
import { h } from './dom.js';
import { KIND, capital, due, many, now, number, short, span, told, when } from './format.js';
import { retryPicture } from './charts.js';
import { end, flow, foot, form, title } from './forms.js';
import { badge, button, download, empty, field, icon, rest, table, waiting } from './widgets.js';
import { SOURCE, alike, arrived, deliveriesOf, outcome, recordDelivery, status } from './deliveries.js';

const MAKE = `${AD}/final-reporting-auditor-export`;
const PLANS = `${MAKE}/delivery-retry-plan`;

/// The newest stored plan is shown when it is asked for, and of an earlier state; else what would be decided now.
const stored = (ctx) => Boolean(ctx.asOf) || ctx.parameters.get('plan') === 'newest';

async function load(ctx, signal, update) {
  if (ctx.sample) { update({}); return; }
  const [exports, deliveries, plans, preview] = await Promise.all([
    ctx.read(B, { metadata_kind: KIND.export, limit: 50 }, signal),
    ctx.read(B, { connector_delivery_source: SOURCE, metadata_kind: KIND.delivery, limit: 500 }, signal),
    ctx.read(B, { metadata_kind: KIND.retry, limit: 1 }, signal),
    stored(ctx) ? null : ctx.api.get(PLANS, {}, signal),
  ]);
  if (preview) told(preview.plan);
  const record = plans.items[0];
  const known = ctx.data?.plan;
  let plan = record?.final_reporting_auditor_export_delivery_retry_plan || null;
  // Deliveries that were reported elsewhere may name the export as their event only.
  const own = deliveries.items.map((one) => ({ ...one, export_id: one.export_id || one.event_id }));
  update({ exports: exports.items, total: exports.total, deliveries: own, older: Boolean(deliveries.next_cursor), preview: preview?.plan, plan: known && known.retry_plan_id === record?.retry_plan_id ? known : plan });
  // A large plan stands beside its record.
  if (stored(ctx) && plan && !plan.retry_decisions && record.retry_plan_id) {
    plan = await ctx.api.get(`${MAKE}/delivery-retry-plans/${encodeURIComponent(record.retry_plan_id)}`, {}, signal);
    update({ plan });
  }
}

function makeExport(ctx) {
  flow(ctx, 'make-export', {
    first: 'ask',
    ask: (state, run) => [title('Auditor Export'), h('p', {}, 'Rests on the newest audit package and is checked against it. Over unchanged evidence you get the export that is there.'),
      form(ctx, state, run, {
        as: 'generated_by', label: 'Make the export', typed: true, next: 'done',
        fields: field('Release record', h('input', { name: 'release', required: true, maxlength: 500, autocomplete: 'off', autofocus: true, placeholder: 'REL-131' })),
        send: async (text, actor) => { state.data.made = (await ctx.api.post(MAKE, { release_record_ref: text('release'), ...actor }, state.key)).export; },
      })],
    done: (state) => [title(`The export is ${state.data.made.verification_state}`), exportFacts(state.data.made), foot(end(ctx))],
  });
}

function exportFacts(made) {
  const checks = made.verification?.checks || [];
  return [h('dl', { class: 'facts' }, h('dt', {}, 'Export'), h('dd', {}, h('code', {}, made.export_id)), h('dt', {}, 'Release'), h('dd', {}, made.release_record_ref || '–'), made.export_hash ? [h('dt', {}, 'SHA-256'), h('dd', {}, h('code', {}, made.export_hash))] : null),
    checks.length ? table('Checks', [{ name: 'Check' }, { name: 'Result' }, { name: 'To do' }], checks.map((check) => ({ key: check.id, cells: [check.title, badge({ pass: 'healthy', warn: 'warning', warning: 'warning' }[check.status] || 'critical', check.status), check.operator_action || h('span', { class: 'quiet' }, 'nothing')] }))) : null];
}
/// The bytes whose digest is the export's.
async function save(ctx, id) {
  try {
    download(`${id}.json`, await ctx.api.raw(`${AD}/final-reporting-auditor-exports/${encodeURIComponent(id)}`));
  } catch (error) { ctx.failed(error); }
}
function showExport(ctx, made) {
  const deliveries = deliveriesOf(ctx, made.export_id);
  ctx.open({ name: 'export', render: () => [title('Auditor export'), exportFacts(made), h('h3', {}, 'Deliveries'), deliveries(),
    h('div', { class: 'dialog-foot' }, button(ctx, { key: 'record', label: 'Record a delivery…', permission: 'delivery.record', act: () => recordDelivery(ctx, { export_id: made.export_id, release_record_ref: made.release_record_ref }) }),
      h('button', { class: 'button', key: 'save', onclick: () => save(ctx, made.export_id) }, 'Download'), end(ctx))] });
}

function planRetry(ctx) {
  flow(ctx, 'plan-retry', {
    first: 'ask',
    ask: (state, run) => {
      const count = (name, value, more) => h('input', { name, type: 'number', value, required: true, ...more });
      return [title('Plan Auditor Retry'), h('p', {}, 'Decides for every failed delivery whether it is safe to try again, and records the decisions. Nothing is sent.'),
        form(ctx, state, run, {
          as: 'generated_by', label: 'Make the plan',
          fields: h('div', { class: 'two' }, field('Attempts', count('attempts', '3', { min: 1, max: 1000000 }), 'After so many failures it is given up'), field('First delay, minutes', count('delay', '15', { min: 0, max: 5256000 })), field('Each further delay, times', count('multiplier', '2', { min: 1, max: 1000, step: 'any' }))),
          send: async (text, actor) => {
            const delay = Number(text('delay'));
            const policy = { max_retry_attempts: Number(text('attempts')), retry_delay_minutes: delay, backoff_multiplier: Number(text('multiplier')), allow_immediate_retry: delay === 0 };
            const { plan } = await ctx.api.post(PLANS, { retry_policy: policy, ...actor }, state.key);
            ctx.close();
            ctx.go('#/export?plan=newest');
            ctx.notify(`${many(plan.retryable_count, 'delivery', 'deliveries')} can be tried again now, ${number(plan.waiting_count)} wait, ${number(plan.suppressed_count)} are given up`);
          },
        })];
    },
  });
}

const ACT = { retry: ['healthy', 'retry now'], wait: ['outstanding', 'wait'], suppress: ['dismissed', 'give up'] };
const SAID = { retry: 'safe to retry now', wait: 'waiting', suppress: 'given up' };
const kindOf = (one) => (ACT[one.action] ? one.action : 'suppress');
/// What to do about each reason: docs/retry-plans.md. Plans that were made elsewhere give a decision and no reason code.
const REMEDY = {
  eligible: 'Send it again, and record the result.', backoff: 'Nothing before the next attempt is due.', retry_after: 'Nothing before the provider’s own time has come.',
  attempts_exhausted: 'Find out why it fails; deliver by hand, or plan again with more attempts.', permanent_failure: 'Mend the cause (address, permission, size), deliver by hand, and record the success.',
  max_age_exceeded: 'Ask whether the export is still wanted; then deliver by hand, or plan again.',
};
const remedy = (one) => REMEDY[one.reason_code] || REMEDY[{ retry: 'eligible', wait: 'backoff', suppress: 'attempts_exhausted' }[kindOf(one)]];
const PICTURED = 12;
/// What was reported about a delivery after the newest failure that the plan knew of.
const since = (deliveries, one) => deliveries.find((record) => record.export_id === one.export_id && record.session_id !== one.latest_delivery_id
  && (record.providers || []).some((provider) => alike(provider, one.provider)) && Date.parse(record.created_at) > Date.parse(one.latest_delivery_at));

/// The decisions of now, or those of a stored plan with what has been reported since.
function planCard(ctx, plan, deliveries, { live, newest }) {
  const decisions = plan.retry_decisions || [];
  const order = Object.keys(ACT);
  const sorted = [...decisions].sort((a, b) => order.indexOf(kindOf(a)) - order.indexOf(kindOf(b)) || (a.next_retry_at || '').localeCompare(b.next_retry_at || ''));
  const only = SAID[ctx.parameters.get('action')] ? ctx.parameters.get('action') : '';
  const meant = only ? sorted.filter((one) => kindOf(one) === only) : sorted;
  const news = (one) => (live ? null : since(deliveries, one));
  const columns = ['Decision', 'Provider', 'Release', 'Failures', 'Because', 'What to do', live ? 'Result' : 'Since then'].map((name) => ({ name }));
  const rows = meant.slice(0, 200).map((one) => {
    const then = news(one);
    return { key: `${one.export_id}|${one.provider}`, cells: [
      h('div', { class: 'stack-s' }, badge(...ACT[kindOf(one)]), one.action === 'wait' && one.next_retry_at ? h('span', { class: 'nowrap' }, due(one.next_retry_at)) : null), one.provider, h('span', { class: 'nowrap' }, one.release_record_ref || short(one.export_id)),
      h('div', { class: 'stack-s' }, h('span', { class: 'nowrap' }, `${number(one.retry_count)} of ${number(one.max_retry_attempts)}`), one.failed_status_codes?.length ? h('span', { class: 'quiet' }, one.failed_status_codes.map(status).join(', ')) : null),
      h('div', { class: 'stack-s' }, h('span', {}, capital(one.reason)), h('code', { class: 'quiet' }, one.reason_code)), remedy(one),
      h('div', { class: 'stack-s' }, then ? h('span', { class: 'badges' }, outcome(then, one.provider), h('span', { class: 'quiet' }, when(then.created_at))) : null,
        button(ctx, { key: 'record', label: 'Record result…', kind: 'small', permission: 'delivery.record', name: `Record result… of the delivery to ${one.provider}, ${one.release_record_ref || one.export_id}`, why: one.export_known !== false ? '' : 'This export is not known here, so no delivery of it can be recorded.', act: () => recordDelivery(ctx, one, () => planRetry(ctx)) })),
    ] };
  });
  const there = (action) => `#/export?${new URLSearchParams({ ...(ctx.parameters.get('plan') ? { plan: 'newest' } : {}), ...(action ? { action } : {}) })}`;
  const sum = (action, count, text) => h('li', {}, h('a', { class: 'sum-link', href: there(action), 'aria-current': action === only ? 'true' : null }, h('b', {}, number(count)), text));
  const reported = sorted.filter(news).length;
  const age = now() - Date.parse(plan.generated_at);
  return h('section', { class: 'card stack', 'aria-label': live ? 'Retry decisions now' : 'Retry plan', key: live ? 'now' : 'plan' },
    h('div', { class: 'card-head' }, h('h2', {}, live ? 'Retry decisions now ' : 'Newest retry plan ', badge(plan.alert_level)),
      h('p', { class: 'quiet' }, live ? ['By the default policy; nothing is stored by looking. ', newest ? [h('a', { href: '#/export?plan=newest' }, 'Newest plan'), ', ', when(newest.generated_at), ` by ${newest.generated_by}`] : 'No plan has been stored yet.']
        : [when(plan.generated_at), ` by ${plan.generated_by} `, ctx.asOf ? null : h('a', { href: '#/export' }, 'Decisions now')])),
    reported && !ctx.asOf ? h('p', { class: 'note' }, icon('warning'), h('span', {}, `${many(reported, 'delivery has', 'deliveries have')} been reported since this plan was made. A new plan decides again.`)) : null,
    !live && age > 3600000 && !ctx.asOf ? h('p', { class: 'note is-warning' }, icon('warning'), h('span', {}, `This plan is ${span(age)} old. What is safe to retry now may differ: make a new one.`)) : null,
    decisions.length ? [h('ul', { class: 'sum' }, sum('retry', plan.retryable_count, 'can be tried now'), sum('wait', plan.waiting_count, 'wait'), sum('suppress', plan.suppressed_count, 'given up')),
      only ? h('p', { role: 'status', id: 'decisions' }, h('b', {}, number(meant.length)), ` ${meant.length === 1 ? 'delivery is' : 'deliveries are'} ${SAID[only]}. `, h('a', { href: there('') }, `All ${number(decisions.length)}`)) : null,
      meant.length ? [h('h3', {}, 'Next attempts'), retryPicture(meant.slice(0, PICTURED), plan.generated_at), meant.length > PICTURED ? h('p', { class: 'quiet' }, `The picture shows the first ${PICTURED} of ${number(meant.length)}.`) : null, table('Decisions', columns, rows)] : null,
      rest(meant, 200, `${plan.retry_plan_id}-decisions.json`)]
      : h('p', { class: 'quiet' }, plan.decision_count ? 'The decisions are being fetched.' : 'No failed delivery is left undelivered.'));
}

function render(ctx, data) {
  if (ctx.sample) return empty('The sample has no exports', h('p', {}, 'Auditor exports, their deliveries and retry plans need an API.'));
  if (!data.exports) return waiting();
  const state = (one) => {
    // The newest report of each provider counts.
    const newest = new Map();
    for (const delivery of data.deliveries.filter((known) => known.export_id === one.export_id)) {
      for (const provider of delivery.providers || []) if (!newest.has(provider)) newest.set(provider, arrived(delivery, provider));
    }
    return newest.size ? h('span', { class: 'badges' }, [...newest].map(([provider, arrived]) => badge(arrived ? 'resolved' : 'critical', `${provider}: ${arrived ? 'delivered' : 'failed'}`))) : h('span', { class: 'quiet' }, data.older ? 'none of late' : 'none reported');
  };
  const rows = data.exports.map((record) => {
    const made = record.final_reporting_auditor_export || record;
    return { key: record.session_id, cells: [
      h('button', { class: 'linkish', onclick: () => showExport(ctx, { ...made, export_hash: record.export_hash }) }, record.release_record_ref || short(record.export_id)), h('span', { class: 'nowrap' }, when(record.created_at)),
      badge(record.verification_state === 'verified' ? 'healthy' : 'critical', record.verification_state), state(record), record.signer || '–',
    ] };
  });
  return h('div', { class: 'stack' },
    stored(ctx) && !data.plan ? h('section', { class: 'card' }, h('h2', {}, 'No retry plan yet'), h('p', { class: 'quiet' }, 'A plan decides which failed deliveries are safe to try again. Nothing is sent.'))
      : stored(ctx) ? planCard(ctx, data.plan, data.deliveries, {}) : data.preview ? planCard(ctx, data.preview, data.deliveries, { live: true, newest: data.plan }) : waiting(),
    h('section', { class: 'stack', 'aria-label': 'Auditor exports' }, h('h2', {}, many(data.total, 'auditor export')),
      table('Auditor exports, newest first', ['Release', 'Made', 'Checks', 'Delivery', 'By'].map((name) => ({ name })), rows, { empty: empty('No export has been made yet') })));
}

const MISSING = 'Exports and retry plans are not part of the sample.';
export const auditorExport = (ctx, kind) => button(ctx, { key: 'make', label: 'Auditor Export', kind, permission: 'export.create', why: ctx.sample ? MISSING : '', act: () => makeExport(ctx) });
export const planAuditorRetry = (ctx, kind) => button(ctx, { key: 'plan', label: 'Plan Auditor Retry', kind, permission: 'retry.plan.create', why: ctx.sample ? MISSING : '', act: () => planRetry(ctx) });

export const exporting = {
  title: 'Auditor export', lead: 'What the auditor gets at the end, and which failed deliveries of it are safe to try again. This service sends nothing: it records what your connectors report.', load, render,
  tools: (ctx) => [auditorExport(ctx), planAuditorRetry(ctx, 'primary')],
};
