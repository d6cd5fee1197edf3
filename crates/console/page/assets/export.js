// The final auditor export: making it, what became of its deliveries, and which are safe to try again.
import { AD, B } from './api.js';
import { h } from './dom.js';
import { KIND, due, many, now, number, short, span, when, words } from './format.js';
import { retryPicture } from './charts.js';
import { actorField, actorOf, badge, button, download, empty, field, icon, rest, table, waiting } from './widgets.js';
import { cancel, failed, flow, foot, submit, title } from './bulk.js';
import { SOURCE, alike, arrived, deliveriesOf, outcome, recordDelivery, status } from './deliveries.js';

const MAKE = `${AD}/final-reporting-auditor-export`;
const PLANS = `${MAKE}/delivery-retry-plan`;

async function load(ctx, signal, update) {
  if (ctx.sample) { update({}); return; }
  const [exports, deliveries, plans] = await Promise.all([
    ctx.read(B, { metadata_kind: KIND.export, limit: 50 }, signal),
    ctx.read(B, { connector_delivery_source: SOURCE, metadata_kind: KIND.delivery, limit: 500 }, signal),
    ctx.read(B, { metadata_kind: KIND.retry, limit: 1 }, signal),
  ]);
  const record = plans.items[0];
  const known = ctx.data?.plan;
  let plan = record?.final_reporting_auditor_export_delivery_retry_plan || null;
  // Deliveries that were reported elsewhere may name the export as their event only.
  const own = deliveries.items.map((one) => ({ ...one, export_id: one.export_id || one.event_id }));
  update({ exports: exports.items, total: exports.total, deliveries: own, older: Boolean(deliveries.next_cursor), plan: known && known.retry_plan_id === record?.retry_plan_id ? known : plan });
  // A large plan stands beside its record.
  if (plan && !plan.retry_decisions && record.retry_plan_id) {
    plan = await ctx.api.get(`${MAKE}/delivery-retry-plans/${encodeURIComponent(record.retry_plan_id)}`, {}, signal);
    update({ plan });
  }
}

function makeExport(ctx) {
  flow(ctx, 'make-export', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const data = new FormData(event.target);
        const actor = actorOf(ctx, event.target);
        run(async () => {
          state.data.made = (await ctx.api.post(MAKE, { release_record_ref: String(data.get('release')).trim(), ...(actor.name === undefined ? {} : { generated_by: actor.name }) }, state.key)).export;
          state.done = true;
        }, 'done');
      };
      return [title('Auditor export'), h('p', {}, 'Rests on the newest audit package and is checked against it. Over unchanged evidence you get the export that is there.'), failed(state),
        h('form', { class: 'stack', onsubmit: go }, field('Release record', h('input', { name: 'release', required: true, maxlength: 500, autocomplete: 'off', autofocus: true, placeholder: 'REL-131' })), actorField(ctx), foot(cancel(ctx, state), submit(state, 'Make the export', '', false)))];
    },
    done: (state) => [title(`The export is ${state.data.made.verification_state}`), exportFacts(state.data.made), foot(h('button', { type: 'button', class: 'button primary', autofocus: true, onclick: ctx.close }, 'Done'))],
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
      h('button', { type: 'button', class: 'button', key: 'save', onclick: () => save(ctx, made.export_id) }, 'Download'), h('button', { type: 'button', class: 'button primary', key: 'end', autofocus: true, onclick: ctx.close }, 'Done'))] });
}

function planRetry(ctx) {
  flow(ctx, 'plan-retry', {
    first: 'ask',
    ask: (state, run) => {
      const go = (event) => {
        event.preventDefault();
        const data = new FormData(event.target);
        const actor = actorOf(ctx, event.target);
        const policy = { max_retry_attempts: Number(data.get('attempts')), retry_delay_minutes: Number(data.get('delay')), backoff_multiplier: Number(data.get('multiplier')), allow_immediate_retry: Number(data.get('delay')) === 0 };
        run(async () => {
          const { plan } = await ctx.api.post(PLANS, { retry_policy: policy, ...(actor.name === undefined ? {} : { generated_by: actor.name }) }, state.key);
          ctx.data = { ...ctx.data, plan };
          state.done = true;
          ctx.close();
          ctx.notify(`${many(plan.retryable_count, 'delivery', 'deliveries')} can be tried again now, ${number(plan.waiting_count)} wait, ${number(plan.suppressed_count)} are given up`);
        });
      };
      const count = (name, value, more) => h('input', { name, type: 'number', value, required: true, ...more });
      return [title('Plan Auditor Retry'), h('p', {}, 'Decides for every failed delivery whether it is safe to try again, and records the decisions. Nothing is sent.'), failed(state),
        h('form', { class: 'stack', onsubmit: go }, h('div', { class: 'two' }, field('Attempts', count('attempts', '3', { min: 1, max: 1000000 }), 'After so many failures it is given up'), field('First delay, minutes', count('delay', '15', { min: 0, max: 5256000 })), field('Each further delay, times', count('multiplier', '2', { min: 1, max: 1000, step: 'any' }))), actorField(ctx), foot(cancel(ctx, state), submit(state, 'Make the plan', '', Boolean(ctx.session?.authenticated || localStorage.getItem('cavra-name')))))];
    },
  });
}

const ACT = { retry: ['healthy', 'retry now'], wait: ['outstanding', 'wait'], suppress: ['dismissed', 'give up'], suppressed: ['dismissed', 'give up'] };
/// What was reported about a delivery after the newest failure that the plan knew of.
const since = (deliveries, one) => deliveries.find((record) => record.export_id === one.export_id && record.session_id !== one.latest_delivery_id
  && (record.providers || []).some((provider) => alike(provider, one.provider)) && Date.parse(record.created_at) > Date.parse(one.latest_delivery_at));

