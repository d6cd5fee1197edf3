// One filter: what is shown, what a bulk acts on, and what is exported. It lives in the address.

export const TERMS = ['owner', 'provider', 'state', 'action', 'category', 'breached', 'schedule_id'];
export const STATES = ['outstanding', 'escalated', 'acknowledged', 'dismissed', 'resolved'];
export const ACTIONS = ['deliver', 'suppress'];
export const CATEGORIES = ['maintenance_window', 'owner_calendar', 'healthy_schedule', 'other'];

/// The terms in an address; what is not a term is left alone.
export function filterOf(parameters) {
  const filter = {};
  for (const term of TERMS) {
    const value = (parameters.get(term) || '').trim();
    if (value) filter[term] = term === 'breached' ? value === 'true' : value;
  }
  return filter;
}

export const isEmpty = (filter) => Object.keys(filter).length === 0;
export const withTerm = (filter, term, value) => {
  const { [term]: _, ...rest } = filter;
  return value === '' || value === null || value === undefined ? rest : { ...rest, [term]: value };
};

/// An address with these terms.
export function address(page, filter = {}, more = {}) {
  const parameters = new URLSearchParams();
  for (const term of TERMS) if (filter[term] !== undefined) parameters.set(term, String(filter[term]));
  for (const [name, value] of Object.entries(more)) if (value) parameters.set(name, String(value));
  const text = parameters.toString();
  return `#/${page}${text ? `?${text}` : ''}`;
}

/// The filter in words, without the noun's article: `outstanding routes of payments over slack`.
export function sentence(filter) {
  const parts = [];
  if (filter.action === 'suppress') parts.push('suppressed');
  if (filter.state) parts.push(filter.state);
  parts.push('routes');
  if (filter.schedule_id) parts.push(`of the schedule ${filter.schedule_id}`);
  if (filter.owner) parts.push(`of owners like “${filter.owner}”`);
  if (filter.provider) parts.push(`over ${filter.provider}`);
  if (filter.category && filter.category !== 'deliver') parts.push(`suppressed as ${filter.category.replaceAll('_', ' ')}`);
  if (filter.breached === true) parts.push('past their time');
  if (filter.breached === false) parts.push('not past their time');
  const text = parts.join(' ');
  return text === 'routes' ? 'all routes' : text;
}

/// The filter of a bulk button: what is shown, and one term more. None when the two exclude each other.
export function narrowed(filter, more) {
  for (const [term, value] of Object.entries(more)) {
    if (filter[term] !== undefined && filter[term] !== value) return null;
  }
  if (filter.action === 'suppress' || (filter.category && filter.category !== 'deliver')) return null;
  return { ...filter, ...more, action: 'deliver' };
}
