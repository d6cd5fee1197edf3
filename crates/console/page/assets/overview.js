// Where do we stand? A sentence, two pictures, and the five steps with the numbers behind them.
import { B } from './api.js';
import { h, s } from './dom.js';
import { address } from './filter.js';
import { KIND, many, number } from './format.js';
import { ORDER, ownerBars, stateBar, stateTrend } from './charts.js';
import { icon, waiting } from './widgets.js';
import { SOURCE } from './deliveries.js';

const P = 'acknowledgement_audit_delivery_';
const SPANS = { 24: '24 hours', 168: '7 days', 720: '30 days' };
/// How far back the picture goes; kept in the address.
const hoursOf = (ctx) => (SPANS[ctx.parameters.get('hours')] ? Number(ctx.parameters.get('hours')) : 24);

async function load(ctx, signal, update) {
  const hours = hoursOf(ctx);
  const dashboard = await ctx.read(`${B}/dashboard`, {}, signal);
  update({ dashboard });
  const [owners, trend] = await Promise.all([
    ctx.read(`${B}/routes/summary`, { by: 'owner', breached: true, limit: 8 }, signal),
    ctx.read(`${B}/routes/trend`, { hours, points: 49 }, signal),
  ]);
  update({ owners, trend });
}

function verdict(d) {
  const [late, open, escalated] = [d.breached_route_count, d.outstanding_acknowledgement_count, d.escalated_route_count];
  const title = late
    ? `${many(late, 'route is', 'routes are')} past their time to acknowledge.`
    : escalated ? `${many(escalated, 'route has', 'routes have')} been escalated.`
      : open ? `${many(open, 'route waits', 'routes wait')} for an answer, all within their time.`
        : d.route_count ? 'Every route is answered.' : 'There are no routes yet.';
  const rest = d.route_count
    ? `${number(open)} of ${number(d.route_count)} current routes have no answer; ${number(escalated)} are escalated; ${number(d.acknowledged_route_count + d.resolved_route_count)} are acknowledged or resolved.`
    : 'A notification plan brings the first ones: POST …/deliver, or cavra import.';
  return h('div', { class: `verdict is-${d.alert_level}` }, icon(d.alert_level), h('div', {}, h('p', {}, title), h('p', { class: 'quiet' }, rest)));
}

const figure = (label, value, link, kind = '') => {
  const tone = kind && value > 0 ? kind : '';
  const size = kind.startsWith('big') ? 'big ' : '';
  const level = tone.replace('big ', '').replace('big', '');
  return h('li', {}, h(link ? 'a' : 'span', { class: `figure ${size}${level ? `is-${level}` : ''}`, href: link || null },
    h('span', {}, label), h('span', { class: 'value' }, level ? icon(level) : null, h('b', {}, number(value)))));
};
const step = (name, ...figures) => h('section', { class: 'card step', 'aria-label': name }, h('h2', {}, name), h('ul', { class: 'figures' }, figures));
const past = (kind, more) => `#/history?${new URLSearchParams({ kind, ...more })}`;

function render(ctx, { dashboard: d, owners, trend }) {
  const counts = Object.fromEntries(ORDER.map((state) => [`${state}_count`, d[state === 'outstanding' ? 'outstanding_acknowledgement_count' : `${state}_route_count`]]));
  counts.route_count = d.route_count;
  return [
    verdict(d),
    h('section', { class: 'card', 'aria-label': 'Routes by state' }, h('div', { class: 'card-head' }, h('h2', {}, `${many(d.route_count, 'current route')}`), h('a', { href: '#/routes' }, 'All routes')), stateBar(counts, (state) => address('routes', { state }))),
    h('div', { class: 'steps' },
      step('Notify',
        figure('Notification plans', d.plan_count, past(KIND.plan)),
        figure('Routes that wait for an answer', d.route_count, address('routes', { action: 'deliver' })),
        figure('Suppressed routes', d.suppressed_route_count, address('routes', { action: 'suppress' })),
        figure('Deliveries that failed', d.failed_delivery_count, past(KIND.delivery, { success: 'false' }), 'warning')),
      step('Acknowledge',
        figure('Past their time', d.breached_route_count, address('routes', { breached: true }), 'big critical'),
        figure('Outstanding', d.outstanding_acknowledgement_count, address('routes', { state: 'outstanding' }), 'warning'),
        figure('Escalated', d.escalated_route_count, address('routes', { state: 'escalated' }), 'critical'),
        figure('Acknowledgements', d.acknowledgement_count, past(KIND.ack))),
      step('Package',
        figure('Audit packages', d.acknowledgement_audit_package_count, '#/packages'),
        figure('Bulk acknowledgements', d.bulk_acknowledgement_count, past(KIND.bulk)),
        figure('Acknowledgements of no route', d.orphaned_acknowledgement_count, past(KIND.ack, { orphaned: 'true' }), 'warning')),
      step('Deliver',
        figure('Safe to retry now', d[`${P}final_reporting_auditor_export_delivery_retryable_count`], '#/export?action=retry', 'big warning'),
        figure('Auditor exports', d[`${P}final_reporting_auditor_export_count`], past(KIND.export)),
        figure('Deliveries of them that failed', d[`failed_${P}final_reporting_auditor_export_delivery_count`], past(KIND.delivery, { success: 'false', source: SOURCE }))),
      step('Archive',
        figure('Archive alerts now', d[`${P}final_reporting_archive_reference_health_alert_count`], '#/archive', 'big critical'),
        figure('Archive references', d[`${P}final_reporting_immutable_archive_reference_count`], past(KIND.reference)),
        figure('Health reports', d[`${P}final_reporting_archive_reference_health_count`], past(KIND.health)))),
    h('div', { class: 'lookbox' },
      h('section', { class: 'card', 'aria-label': 'States over time' },
        h('div', { class: 'card-head' }, h('h2', {}, 'States over time'),
          h('label', {}, h('span', { class: 'unseen' }, 'How far back'), h('select', { value: String(hoursOf(ctx)), onchange: (event) => ctx.go(`#/overview?hours=${event.target.value}`, { replace: true }) },
            Object.entries(SPANS).map(([hours, name]) => h('option', { value: hours }, name))))),
        trend && !trend.points.some((point) => point.route_count) ? h('p', { class: 'quiet' }, 'There were no routes in this time.') : trend ? stateTrend(trend.points, `Routes by state over ${SPANS[hoursOf(ctx)]}`) : waiting(),
        h('p', { class: 'quiet breachkey' }, s('svg', { viewBox: '0 0 32 8', 'aria-hidden': 'true' }, s('path', { class: 'breachline', d: 'M0 4h32' })), 'past their time')),
      h('section', { class: 'card', 'aria-label': 'Past their time, by owner' },
        h('div', { class: 'card-head' }, h('h2', {}, 'Past their time, by owner'), h('a', { href: address('routes', { breached: true }) }, 'All late routes')),
        !owners ? waiting() : owners.groups.length === 0 ? h('p', { class: 'quiet' }, 'Nobody is late.')
          : [ownerBars(owners.groups, (owner) => address('routes', { owner, breached: true })), owners.omitted_group_count ? h('p', { class: 'quiet' }, `and ${many(owners.omitted_group_count, 'further owner')}`) : null])),
  ];
}

export const overview = { title: 'Overview', load, render };
