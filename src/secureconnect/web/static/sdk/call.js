/**
 * One call, as one session sees it: who is in it, what they send, how well it flows, and how it comes back after a reload.
 *
 * Called by the page and by embedding applications (docs/client.md). Joins the signaling socket (protocol.js), the ways of the media
 * (paths.js) and the own devices (media.js). Must not touch the document.
 *
 * @import {Api} from './api.js'
 * @import {LocalMedia} from './media.js'
 * @import {Tile} from './forwarding.js'
 * @import {PeerStatistics} from './paths.js'
 * @import {Other} from './roster.js'
 * @import {CallRecord, Frame, QualityReport, Recording, RunningRecording, Snapshot} from './shapes.js'
 */
import { ApiError } from './api.js';
import { Forwarding, Viewport } from './forwarding.js';
import { Paths } from './paths.js';
import { Presence } from './presence.js';
import { Signaling } from './protocol.js';
import { reportOf } from './quality.js';
import { Reporter } from './reporter.js';
import { nameIn, othersOf, sessionsOf } from './roster.js';
import { announcements, mediaOf, reduce, withCall } from './snapshot.js';

const TICK_MS = 2_000;
const LISTEN_MS = 250;
/** A socket that works acknowledges sooner, once there is reason to ask. */
const PROBE_MS = 800;
const NEGOTIATION = new Set(['offer', 'answer', 'ice_candidate', 'switched']);
const LIVE = new Set(['ringing', 'active']);
const RECORDING_STATES = new Set(['started', 'stopped']);

/**
 * @typedef {'connecting'|'ringing'|'active'|'reconnecting'|'over'} CallState
 * @typedef {'ended'|'left'|'moved'|'gone'} OverReason  the call ended; one left; it moved to another device; it cannot be reached any more
 * @typedef {Snapshot & {session_id: string, resume: string, seq: number, device_id: string|null, connections: string[]}} SavedCall
 */

/**
 * Events: `change` (the snapshot), `state` ({state}), `peer` ({session_id}: its tracks or its connection changed),
 * `joined` and `left` ({session_id, user_id, display_name, reason}), `reaction` ({session_id, user_id, emoji}), `hand`
 * ({session_id, user_id, raised}), `muted` ({session_id, by, kinds, reason}: the host silenced that session, or the server did: `reason` is
 * `bit_rate`), `recording` ({recording_id, state, user_id, reason}: who started or stopped it, or the limit that the server stopped it at), `quality`, `problem` ({code, detail}), `over` ({reason}).
 */
export class Call extends EventTarget {
  /** @type {Map<string, QualityReport>} */ reports = new Map();
  /** @type {OverReason|null} */ reason = null;
  /** @type {string|null} that this page was welcomed as */ #session = null;
  #hand = false;
  #reporter = new Reporter();
  #forwarding = new Forwarding();
  #presence = new Presence();
  /** @type {CallState} */ #lastState = 'connecting';
  /** @type {ReturnType<typeof setInterval>[]} */ #timers = [];

