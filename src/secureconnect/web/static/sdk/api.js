/**
 * The HTTP API: one method a route, problem errors, and the access token.
 *
 * Called by the page and by embedding applications. The access token lives in memory only; the refresh token is an HttpOnly
 * cookie that this file never sees. Must not touch the document.
 *
 * @import {User, CallRecord, Conversation, Device, Message, Page, Person, PublicConfig, Recording, Trace} from './shapes.js'
 */

/** Seconds before its end at which an access token counts as too old to open a socket with. */
const TOKEN_MARGIN_S = 60;
/** Two sockets whose token has expired need one new token. */
const JUST_NOW_MS = 5_000;
/** Times that a GET is sent when the answer is 429, and the longest `Retry-After` that is waited for, seconds. */
const ATTEMPTS = 3;
const LONGEST_WAIT_S = 20;

/** A problem answer (RFC 9457), or `status` 0 with code `offline` when no answer came. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status, 0 when the server was not reached
   * @param {{code?: string, title?: string, detail?: string, request_id?: string}} problem
   * @param {number|null} [retryAfter] seconds, from `Retry-After`
   */
  constructor(status, problem, retryAfter = null) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.code = problem.code ?? 'unknown';
    this.requestId = problem.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/** A random UUID (version 4), also where the page is not a secure context and `crypto.randomUUID` is missing. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/**
 * Events: `signedout` when the session cannot be refreshed any more.
 */
export class Api extends EventTarget {
  /** @type {string|null} */ #token = null;
  #issuedAt = 0;
  #expiresAt = 0;
  /** @type {Promise<void>|null} */ #refreshing = null;
  /** @type {User|null} */ user = null;

  /**
   * @param {{origin?: string, token?: () => Promise<string>}} [options] `origin` of the server, by default the page's own;
   *   `token` supplies access tokens of an outside identity provider, and then nothing here signs in or refreshes.
   */
  constructor({ origin = globalThis.location?.origin ?? '', token } = {}) {
    super();
    this.origin = origin;
    this.supply = token ?? null;
  }

  /** @param {string} email @param {string} password @param {string} [deviceId] to sign out from afar @returns {Promise<User>} @throws {ApiError} 401 `wrong_credentials` */
  async login(email, password, deviceId) {
    return this.#signedIn(await this.#fetch('POST', '/v1/auth/login', { email, password, device_id: deviceId, cookie: true }));
  }

  /** What may be offered before anyone signs in. @returns {Promise<PublicConfig>} */
  async config() {
    return this.#fetch('GET', '/v1/auth/config');
  }

  /**
   * @param {string} email @param {string} password @param {string} displayName @param {string} [deviceId]
   * @param {string} [invitation] where registration is by invitation @returns {Promise<User>}
   * @throws {ApiError} 409 `email_taken`, 403 `registration_closed` or `invitation_required`
   */
  async register(email, password, displayName, deviceId, invitation) {
    const body = { email, password, display_name: displayName, device_id: deviceId, invitation, cookie: true };
    return this.#signedIn(await this.#fetch('POST', '/v1/auth/register', body));
  }

  /** Sign in again with the cookie of `userId`. @param {string} userId @returns {Promise<User>} @throws {ApiError} 401 */
  async resume(userId) {
    // Refresh tokens rotate and a used one ends its family: two tabs of one person must not refresh at the same time.
    const refresh = () => this.#fetch('POST', '/v1/auth/refresh', { user_id: userId });
    const answer = navigator.locks ? await navigator.locks.request(`secureconnect.refresh.${userId}`, refresh) : await refresh();
    return this.#signedIn(answer);
  }

  async logout() {
    const userId = this.user?.user_id;
    this.#token = null;
    this.user = null;
    await this.#fetch('POST', '/v1/auth/logout', { user_id: userId });
  }

  /** End all sign-ins of this user, this one too. @throws {ApiError} */
  async logoutEverywhere() {
    await this.request('POST', '/v1/auth/logout-everywhere');
    this.#token = null;
    this.user = null;
  }

  /** Change the password; other sign-ins end, this one goes on. @param {string} current @param {string} chosen 8 to 256 characters @throws {ApiError} 403 `wrong_password` */
  async changePassword(current, chosen) {
    this.#signedIn(await this.request('POST', '/v1/auth/password', { current_password: current, new_password: chosen, cookie: true }));
  }

  /** Choose a password with the token of a one-time link, and sign in. @param {string} token @param {string} chosen 8 to 256 characters @param {string} [deviceId] @returns {Promise<User>} @throws {ApiError} 404 `link_expired` */
  async resetPassword(token, chosen, deviceId) {
    const body = { token, new_password: chosen, device_id: deviceId, cookie: true };
    return this.#signedIn(await this.#fetch('POST', '/v1/auth/password/reset', body));
  }