function planCard(ctx, plan, deliveries) {
  const decisions = plan.retry_decisions || [];
  const order = { retry: 0, wait: 1 };
  const sorted = [...decisions].sort((a, b) => (order[a.action] ?? 2) - (order[b.action] ?? 2) || (a.next_retry_at || '').localeCompare(b.next_retry_at || ''));
  const columns = ['Decision', 'Provider', 'Release', 'Failures', 'Because', 'Next attempt', 'Since then'].map((name) => ({ name }));
  const news = sorted.map((one) => since(deliveries, one));
  const rows = sorted.slice(0, 200).map((one, index) => ({ key: `${one.export_id}|${one.provider}`, cells: [
    badge(...(ACT[one.action] || ['dismissed', words(one.action)])), one.provider, h('span', { class: 'nowrap' }, one.release_record_ref || short(one.export_id)),
    h('div', { class: 'stack-s' }, h('span', {}, `${number(one.retry_count)} of ${number(one.max_retry_attempts)}`), one.failed_status_codes?.length ? h('span', { class: 'quiet nowrap' }, one.failed_status_codes.map(status).join(', ')) : null),
    h('div', { class: 'stack-s' }, h('span', {}, one.reason), h('code', { class: 'quiet' }, one.reason_code)),
    one.action === 'wait' && one.next_retry_at ? h('span', { class: 'nowrap' }, due(one.next_retry_at)) : one.action === 'retry' ? 'at once' : h('span', { class: 'quiet' }, 'none'),
    h('div', { class: 'stack-s' }, news[index] ? h('span', { class: 'badges' }, outcome(news[index], one.provider), h('span', { class: 'quiet' }, when(news[index].created_at))) : null,
      button(ctx, { key: 'record', label: 'Record result…', kind: 'small', permission: 'delivery.record', name: `Record the result of the delivery to ${one.provider}, ${one.release_record_ref || one.export_id}`, why: one.export_known !== false ? '' : 'This export is not known here, so no delivery of it can be recorded.', act: () => recordDelivery(ctx, one, () => planRetry(ctx)) })),
  ] }));
  return h('section', { class: 'card stack', 'aria-label': 'Retry plan' },
    h('div', { class: 'card-head' }, h('h2', {}, 'Newest retry plan ', badge(plan.alert_level)), h('p', { class: 'quiet' }, when(plan.generated_at), ` by ${plan.generated_by}`)),
    news.some(Boolean) && !ctx.asOf ? h('p', { class: 'note' }, icon('warning'), h('span', {}, `${many(news.filter(Boolean).length, 'delivery has', 'deliveries have')} been reported since this plan was made. A new plan decides again.`)) : null,
    now() - Date.parse(plan.generated_at) > 3600000 && !ctx.asOf ? h('p', { class: 'note is-warning' }, icon('warning'), h('span', {}, `This plan is ${span(now() - Date.parse(plan.generated_at))} old. What is safe to retry now may differ: make a new one.`)) : null,
    decisions.length ? [h('ul', { class: 'sum' }, h('li', {}, h('b', {}, number(plan.retryable_count)), 'can be tried now'), h('li', {}, h('b', {}, number(plan.waiting_count)), 'wait'), h('li', {}, h('b', {}, number(plan.suppressed_count)), 'given up')),
      h('h3', {}, 'Next attempts'), retryPicture(sorted.slice(0, 12), plan.generated_at), table('Decisions', columns, rows),
      rest(sorted, 200, `${plan.retry_plan_id}-decisions.json`)]
      : h('p', { class: 'quiet' }, decisions.length === 0 && plan.decision_count ? 'The decisions are being fetched.' : 'No failed delivery is left undelivered.'));
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
      h('button', { type: 'button', class: 'linkish', onclick: () => showExport(ctx, { ...made, export_hash: record.export_hash }) }, record.release_record_ref || short(record.export_id)), h('span', { class: 'nowrap' }, when(record.created_at)),
      badge(record.verification_state === 'verified' ? 'healthy' : 'critical', record.verification_state), state(record), record.signer || '–',
    ] };
  });
  return h('div', { class: 'stack' },
    data.plan ? planCard(ctx, data.plan, data.deliveries) : h('section', { class: 'card' }, h('h2', {}, 'No retry plan yet'), h('p', { class: 'quiet' }, 'A plan decides which failed deliveries are safe to try again. Nothing is sent.')),
    h('section', { class: 'stack', 'aria-label': 'Auditor exports' }, h('h2', {}, many(data.total, 'auditor export')),
      table('Auditor exports, newest first', ['Release', 'Made', 'Checks', 'Delivery', 'By'].map((name) => ({ name })), rows, { empty: empty('No export has been made yet') })));
}

export const exporting = {
  title: 'Auditor export', lead: 'What the auditor gets at the end, and which failed deliveries of it are safe to try again. This service sends nothing: it records what your connectors report.', load, render,
  tools: (ctx) => [button(ctx, { key: 'make', label: 'Auditor export…', permission: 'export.create', why: ctx.sample ? 'Exports are not part of the sample.' : '', act: () => makeExport(ctx) }), button(ctx, { key: 'plan', label: 'Plan Auditor Retry…', kind: 'primary', permission: 'retry.plan.create', why: ctx.sample ? 'Retry plans are not part of the sample.' : '', act: () => planRetry(ctx) })],
};
