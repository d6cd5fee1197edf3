// Pictures where people would rather look than read. Each has its numbers as text beside it or in a table.
import { h, s } from './dom.js';
import { dueText, many, now, number } from './format.js';

export const ORDER = ['outstanding', 'escalated', 'acknowledged', 'dismissed', 'resolved'];

/// One bar, split by state, with a legend of links.
export function stateBar(counts, link) {
  const total = counts.route_count;
  let x = 0;
  const parts = ORDER.map((state) => {
    const share = total ? (counts[`${state}_count`] / total) * 1000 : 0;
    const rect = s('rect', { class: `fill-${state}`, x: x.toFixed(2), y: 0, width: Math.max(0, share - (share > 6 ? 3 : 0)).toFixed(2), height: 12, rx: 2 });
    x += share;
    return rect;
  });
  return h('div', { class: 'statebar' },
    s('svg', { viewBox: '0 0 1000 12', preserveAspectRatio: 'none', 'aria-hidden': 'true', class: 'bar' },
      total ? parts : s('rect', { class: 'fill-none', x: 0, y: 0, width: 1000, height: 12, rx: 2 })),
    h('ul', { class: 'legend' }, ORDER.map((state) => h('li', {},
      h('a', { href: link(state), class: 'legend-link' },
        s('svg', { viewBox: '0 0 10 10', class: `swatch fill-${state}`, 'aria-hidden': 'true' }, s('rect', { width: 10, height: 10, rx: 2 })),
        h('span', {}, state), h('b', {}, number(counts[`${state}_count`])))))));
}

/// Pictures are drawn for the room that they have, so that their letters are never blown up nor shrunk.
const room = () => (matchMedia('(max-width: 44rem)').matches ? 'slim' : matchMedia('(min-width: 120rem)').matches ? 'wide' : 'usual');

/// States over time, stacked; breached routes as a line above.
export function stateTrend(points, label) {
  const [width, height] = { slim: [340, 200], usual: [720, 220], wide: [1440, 320] }[room()];
  const [left, bottom, top] = [44, 26, 10];
  const most = Math.max(1, ...points.map((point) => point.route_count));
  const step = nice(most);
  const ceiling = Math.ceil(most / step) * step;
  const x = (index) => left + (index / (points.length - 1)) * (width - left - 8);
  const y = (value) => top + (1 - value / ceiling) * (height - top - bottom);
  const base = points.map(() => 0);
  const areas = [...ORDER].reverse().map((state) => {
    const low = [...base];
    points.forEach((point, index) => { base[index] += point[`${state}_count`]; });
    const up = points.map((_, index) => `${x(index).toFixed(1)},${y(base[index]).toFixed(1)}`);
    const down = points.map((_, index) => `${x(index).toFixed(1)},${y(low[index]).toFixed(1)}`).reverse();
    return s('polygon', { class: `fill-${state} area`, points: [...up, ...down].join(' ') });
  });
  const lines = [];
  for (let value = 0; value <= ceiling; value += step) {
    lines.push(s('line', { class: 'grid', x1: left, x2: width - 8, y1: y(value), y2: y(value) }),
      s('text', { class: 'tick', x: left - 8, y: y(value) + 4, 'text-anchor': 'end' }, number(value)));
  }
  const span = Date.parse(points.at(-1).at) - Date.parse(points[0].at);
  const tick = new Intl.DateTimeFormat(undefined, span > 172800000 ? { month: 'short', day: 'numeric' } : { hour: '2-digit', minute: '2-digit' });
  const marks = (room() === 'slim' ? [0, 2, 4] : [0, 1, 2, 3, 4]).map((part) => {
    const index = Math.round((part / 4) * (points.length - 1));
    const anchor = part === 0 ? 'start' : part === 4 ? 'end' : 'middle';
    return s('text', { class: 'tick', x: x(index), y: height - 6, 'text-anchor': anchor }, tick.format(Date.parse(points[index].at)));
  });
  const breach = points.map((point, index) => `${x(index).toFixed(1)},${y(point.breached_count).toFixed(1)}`).join(' ');
  const last = points.at(-1);
  const text = `${label}. Now: ${ORDER.map((state) => `${last[`${state}_count`]} ${state}`).join(', ')}; ${last.breached_count} past their time.`;
  return s('svg', { viewBox: `0 0 ${width} ${height}`, class: 'chart', role: 'img', 'aria-label': text },
    lines, areas, s('polyline', { class: 'breachline-under', points: breach }), s('polyline', { class: 'breachline', points: breach }), marks);
}

