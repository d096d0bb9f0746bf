/**
 * The two sockets: they come back by themselves, and lose nothing on the way (docs/protocol.md).
 *
 * Called by call.js (Signaling) and by the page (Events). Knows frames, sequence numbers and resume tokens; knows nothing of
 * peer connections or of the document.
 *
 * @import {Frame} from './shapes.js'
 */

const SUBPROTOCOL = 'secureconnect.v1';
/** A socket that has not opened after this time is given up. */
const OPEN_TIMEOUT_MS = 8_000;
/** A frame of ours that is not acknowledged after this time means that the socket is dead, whatever it says. */
const ACK_TIMEOUT_MS = 6_000;
const CHECK_EVERY_MS = 2_000;
/** Timers that were held for this long mean that the machine slept. */
const SLEPT_MS = 15_000;
const CLOSED_FOR_GOOD = 1000;
const CLOSED_FOR_ABUSE = 1008;
/** The close code of a sign-in that was revoked: sign in first. */
export const CLOSED_SIGNED_OUT = 4003;
const CLOSED_EXPIRED = 4004;
/** The part of a token's remaining life after which a newer one is shown, and after which that is tried again. */
const RENEW_AFTER = 0.7;
/** `ref` of `auth` frames. */
const AUTH = 'auth';

/**
 * @typedef {'idle'|'opening'|'open'|'waiting'|'closed'} SocketState
 * @typedef {object} SocketOptions
 * @property {string} origin `https://…` of the server
 * @property {(least?: number) => Promise<string>} token an access token; when asked with `least`, one that is good for at least so many seconds (Infinity: a new one), if it can be had
 * @property {() => Promise<boolean>} [refused] asked after an attempt that never opened (a browser hides why): true to try again
 */

/**
 * A socket that reopens with backoff and jitter until it is closed for good. It shows the server a newer access token before the one
 * that opened it expires.
 *
 * Events: `state` ({state, code}), `frame` (each frame), and each frame once more under its own `type`.
 */
class ResumingSocket extends EventTarget {
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #retry;
  /** @type {ReturnType<typeof setInterval>|undefined} */ #check;
  #attempt = 0;
  #generation = 0;
  #checkedAt = 0;
  /** When the token of the open socket expires, and when a newer one is to be shown; ms since the epoch. */ #expiresAt = Infinity;
  #renewAt = Infinity;
  /** Whether the last socket closed because its token had expired, whatever the clock here says. */ #expired = false;
  /** @type {SocketState} */ state = 'idle';
  /** When the open socket was lost, in ms since the epoch; null while it is open. @type {number|null} */ lostAt = null;
  /** Longest pause between two attempts. */ longestPause = 10_000;

  /** @param {SocketOptions} options */
  constructor(options) {
    super();
    this.options = options;
    this.onOnline = () => this.reopen();
  }

  open() {
    if (this.state !== 'idle') return;
    globalThis.addEventListener?.('online', this.onOnline);
    this.#checkedAt = Date.now();
    this.#check = setInterval(() => this.#tick(), CHECK_EVERY_MS);
    this.#connect();
  }

  /** Leave for good. */
  close() {
    this.#finish(CLOSED_FOR_GOOD);
  }

  /** Drop the socket, if there is one, and come back at once: the network changed, or what is there answers no more. */
  reopen() {
    if (this.state === 'idle' || this.state === 'closed') return;
    this.#attempt = 0;
    this.#drop();
    this.#connect();
  }

  /** Path and query of the next attempt. @returns {string} */
  address() {
    throw new TypeError('a socket has an address');
  }

  /** @param {Frame} frame @returns {boolean} false when the frame is not news */
  accept(frame) {
    return frame.type !== '';
  }

  /** Called every two seconds. @param {number} _now ms */
  watch(_now) {}

