// Other people's changes: server-sent events, and asking every second where they do not get through.

const POLL_MS = 1000;
const AGAIN_MS = 30000;

/// Tells `changed` when the log has moved, and `state` how that is known: live, polling or away.
export class Live {
  constructor(api, { changed, state }) {
    Object.assign(this, { api, changed, state, position: null, source: null, timer: null, failures: 0, tried: 0, mode: 'starting' });
    document.addEventListener('visibilitychange', () => this.shown());
  }

  set(mode) {
    if (this.mode === mode) return;
    this.mode = mode;
    this.state(mode);
  }

  at(position) {
    if (!Number.isFinite(position) || position === this.position) return;
    const news = this.position !== null;
    this.position = position;
    if (news) this.changed();
  }

  /// A hidden page listens to nothing, so that many open tabs cost nothing; shown again, it catches up.
  shown() {
    if (document.hidden) this.stop();
    else this.start();
  }

  start() {
    if (!document.hidden && !this.source) this.listen();
  }

  listen() {
    const source = this.api.listen();
    Object.assign(this, { source, tried: Date.now() });
    source.addEventListener('open', () => { this.failures = 0; clearTimeout(this.timer); this.set('live'); });
    source.addEventListener('position', (event) => { this.set('live'); this.at(Number(event.lastEventId)); });
    source.addEventListener('error', () => {
      if (this.source !== source) return;
      this.failures += 1;
      // Left alone, the browser connects again by itself and says in Last-Event-ID what it has heard. Where that leads
      // to nothing it is tried anew now and then.
      if (source.readyState === EventSource.CLOSED || this.failures > 3) {
        source.close();
        this.source = null;
      }
      this.poll();
    });
  }

  stop() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  async poll() {
    clearTimeout(this.timer);
    try {
      const position = await this.api.position();
      const back = this.mode === 'away';
      if (!this.source && !document.hidden && (back || Date.now() - this.tried > AGAIN_MS)) this.listen();
      this.at(position);
      if (this.source?.readyState === EventSource.OPEN) { this.set('live'); return; }
      // A stream that broke once is as good as there: the browser is at it.
      if (this.mode !== 'live' || this.failures > 1) this.set('polling');
      if (back) this.changed();
    } catch {
      this.set('away');
    }
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = setTimeout(() => this.poll(), POLL_MS);
  }
}