function nice(most) {
  const raw = most / 4;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)));
  return Math.max(1, [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw));
}

/// Bars with names: who has most routes past their time.
export function ownerBars(groups, link) {
  const most = Math.max(1, ...groups.map((group) => group.breached_count));
  return h('ul', { class: 'hbars' }, groups.map((group) => h('li', { key: group.value },
    h('a', { href: link(group.value), class: 'hbar' },
      h('span', { class: 'hbar-name' }, group.value),
      s('svg', { viewBox: '0 0 100 10', preserveAspectRatio: 'none', class: 'hbar-bar', 'aria-hidden': 'true' },
        s('rect', { class: 'fill-rest', width: 100, height: 10, rx: 1 }),
        s('rect', { class: 'fill-breach', width: (group.breached_count / most) * 100, height: 10, rx: 1 })),
      h('b', {}, number(group.breached_count)),
      h('span', { class: 'quiet' }, ` of ${many(group.route_count, 'route')}`)))));
}

/// When each delivery may be tried again, on one line of time.
export function retryPicture(decisions, from) {
  const begin = Date.parse(from);
  const waiting = decisions.filter((one) => one.action === 'wait' && one.next_retry_at);
  const end = Math.max(begin + 3600000, ...waiting.map((one) => Date.parse(one.next_retry_at)));
  const slim = room() === 'slim';
  const [width, row, left, right] = slim ? [340, 26, 108, 112] : [720, 26, 220, 120];
  const named = (one) => (slim ? one.provider : `${one.provider}, ${one.release_record_ref || 'no release'}`);
  const cut = (text) => (text.length > (slim ? 13 : 32) ? `${text.slice(0, slim ? 12 : 31)}…` : text);
  const x = (ms) => left + (Math.max(0, ms - begin) / (end - begin)) * (width - left - right);
  const height = decisions.length * row + 34;
  const ready = decisions.filter((one) => one.action === 'retry').length;
  const text = `Next attempts: ${many(ready, 'delivery', 'deliveries')} can be tried now, ${waiting.length} wait, ${decisions.length - ready - waiting.length} will not be tried again.`;
  const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
  return s('svg', { viewBox: `0 0 ${width} ${height}`, class: 'chart retry', role: 'img', 'aria-label': text },
    s('line', { class: 'nowline', x1: x(begin), x2: x(begin), y1: 6, y2: height - 22 }),
    [0, 0.5, 1].map((part) => s('text', { class: 'tick', x: left + part * (width - left - right), y: height - 6, 'text-anchor': part ? 'middle' : 'start' },
      part ? hour.format(begin + part * (end - begin)) : now() - begin > 600000 ? 'when planned' : 'now')),
    decisions.map((one, index) => {
      const y = index * row + 20;
      const at = one.action === 'wait' ? x(Date.parse(one.next_retry_at)) : x(begin);
      const mark = one.action === 'retry'
        ? s('path', { class: 'mark-go', d: `M${at} ${y - 7}l11 7-11 7z` })
        : one.action === 'wait'
          ? [s('line', { class: 'waitline', x1: x(begin), x2: at, y1: y, y2: y }), s('circle', { class: 'mark-wait', cx: at, cy: y, r: 5.5 })]
          : s('path', { class: 'mark-stop', d: `M${at - 5} ${y - 5}l10 10m0-10-10 10` });
      const said = one.action === 'retry' ? 'at once' : one.action === 'wait' ? dueText(Date.parse(one.next_retry_at)) : 'given up';
      return [s('text', { class: 'rowname', x: left - 16, y: y + 4, 'text-anchor': 'end' }, cut(named(one))), mark,
        s('text', { class: 'tick', x: at + 16, y: y + 4 }, said)];
    }));
}