  /**
   * An access token that is good for a while yet.
   * @param {number} [least] seconds that it should be good for, at most half of its life; Infinity for one that was issued just now
   * @returns {Promise<string>} @throws {ApiError} 401 when signed out
   */
  async token(least = TOKEN_MARGIN_S) {
    if (this.supply) return this.supply();
    if (!this.#token || this.#isOld(least)) await this.#refresh();
    return /** @type {string} */ (this.#token);
  }

  /** @param {number} least seconds */
  #isOld(least) {
    const now = Date.now();
    if (least === Infinity) return now - this.#issuedAt > JUST_NOW_MS;
    return now > this.#expiresAt - Math.min(least * 1000, (this.#expiresAt - this.#issuedAt) / 2);
  }

  /** @returns {Promise<User>} */
  async me() {
    this.user = await this.request('GET', '/v1/users/me');
    return /** @type {User} */ (this.user);
  }

  /** @param {string} q prefix of a word of a name, or a whole email @returns {Promise<Person[]>} */
  async users(q) {
    return (await this.request('GET', `/v1/users?q=${encodeURIComponent(q)}`)).items;
  }

  /** @returns {Promise<Conversation[]>} newest message first */
  async conversations() {
    return (await this.request('GET', '/v1/conversations?limit=100')).items;
  }

  /** @param {string} id @returns {Promise<Conversation>} */
  conversation(id) {
    return this.request('GET', `/v1/conversations/${id}`);
  }

  /** @param {string[]} participantIds the others @param {string} [title] @returns {Promise<Conversation>} */
  createConversation(participantIds, title) {
    return this.request('POST', '/v1/conversations', { participant_ids: participantIds, ...(title ? { title } : {}) });
  }

  /** @param {string} conversationId @param {string|null} [cursor] @returns {Promise<{items: Message[], next_cursor: string|null}>} newest first */
  messages(conversationId, cursor = null) {
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : '';
    return this.request('GET', `/v1/messages?conversation_id=${conversationId}${more}`);
  }

  /** @param {string} conversationId @param {string} content @param {string} [key] idempotency key, for a repeat @returns {Promise<Message>} */
  sendMessage(conversationId, content, key = newId()) {
    return this.request('POST', '/v1/messages', { conversation_id: conversationId, content }, key);
  }

  /** @param {string} conversationId @param {string} messageId everything up to it is read */
  markRead(conversationId, messageId) {
    return this.request('PUT', `/v1/conversations/${conversationId}/read`, { message_id: messageId });
  }

  /** Ring people. @param {{call_type: 'audio'|'video', conversation_id: string, callee_ids: string[], device_id?: string}} call @returns {Promise<CallRecord>} */
  initiate(call) {
    return this.request('POST', '/v1/calls/initiate', call, newId());
  }

  /** @param {string} callId @returns {Promise<CallRecord>} */
  call(callId) {
    return this.request('GET', `/v1/calls/${callId}`);
  }

  /** @param {string} callId @param {{device_id?: string, mode?: 'add'|'move'}} [body] @returns {Promise<CallRecord>} @throws {ApiError} 409 `answered_elsewhere`, `call_ended`, `call_full` */
  join(callId, body = {}) {
    return this.request('POST', `/v1/calls/${callId}/join`, body);
  }

  /** @param {string} callId @param {{device_id?: string}} [body] @returns {Promise<CallRecord>} */
  decline(callId, body = {}) {
    return this.request('POST', `/v1/calls/${callId}/decline`, body);
  }

  /** Calls one was in or rung for. @param {string|null} [cursor] @returns {Promise<{items: CallRecord[], next_cursor: string|null}>} newest first */
  calls(cursor = null) {
    return this.request('GET', `/v1/calls?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
  }

  /** This device shows the ring to its person; with an open `Events` say it there. @param {string} callId @param {{device_id?: string}} [body] */
  shown(callId, body = {}) {
    return this.request('POST', `/v1/calls/${callId}/shown`, body);
  }

  /** What became of a call's rings. @param {string} callId @returns {Promise<Trace>} */
  trace(callId) {
    return this.request('GET', `/v1/calls/${callId}/trace`);
  }

  /** Make a device reachable by push (docs/push.md). @param {string} deviceId UUID @param {{platform: string, provider: string, token?: string, subscription?: PushSubscriptionJSON}} how @returns {Promise<Device>} */
  registerDevice(deviceId, how) {
    return this.request('PUT', `/v1/devices/${deviceId}`, how);
  }

  /** @returns {Promise<Device[]>} one's own, the last seen first */
  async devices() {
    return (await this.request('GET', '/v1/devices')).items;
  }

  /** Sign a device out: its tokens end, its sockets close. With a provider, only forget that it can be woken by it. @param {string} deviceId @param {string} [provider] */
  removeDevice(deviceId, provider) {
    return this.request('DELETE', `/v1/devices/${deviceId}${provider ? `?provider=${provider}` : ''}`);
  }

  /** @param {string} callId @returns {Promise<CallRecord>} */
  leave(callId) {
    return this.request('POST', `/v1/calls/${callId}/leave`, {});
  }

  /** @param {string} callId @returns {Promise<CallRecord>} @throws {ApiError} 403 `not_host` */
  end(callId) {
    return this.request('POST', `/v1/calls/${callId}/end`, {});
  }

  /** @param {string} callId @param {string[]} userIds @returns {Promise<CallRecord>} */
  invite(callId, userIds) {
    return this.request('POST', `/v1/calls/${callId}/invite`, { user_ids: userIds });
  }

  /** Silence somebody in the call, as its host. @param {string} callId @param {string} userId @param {('audio'|'video')[]} kinds */
  mute(callId, userId, kinds) {
    return this.request('POST', `/v1/calls/${callId}/participants/${userId}/mute`, { kinds });
  }

  /** Record a call that one is in, or find it recorded already. @param {string} callId @returns {Promise<Recording>} @throws {ApiError} 409 `recording_unavailable`, `not_joined` */
  startRecording(callId) {
    return this.request('POST', `/v1/calls/${callId}/recording`);
  }

  /** End what anybody began. @param {string} callId @returns {Promise<Recording>} @throws {ApiError} 409 `not_recording`, `not_joined` */
  stopRecording(callId) {
    return this.request('DELETE', `/v1/calls/${callId}/recording`);
  }

  /** @param {string} callId @returns {Promise<Recording[]>} newest first; those that are ready with a link that expires */
  async recordings(callId) {
    return (await this.request('GET', `/v1/calls/${callId}/recordings`)).items;
  }

  /** @param {string|null} callId null for a test before a call @returns {Promise<{ice_servers: RTCIceServer[], expires_at: string|null}>} */
  iceServers(callId) {
    return this.request('GET', callId ? `/v1/calls/${callId}/ice-servers` : '/v1/ice-servers');
  }

  /**
   * How well everybody was connected, newest first.
   * @param {string} callId @param {string} [cursor]
   * @returns {Promise<import('./shapes.js').Page>}
   */
  quality(callId, cursor) {
    return this.request('GET', `/v1/calls/${callId}/quality${cursor ? `?cursor=${cursor}` : ''}`);
  }

  /**
   * One authorized request; a token that the server no longer takes is refreshed once.
   * @param {string} method @param {string} path @param {object} [body] @param {string} [key] `Idempotency-Key`
   * @returns {Promise<any>} the JSON answer, null for 204; a GET that is answered with 429 waits `Retry-After` and is sent again
   * @throws {ApiError} with `retryAfter` when the request came too often
   */
  async request(method, path, body, key) {
    const idempotency = key ?? (method === 'POST' ? newId() : undefined);
    try {
      return await this.#fetch(method, path, body, await this.token(), idempotency);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401 || this.supply) throw error;
      await this.#refresh();
      return this.#fetch(method, path, body, /** @type {string} */ (this.#token), idempotency);
    }
  }

  async #refresh() {
    const userId = this.user?.user_id;
    if (!userId) throw new ApiError(401, { code: 'unauthenticated', title: 'Not signed in' });
    this.#refreshing ??= this.resume(userId).then(() => {}).finally(() => { this.#refreshing = null; });
    try {
      await this.#refreshing;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.dispatchEvent(new Event('signedout'));
      throw error;
    }
  }

  /** @param {{user: User, access_token: string, expires_in: number}} answer */
  #signedIn(answer) {
    this.#token = answer.access_token;
    this.#issuedAt = Date.now();
    this.#expiresAt = this.#issuedAt + answer.expires_in * 1000;
    this.user = answer.user;
    return answer.user;
  }

  /**
   * @param {string} method @param {string} path @param {object} [body] @param {string} [token] @param {string} [key]
   * @returns {Promise<any>}
   */
  async #fetch(method, path, body, token, key) {
    /** @type {Record<string, string>} */
    const headers = { accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (token) headers.authorization = `Bearer ${token}`;
    if (key) headers['idempotency-key'] = key;
    const init = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), keepalive: path.endsWith('/leave') };
    for (let attempt = 1; ; attempt += 1) {
      const response = await fetch(this.origin + path, init).catch((cause) => {
        throw new ApiError(0, { code: 'offline', title: String(cause) });
      });
      if (response.ok) return response.status === 204 ? null : response.json();
      const problem = await response.json().catch(() => ({}));
      const wait = Number(response.headers.get('retry-after'));
      // What only reads waits a little when it came too often; what a person does is theirs to repeat.
      if (response.status !== 429 || method !== 'GET' || attempt === ATTEMPTS || !(wait > 0 && wait <= LONGEST_WAIT_S)) {
        throw new ApiError(response.status, problem, wait > 0 ? wait : null);
      }
      await new Promise((resolve) => { setTimeout(resolve, wait * 1000); });
    }
  }
}
