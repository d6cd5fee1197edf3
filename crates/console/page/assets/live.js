// Other people's changes: server-sent events, and asking now and then where they do not get through.

const POLL_MS = 3000;

/// Tells `changed` when the log has moved, and `state` how that is known: live, polling or away.
export class Live {
  constructor(api, { changed, state }) {
    Object.assign(this, { api, changed, state, position: null, source: null, timer: null, failures: 0, mode: 'starting' });
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
    if (document.hidden || this.source) return;
    clearTimeout(this.timer);
    if (typeof EventSource === 'undefined' || this.failures >= 3) { this.poll(); return; }
    const source = this.api.listen();
    this.source = source;
    source.addEventListener('open', () => { this.failures = 0; this.set('live'); });
    source.addEventListener('position', (event) => { this.set('live'); this.at(Number(event.lastEventId)); });
    source.addEventListener('error', () => {
      this.failures += 1;
      source.close();
      this.source = null;
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
      if (this.failures < 3 && typeof EventSource !== 'undefined') { this.start(); if (back) this.changed(); this.at(position); return; }
      this.set('polling');
      if (back) this.changed();
      this.at(position);
    } catch {
      this.failures = 0;
      this.set('away');
    }
    if (!document.hidden) this.timer = setTimeout(() => this.poll(), this.mode === 'away' ? 1500 : POLL_MS);
  }
}