  /** @param {Frame} frame @returns {boolean} whether it went into an open socket */
  transmit(frame) {
    if (this.state !== 'open' || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #tick() {
    const now = Date.now();
    const slept = now - this.#checkedAt > SLEPT_MS;
    this.#checkedAt = now;
    if (slept) return this.reopen();
    if (this.state === 'open' && now >= this.#renewAt) void this.#renew(now);
    return this.watch(now);
  }

  /** The token of the open socket expires in so many seconds, says the server: a duration, since the clock here may be wrong. @param {number} seconds */
  #plan(seconds) {
    const now = Date.now();
    this.#expiresAt = now + seconds * 1000;
    this.#renewAt = now + seconds * 1000 * RENEW_AFTER;
  }

  /** Show a newer token. The answer plans anew; without one it is tried again. @param {number} now */
  async #renew(now) {
    const generation = this.#generation;
    const left = this.#expiresAt - now;
    this.#renewAt = now + left * RENEW_AFTER;
    try {
      const token = await this.options.token(left / 1000 + 1);
      if (generation === this.#generation) this.transmit({ type: 'auth', token, ref: AUTH });
    } catch {
      // The next attempt is planned; a sign-in that has ended closes the socket.
    }
  }

  async #connect() {
    clearTimeout(this.#retry);
    const generation = ++this.#generation;
    this.#become('opening');
    try {
      const token = await this.options.token(this.#expired ? Infinity : undefined);
      if (generation !== this.#generation) return;
      this.#attach(new WebSocket(this.options.origin.replace(/^http/, 'ws') + this.address(), [SUBPROTOCOL, `bearer.${token}`]));
    } catch (error) {
      if (generation !== this.#generation) return;
      if (/** @type {{status?: number}} */ (error).status === 401) this.#finish(CLOSED_FOR_GOOD);
      else this.#later();
    }
  }

  /** @param {WebSocket} socket */
  #attach(socket) {
    this.#socket = socket;
    let opened = false;
    const timeout = setTimeout(() => socket.close(), OPEN_TIMEOUT_MS);
    socket.onmessage = (event) => {
      opened = true;
      this.#receive(JSON.parse(event.data));
    };
    socket.onopen = () => clearTimeout(timeout);
    socket.onclose = (event) => {
      clearTimeout(timeout);
      if (socket === this.#socket) this.#lost(event.code, opened);
    };
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.type === 'welcome') {
      this.#attempt = 0;
      this.lostAt = null;
      this.#expired = false;
      this.#expiresAt = this.#renewAt = Infinity;
      this.#become('open');
    }
    if (typeof frame.token_expires_in === 'number') this.#plan(frame.token_expires_in);
    if (frame.type === 'error' && frame.ref === AUTH) return;
    if (frame.type === 'reconnect') {
      this.#drop();
      this.#later(frame.after_ms);
      return;
    }
    if (!this.accept(frame)) return;
    this.dispatchEvent(new CustomEvent('frame', { detail: frame }));
    this.dispatchEvent(new CustomEvent(frame.type, { detail: frame }));
  }

  /** @param {number} code @param {boolean} opened */
  async #lost(code, opened) {
    this.#drop();
    if (code === CLOSED_FOR_GOOD || code === CLOSED_SIGNED_OUT) return this.#finish(code);
    this.#expired = code === CLOSED_EXPIRED;
    if (opened) return this.#later(code === CLOSED_FOR_ABUSE ? 10_000 : 0);
    const generation = this.#generation;
    const again = this.options.refused ? await this.options.refused().catch(() => true) : true;
    if (generation !== this.#generation) return undefined;
    return again ? this.#later() : this.#finish(CLOSED_FOR_GOOD);
  }

  /** @param {number} [least] ms */
  #later(least = 0) {
    this.#become('waiting');
    const pause = Math.min(this.longestPause, 250 * 2 ** this.#attempt++);
    this.#retry = setTimeout(() => this.#connect(), least + pause * (0.3 + 0.7 * Math.random()));
  }

  #drop() {
    clearTimeout(this.#retry);
    this.#generation += 1;
    const socket = this.#socket;
    this.#socket = null;
    if (this.state === 'open') this.lostAt = Date.now();
    socket?.close();
  }

  /** @param {number} code */
  #finish(code) {
    if (this.state === 'closed') return;
    this.#drop();
    clearInterval(this.#check);
    globalThis.removeEventListener?.('online', this.onOnline);
    this.#become('closed', code);
  }

  /** @param {SocketState} state @param {number|null} [code] */
  #become(state, code = null) {
    if (this.state === state) return;
    if (state === 'waiting' && this.lostAt === null) this.lostAt = Date.now();
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, code } }));
  }
}

/**
 * The signaling socket of one session in a call.
 *
 * Every frame sent is kept until it is acknowledged and sent again after a resume, so a receiver may see one twice, never lose one.
 * Events: those of docs/protocol.md by their `type`, `frame`, `state`.
 */
export class Signaling extends ResumingSocket {
  /** @type {Map<string, {frame: Frame, at: number}>} */ #unacknowledged = new Map();
  #ref = 0;
  /** Grows from one attempt to the next, also over a reload of the page. */ #attempt = 0;
  /** @type {string|null} */ sessionId = null;
  /** @type {string|null} */ resume = null;
  seq = 0;

