// The API: requests, answers, and errors as sentences with the request's id.

export const B = '/runtime/go-pilot/rollback-drill-notifications';
export const AD = `${B}/acknowledgements/audit-delivery`;

/// The API said no.
export class Refused extends Error {
  constructor(status, problem, requestId) {
    super(problem.detail || problem.title || `The API answered with status ${status}.`);
    Object.assign(this, { status, problem, code: problem.code || '', requestId: problem.request_id || requestId || '' });
  }

  /// The faults of single values, as sentences.
  get faults() {
    return (this.problem.errors || []).map(({ pointer, detail }) => `${pointer.replace(/^\//, '').replaceAll('/', ', ') || 'the request'}: ${detail}`);
  }
}

/// The API did not answer.
export class Unreachable extends Error {
  constructor(base, waited) {
    super(waited ? `The API at ${base} did not answer within ${waited / 1000} seconds.` : `The API at ${base} cannot be reached.`);
  }
}

/// The text of an answer; how much of it has come is told to `got`.
async function textOf(response, got) {
  if (!got || !response.body) return response.text();
  const [reader, decoder] = [response.body.getReader(), new TextDecoder()];
  let [text, count] = ['', 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    count += value.length;
    text += decoder.decode(value, { stream: true });
    got(count);
  }
}

/// A new key: one for each thing that somebody means to do once.
export function intent() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `console-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

const WAIT_MS = 20000;
const LONG_MS = 600000;
const TELLING = {
  401: 'You are not signed in, or your session is over. Sign in and try again.',
  429: 'The API is asked too often. Wait a moment and try again.',
};

export class Api {
  constructor(base) {
    this.base = base.replace(/\/+$/, '');
    this.seen = new Map();
    this.csrf = null;
    // Told how many bytes have come of what takes long.
    this.got = null;
  }

  url(path, query) {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query || {})) {
      if (value !== '' && value !== null && value !== undefined) parameters.set(name, String(value));
    }
    const text = parameters.toString();
    return `${this.base}${path}${text ? `?${text}` : ''}`;
  }

  async send(url, options, wait, got) {
    const limit = new AbortController();
    let late = false;
    const timer = setTimeout(() => { late = true; limit.abort(); }, wait);
    const outer = options.signal;
    outer?.addEventListener('abort', () => limit.abort());
    try {
      const response = await fetch(url, { cache: 'no-store', redirect: 'error', ...options, signal: limit.signal });
      const text = await textOf(response, got);
      return { response, text };
    } catch (error) {
      if (outer?.aborted) throw new DOMException('superseded', 'AbortError');
      throw new Unreachable(this.base || location.origin, late && wait);
    } finally {
      clearTimeout(timer);
    }
  }

  parsed({ response, text }) {
    let body = null;
    try { body = text ? JSON.parse(text) : null; } catch { /* said below */ }
    if (response.ok && body !== null) return body;
    const problem = body && typeof body === 'object' ? body : { detail: response.ok ? 'The answer is not JSON: this may not be the API.' : text.slice(0, 200) };
    if (!problem.detail && TELLING[response.status]) problem.detail = TELLING[response.status];
    throw new Refused(response.status, problem, response.headers.get('x-request-id'));
  }

  /// Reads. What has not changed since is not sent again.
  async get(path, query, signal) {
    const url = this.url(path, query);
    const known = this.seen.get(url);
    const headers = { accept: 'application/json' };
    if (known) headers['if-none-match'] = known.tag;
    const answer = await this.send(url, { headers, signal }, WAIT_MS);
    if (answer.response.status === 304 && known) return known.body;
    const body = this.parsed(answer);
    const tag = answer.response.headers.get('etag');
    if (tag) {
      if (this.seen.size > 60) this.seen.delete(this.seen.keys().next().value);
      this.seen.set(url, { tag, body });
    }
    return body;
  }

  /// A document byte for byte, for whoever checks its digest or its signature.
  async raw(path, accept = 'application/json') {
    const answer = await this.send(this.url(path), { headers: { accept } }, LONG_MS, this.got);
    if (!answer.response.ok) this.parsed(answer);
    return answer.text;
  }

  /// Writes. The key makes a second attempt harmless: the API answers it as it answered the first.
  async post(path, body, key, more = {}) {
    const headers = { 'content-type': 'application/json', accept: 'application/json', ...more };
    if (key) headers['idempotency-key'] = key;
    if (this.csrf) headers['x-csrf-token'] = this.csrf;
    return this.parsed(await this.send(this.url(path), { method: 'POST', headers, body: JSON.stringify(body) }, LONG_MS, this.got));
  }

  listen() { return new EventSource(this.url('/events')); }
  async position() {
    const { text } = await this.send(this.url('/events', { follow: false }), {}, 5000);
    return Number(/"position":(\d+)/.exec(text)?.[1] ?? NaN);
  }
}