  /**
   * @param {Api} api signed in
   * @param {CallRecord} record as `initiate` or `join` answered
   * @param {LocalMedia} media what to send; the caller opens and closes it
   * @param {{deviceId?: string, saved?: SavedCall}} [options]
   */
  constructor(api, record, media, { deviceId, saved } = {}) {
    super();
    this.api = api;
    this.media = media;
    this.deviceId = deviceId;
    /** @type {Snapshot} */
    this.snapshot = { call: record, media: saved?.media ?? {}, topology: record.topology, epoch: record.epoch ?? 0 };
    const options = { origin: api.origin, token: (/** @type {number|undefined} */ least) => api.token(least), callId: record.call_id, deviceId, refused: () => this.#refused() };
    this.signaling = new Signaling(options, saved);
    const send = (/** @type {Frame} */ frame) => this.signaling.send(frame);
    this.paths = new Paths({
      api, callId: record.call_id, send, tracks: () => this.media.tracks, expected: (id) => this.#expected(id), retired: saved?.connections ?? [],
    });
    this.viewport = new Viewport(send, () => this.signaling.state === 'open' && !this.paths.isDirect);
    this.#hand = saved ? mediaOf(this.snapshot, saved.session_id).hand_raised : false;
  }

  /**
   * Ring people and take one's place in the call.
   * @param {Api} api @param {{conversation_id: string, callee_ids: string[], call_type: 'audio'|'video'}} what
   * @param {LocalMedia} media @param {string} [deviceId]
   * @returns {Promise<Call>} @throws {ApiError}
   */
  static async initiate(api, what, media, deviceId) {
    const call = new Call(api, await api.initiate({ ...what, device_id: deviceId }), media, { deviceId });
    return call.open();
  }

  /**
   * Answer a call that rings, or enter one that runs.
   * @param {Api} api @param {string} callId @param {LocalMedia} media @param {string} [deviceId] @param {'add'|'move'} [mode]
   * @returns {Promise<Call>} @throws {ApiError} 409 `answered_elsewhere`, `call_ended`, `call_full`
   */
  static async join(api, callId, media, deviceId, mode) {
    const record = await api.join(callId, { device_id: deviceId, ...(mode ? { mode } : {}) });
    return new Call(api, record, media, { deviceId }).open();
  }

  /** Come back into a call that an earlier page was in. @param {Api} api @param {SavedCall} saved @param {LocalMedia} media @returns {Call} */
  static restore(api, saved, media) {
    return new Call(api, saved.call, media, { deviceId: saved.device_id ?? undefined, saved }).open();
  }

  /** @returns {this} */
  open() {
    this.signaling.addEventListener('frame', (event) => this.#frame(/** @type {CustomEvent<Frame>} */ (event).detail));
    this.signaling.addEventListener('state', () => this.#socketChanged());
    this.paths.addEventListener('path', (event) => this.#emit('peer', /** @type {CustomEvent} */ (event).detail));
    this.paths.addEventListener('silent', () => this.#doubt());
    this.onMedia = () => {
      this.paths.refill();
      this.#announce();
      this.#emit('change');
    };
    this.media.addEventListener('change', this.onMedia);
    this.#timers = [setInterval(() => void this.#tick(), TICK_MS), setInterval(() => this.paths.listen(Date.now()), LISTEN_MS)];
    this.signaling.open();
    return this;
  }

  get callId() {
    return this.snapshot.call.call_id;
  }

  get record() {
    return this.snapshot.call;
  }

  /** What records the call, as everybody must be able to see. @returns {RunningRecording|null} */
  get recording() {
    return this.record.recording ?? null;
  }

  get sessionId() {
    return this.signaling.sessionId;
  }

  /** Own reports, one every two seconds. */
  get history() {
    return this.#reporter.history;
  }

  get handRaised() {
    return this.#hand;
  }

  /** @returns {CallState} */
  get state() {
    if (this.reason || !LIVE.has(this.record.status)) return 'over';
    if (this.signaling.state !== 'open') return this.signaling.lostAt === null ? 'connecting' : 'reconnecting';
    return this.record.status === 'ringing' ? 'ringing' : 'active';
  }

  /** What a later page needs to come back; null before the first `welcome` and after the end. @returns {SavedCall|null} */
  saved() {
    const { sessionId, resume, seq } = this.signaling;
    if (!sessionId || !resume || this.state === 'over') return null;
    return { ...this.snapshot, session_id: sessionId, resume, seq, device_id: this.deviceId ?? null, connections: this.paths.connections };
  }

  /** Everybody else, in the order of the snapshot. @returns {Other[]} */
  others() {
    return othersOf(this.snapshot, { userId: this.api.user?.user_id, sessionId: this.sessionId }, (id) => ({
      lost_at: this.#presence.lostAt(id), peer: this.paths.of(id), paused: this.#forwarding.paused(id), report: this.reports.get(id) ?? null,
    }));
  }

  /** @param {boolean} raised */
  raiseHand(raised) {
    this.#hand = raised;
    this.#announce();
    this.#emit('change');
  }

  /** @param {string} emoji at most 32 characters */
  react(emoji) {
    this.signaling.send({ type: 'reaction', emoji });
  }

  /** Ring more members of the conversation. @param {string[]} userIds @throws {ApiError} */
  async invite(userIds) {
    this.observe(await this.api.invite(this.callId, userIds));
  }

  /** Leave; the call goes on without this session, or ends when it was one of the last two. */
  async leave() {
    if (this.state === 'over') return;
    const gone = this.signaling.farewell({ type: 'leave' }, TICK_MS);
    this.#finish('left', false);
    if (!(await gone)) await this.api.leave(this.callId).catch(() => {});
    this.signaling.close();
  }

  /** End it for everybody. @throws {ApiError} 403 `not_host` */
  async end() {
    this.observe(await this.api.end(this.callId));
  }

  /** Record what everybody sends, until somebody stops it or the call is over. @returns {Promise<Recording>} @throws {ApiError} 409 `recording_unavailable` */
  startRecording() {
    return this.api.startRecording(this.callId);
  }

  /** Whoever began it. @returns {Promise<Recording>} @throws {ApiError} 409 `not_recording` */
  stopRecording() {
    return this.api.stopRecording(this.callId);
  }

  /** News of this call from elsewhere (the events socket, an answer): the larger version wins. @param {CallRecord} record */
  observe(record) {
    const before = this.snapshot;
    this.snapshot = withCall(before, record);
    if (this.snapshot !== before) this.#followed();
  }

  /** How loud each other session is just now, 0 to 1. @returns {Map<string, number>} */
  loudness() {
    return new Map([...this.paths.loudness()].map(([id, level]) => [id, level || this.#forwarding.loudness(id)]));
  }

  /** Say which pictures are on the screen, so that the SFU sends those, in that size. @param {Tile[]} tiles in device pixels */
  show(tiles) {
    this.viewport.show(tiles);
  }

  /** Silence somebody, until they switch it on again; the host may, through the SFU. @param {string} userId @param {('audio'|'video')[]} kinds @throws {ApiError} */
  async mute(userId, kinds) {
    await this.api.mute(this.callId, userId, kinds);
  }

  /** What flows, from the browser's own counters. @returns {Promise<(PeerStatistics & {user_id: string})[]>} one entry for each other session */
  async statistics() {
    const sessions = sessionsOf(this.record);
    return (await this.paths.statistics()).map((entry) => ({ ...entry, user_id: sessions.get(entry.session_id)?.user_id ?? '' }));
  }

  /** @param {Frame} frame */
  #frame(frame) {
    if (this.reason) return;
    const before = this.snapshot;
    this.snapshot = /** @type {Snapshot} */ (reduce(before, frame));
    if (NEGOTIATION.has(frame.type)) this.paths.receive(frame);
    else if (frame.type === 'welcome') this.#welcomed(frame);
    else if (frame.type === 'authenticated') this.paths.ice.use(frame.ice_servers, Date.now());
    else if (frame.type === 'ack') this.paths.mesh.settle();
    else if (frame.type === 'join') this.#tell('joined', frame);
    else if (frame.type === 'leave') this.#departed(frame);
    else if (frame.type === 'reaction') this.#tell('reaction', frame);
    else if (frame.type === 'raise_hand') this.#tell('hand', frame);
    else if (frame.type === 'quality') this.reports.set(frame.session_id, frame.report);
    else if (frame.type === 'muted') this.#silenced(frame);
    else if (frame.type === 'recording' && RECORDING_STATES.has(frame.state)) this.#tell('recording', { ...frame, sender_id: frame.user_id });
    else if (this.#forwarding.receive(frame)) this.#emit('change');
    else if (frame.type === 'error') this.#emit('problem', frame);
    if (this.snapshot !== before) this.#followed();
  }

  /** @param {Frame} frame */
  #welcomed(frame) {
    if (frame.ice_servers) this.paths.ice.use(frame.ice_servers, Date.now());
    if (!frame.resumed || this.#session === null) {
      this.paths.startOver(frame.session_id, this.#session === frame.session_id, this.snapshot.epoch);
      this.#follow();
      if (this.paths.isDirect) for (const { session_id: id, peer } of this.others()) if (id && !peer) this.paths.offer(id);
    } else void this.paths.revive(); // the socket was lost: the network may be another one
    this.#session = frame.session_id;
    this.viewport.repeat();
    this.#announce();
    this.#emitState();
  }

  /** The host has silenced a session: when it is this one, the switches show it. @param {Frame} frame */
  #silenced({ session_id: id, by, kinds, reason = null }) {
    if (id === this.sessionId && kinds.includes('audio')) void this.media.setMuted(true);
    if (id === this.sessionId && kinds.includes('video')) void this.media.setCamera(false);
    this.#emit('muted', { session_id: id, by, kinds, reason });
  }

  /** @param {string} id @returns {import('./paths.js').Expected} */
  #expected(id) {
    const media = mediaOf(this.snapshot, id);
    return { camera: !media.video_muted && !this.#forwarding.paused(id), screen: media.screen_share };
  }

  /** The media goes the way of the snapshot. */
  #follow() {
    const { topology, epoch } = this.snapshot;
    const others = new Set(sessionsOf(this.record).keys());
    if (this.sessionId) others.delete(this.sessionId);
    this.paths.follow(topology, epoch, others);
  }

  /** The snapshot moved: close what left, remember who is gone since when. */
  #followed() {
    if (this.#session !== null) this.#follow();
    this.#presence.follow(sessionsOf(this.record), Date.now());
    this.#emit('change');
    this.#emitState();
    if (!LIVE.has(this.record.status)) this.#finish('ended');
  }

  /** @param {Frame} frame */
  #departed(frame) {
    if (frame.session_id === this.sessionId) {
      if (frame.reason !== 'ended') this.#finish(frame.reason === 'moved' ? 'moved' : 'left'); // the end itself comes as a `call`
      return;
    }
    this.paths.close(frame.session_id);
    this.reports.delete(frame.session_id);
    this.#tell('left', frame);
  }

  /** Tell the others what changed here since they were last told. */
  #announce() {
    if (!this.sessionId || this.#session === null || this.reason || this.media.opening) return;
    const now = {
      audio_muted: this.media.audioMuted, video_muted: this.media.videoMuted, screen_share: Boolean(this.media.tracks.screen), hand_raised: this.#hand,
    };
    for (const frame of announcements(mediaOf(this.snapshot, this.sessionId), now)) {
      this.signaling.send(frame);
      this.snapshot = /** @type {Snapshot} */ (reduce(this.snapshot, { ...frame, session_id: this.sessionId }));
    }
  }

  async #tick() {
    const connections = await this.paths.measure();
    if (this.reason) return;
    const now = Date.now();
    if (this.signaling.state === 'open') await this.paths.mend((id) => this.#presence.lostAt(id) === null);
    if (this.signaling.state === 'open' && this.paths.isDirect) for (const id of this.#presence.overdue(this.others(), now)) this.paths.offer(id);
    // The report is also this socket's heartbeat: it is acknowledged, or the socket is dead.
    const frame = this.#reporter.note(now, connections, this.signaling.state === 'open', this.#forwarding.isLimited);
    if (frame) this.signaling.send(frame);
    this.#emit('quality');
  }

  /** Nothing is heard of somebody: is it their microphone, the path, or the whole network? Both are asked at once. */
  #doubt() {
    const { at, ...report } = this.history.at(-1) ?? { at: 0, ...reportOf([]) };
    this.signaling.probe({ type: 'quality', report }, PROBE_MS);
    void this.paths.revive();
  }

  /** The socket was refused: the call may be over, or the session may have been gone for too long. @returns {Promise<boolean>} try again */
  async #refused() {
    try {
      const record = await this.api.call(this.callId);
      this.observe(record);
      if (this.reason) return false;
      const me = record.participants.find((one) => one.user_id === this.api.user?.user_id);
      if (me?.state === 'joined' || me?.state === 'reconnecting') return true;
      this.signaling.forget();
      this.observe(await this.api.join(this.callId, { device_id: this.deviceId }));
      return true;
    } catch (error) {
      if (!(error instanceof ApiError) || ![403, 404, 409].includes(error.status)) return true;
      this.#finish(error.code === 'answered_elsewhere' ? 'moved' : 'gone');
      return false;
    }
  }

  async #socketChanged() {
    this.#emitState();
    if (this.signaling.state !== 'closed' || this.reason) return;
    const record = await this.api.call(this.callId).catch(() => null); // closed for good: ask why
    if (record) this.observe(record);
    this.#finish('gone');
  }

  /** @param {OverReason} reason @param {boolean} [closeSocket] */
  #finish(reason, closeSocket = true) {
    if (this.reason) return;
    this.reason = reason;
    for (const timer of this.#timers) clearInterval(timer);
    if (this.onMedia) this.media.removeEventListener('change', this.onMedia);
    this.paths.closeAll();
    this.viewport.close();
    if (closeSocket) this.signaling.close();
    this.#emitState();
    this.#emit('over', { reason });
  }

  /** @param {string} type @param {Frame} frame */
  #tell(type, frame) {
    this.#emit(type, { ...frame, user_id: frame.sender_id, display_name: nameIn(this.record, frame.sender_id) ?? frame.display_name ?? '' });
  }

  #emitState() {
    const state = this.state;
    if (state === this.#lastState) return;
    this.#lastState = state;
    this.#emit('state', { state });
  }

  /** @param {string} type @param {object} [detail] */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

