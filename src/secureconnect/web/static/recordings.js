/**
 * The recordings of calls: asked for once somebody looks at a call, and anew when something becomes of one.
 *
 * Called by main.js (which feeds it events) and by the views. Must not touch the document.
 *
 * @import {Api} from '/sdk/api.js'
 * @import {CallRecord, Recording} from '/sdk/shapes.js'
 */

/** Event: `change` ({call_id}). */
export class Recordings extends EventTarget {
  /** @type {Map<string, Recording[]>} by call, newest first */ #known = new Map();
  /** @type {Map<string, object>} by call, the last question */ #asked = new Map();
  /** @type {Set<string>} calls of which nothing more can become */ #settled = new Set();

  /** @param {Api} api */
  constructor(api) {
    super();
    this.api = api;
  }

  /** @param {string} callId @returns {Recording[]} newest first; none before they were asked for */
  of(callId) {
    return this.#known.get(callId) ?? [];
  }

  /** Somebody sees this call. @param {string} callId @param {boolean} over whether it has ended */
  look(callId, over) {
    if (!this.#settled.has(callId)) void this.load(callId, over).catch(() => {}); // out of reach: asked again when it is seen again
  }

  /** @param {string} callId one of whose recordings is ready */
  ready(callId) {
    if (this.#asked.has(callId)) this.look(callId, false);
  }

  /** What became of them meanwhile was not told. */
  again() {
    for (const callId of this.#known.keys()) this.look(callId, false);
  }

  /** @param {CallRecord} call news of the events socket: what is recorded now may not be what was when it was asked */
  callChanged({ call_id: callId, recording }) {
    const running = this.#known.get(callId)?.find((one) => one.status === 'recording');
    if (this.#known.has(callId) && running?.recording_id !== recording?.recording_id) this.look(callId, false);
  }

  /** A link that is good for a while yet. @param {Recording} recording @returns {Promise<string|null>} null when it is not kept any more @throws {import('/sdk/api.js').ApiError} */
  async link({ call_id: callId, recording_id: id }) {
    return (await this.load(callId)).find((one) => one.recording_id === id)?.url ?? null;
  }

  /** @param {string} callId @param {boolean} [over] whether the call has ended @returns {Promise<Recording[]>} @throws {import('/sdk/api.js').ApiError} */
  async load(callId, over = false) {
    const question = {};
    this.#asked.set(callId, question);
    const answer = await this.api.recordings(callId);
    if (this.#asked.get(callId) !== question) return answer;
    this.#known.set(callId, answer);
    if (over && answer.every(({ status }) => status === 'ready' || status === 'failed')) this.#settled.add(callId);
    this.dispatchEvent(new CustomEvent('change', { detail: { call_id: callId } }));
    return answer;
  }
}