  /**
   * @param {SocketOptions & {callId: string, deviceId?: string}} options
   * @param {{session_id: string, resume: string, seq: number}} [saved] of an earlier page, to come back as the same session
   */
  constructor(options, saved) {
    super(options);
    this.callId = options.callId;
    this.deviceId = options.deviceId ?? null;
    this.longestPause = 3_000; // the server keeps the session for 30 s only
    if (saved) {
      this.sessionId = saved.session_id;
      this.resume = saved.resume;
      this.seq = saved.seq;
    }
  }

  address() {
    this.#attempt = Math.max(this.#attempt + 1, Date.now());
    const query = new URLSearchParams({ call_id: this.callId, attempt: String(this.#attempt) });
    if (this.deviceId) query.set('device_id', this.deviceId);
    if (this.resume) {
      query.set('resume', this.resume);
      query.set('seq', String(this.seq));
    }
    return `/v1/calls/ws/signaling?${query}`;
  }

  /** The next attempt starts a new session. */
  forget() {
    this.resume = null;
    this.seq = 0;
    this.#unacknowledged.clear();
  }

  /** @param {Frame} frame without `ref`; it goes out when the socket is open */
  send(frame) {
    const ref = String(++this.#ref);
    const numbered = { ...frame, ref };
    this.#unacknowledged.set(ref, { frame: numbered, at: Date.now() });
    this.transmit(numbered);
  }

  /** @param {Frame} frame */
  accept(frame) {
    if (frame.type === 'ack') this.#unacknowledged.delete(frame.ref);
    if (frame.type === 'error') this.#failed(frame);
    if (frame.type === 'welcome') return this.#welcomed(frame);
    if (typeof frame.seq !== 'number' || frame.type === 'ack') return true;
    if (frame.seq <= this.seq) return false;
    this.seq = frame.seq;
    return true;
  }

  /** @param {Frame} frame */
  #welcomed(frame) {
    this.sessionId = frame.session_id;
    this.resume = frame.resume;
    if (!frame.resumed) {
      this.seq = frame.seq;
      this.#unacknowledged.clear(); // they spoke of peer connections and a state that are gone
    }
    for (const entry of this.#unacknowledged.values()) {
      entry.at = Date.now();
      this.transmit(entry.frame);
    }
    return true;
  }

  /** @param {Frame} error */
  #failed(error) {
    const entry = error.ref ? this.#unacknowledged.get(error.ref) : undefined;
    if (!entry) return;
    if (error.code !== 'rate_limited') {
      this.#unacknowledged.delete(error.ref);
      return;
    }
    entry.at = Date.now();
    setTimeout(() => this.transmit(entry.frame), 1_000);
  }

  /** The last frame. @param {Frame} frame @param {number} patience ms @returns {Promise<boolean>} whether the server has closed the socket behind it */
  async farewell(frame, patience) {
    if (this.state === 'open') {
      const done = new Promise((resolve) => {
        this.addEventListener('state', resolve, { once: true });
        setTimeout(resolve, patience);
      });
      this.send(frame);
      await done;
    }
    return this.state === 'closed';
  }

  /** Something is amiss: this frame is to be acknowledged soon, or the socket is dead. @param {Frame} frame @param {number} patience ms */
  probe(frame, patience) {
    if (this.state !== 'open') return;
    this.send(frame);
    const ref = String(this.#ref);
    setTimeout(() => { if (this.state === 'open' && this.#unacknowledged.has(ref)) this.reopen(); }, patience);
  }

  /** @param {number} now */
  watch(now) {
    const oldest = this.#unacknowledged.values().next().value;
    if (this.state === 'open' && oldest && now - oldest.at > ACK_TIMEOUT_MS) this.reopen();
  }
}

/**
 * The events socket of a signed-in device: `call.incoming` and the other frames of docs/protocol.md, each under its own `type`.
 * A `welcome` with `resumed: false` means: load the lists again.
 */
export class Events extends ResumingSocket {
  /** @type {string|null} */ cursor = null;

  /** @param {SocketOptions & {deviceId?: string}} options */
  constructor(options) {
    super(options);
    this.deviceId = options.deviceId ?? null;
  }

  address() {
    const query = new URLSearchParams();
    if (this.deviceId) query.set('device_id', this.deviceId);
    if (this.cursor) query.set('cursor', this.cursor);
    return `/v1/ws/events?${query}`;
  }

  /** @param {Frame} frame */
  accept(frame) {
    if (frame.cursor) this.cursor = frame.cursor;
    return true;
  }
}
