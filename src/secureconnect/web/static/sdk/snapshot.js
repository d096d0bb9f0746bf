/**
 * What a client knows of a call: the snapshot of a `welcome`, moved on by each frame (docs/protocol.md, "Rules of the snapshot").
 *
 * Called by call.js. Pure: no socket, no clock; the same frames give the same snapshot on every client. A `recording` frame changes nothing: it
 * says who did what, and the `call` before it says what is.
 *
 * @import {Snapshot, Frame, MediaState, CallRecord, Session, Topology} from './shapes.js'
 */

/** @type {Readonly<MediaState>} */
export const DEFAULT_MEDIA = Object.freeze({ audio_muted: false, video_muted: false, screen_share: false, hand_raised: false });

/** Which entry of the sender a relayed message changes, and from which of its fields. */
const MEDIA_FIELDS = /** @type {const} */ ({
  mute_audio: ['audio_muted', 'muted'],
  mute_video: ['video_muted', 'muted'],
  screen_share: ['screen_share', 'active'],
  raise_hand: ['hand_raised', 'raised'],
});

/**
 * @param {Snapshot|null} snapshot null before the first `welcome`
 * @param {Frame} frame
 * @returns {Snapshot|null} the same object when nothing changed
 */
export function reduce(snapshot, frame) {
  if (frame.type === 'welcome') return frame.call ? welcomed(frame) : snapshot;
  if (!snapshot) return snapshot;
  if (frame.type in MEDIA_FIELDS) return withMedia(snapshot, frame);
  switch (frame.type) {
    case 'call': return withCall(snapshot, frame.call);
    case 'topology': return moved(snapshot, frame.topology, frame.epoch);
    case 'muted': return withMuted(snapshot, frame);
    case 'join': return withSession(snapshot, frame);
    case 'leave': return withoutSession(snapshot, frame.session_id);
    default: return snapshot;
  }
}

/**
 * @param {Snapshot} snapshot @param {CallRecord} call the larger version wins, whichever came last
 * @returns {Snapshot}
 */
export function withCall(snapshot, call) {
  return call.version > snapshot.call.version ? moved({ ...snapshot, call }, call.topology, call.epoch) : snapshot;
}

/** @param {Frame} frame with a call @returns {Snapshot} */
function welcomed({ call, media, topology, epoch }) {
  return { call, media: media ?? {}, topology: topology ?? call.topology, epoch: epoch ?? call.epoch ?? 0 };
}

/** News of the media's way: the larger epoch wins, whichever came last. @param {Snapshot} snapshot @param {Topology|undefined} topology @param {number} [epoch] @returns {Snapshot} */
function moved(snapshot, topology, epoch) {
  return topology && (epoch ?? snapshot.epoch) >= snapshot.epoch ? { ...snapshot, topology, epoch: epoch ?? snapshot.epoch } : snapshot;
}

/** Silenced by the host. @param {Snapshot} snapshot @param {Frame} frame @returns {Snapshot} */
function withMuted(snapshot, { session_id: id, kinds }) {
  const state = { ...mediaOf(snapshot, id), ...(kinds.includes('audio') ? { audio_muted: true } : {}), ...(kinds.includes('video') ? { video_muted: true } : {}) };
  return { ...snapshot, media: { ...snapshot.media, [id]: state } };
}

/** @param {Snapshot} snapshot @param {string} sessionId @returns {MediaState} */
export function mediaOf(snapshot, sessionId) {
  return snapshot.media[sessionId] ?? DEFAULT_MEDIA;
}

/** @param {Snapshot} snapshot @param {Frame} frame @returns {Snapshot} */
function withMedia(snapshot, frame) {
  const [entry, field] = MEDIA_FIELDS[/** @type {keyof typeof MEDIA_FIELDS} */ (frame.type)];
  const state = { ...mediaOf(snapshot, frame.session_id), [entry]: frame[field] ?? true };
  return { ...snapshot, media: { ...snapshot.media, [frame.session_id]: state } };
}

/** A `join` may overtake the `call` that lists its session. @param {Snapshot} snapshot @param {Frame} frame @returns {Snapshot} */
function withSession(snapshot, frame) {
  /** @type {Session} */
  const session = { session_id: frame.session_id, device_id: frame.device_id ?? null, connected: true };
  const participants = snapshot.call.participants.map((participant) => {
    const known = participant.sessions.some((one) => one.session_id === frame.session_id);
    if (participant.user_id !== frame.sender_id || known) return participant;
    return { ...participant, sessions: [...participant.sessions, session] };
  });
  return { ...snapshot, call: { ...snapshot.call, participants } };
}

/** @param {Snapshot} snapshot @param {string} sessionId @returns {Snapshot} */
function withoutSession(snapshot, sessionId) {
  const { [sessionId]: gone, ...media } = snapshot.media;
  const participants = snapshot.call.participants.map((participant) => {
    const sessions = participant.sessions.filter((one) => one.session_id !== sessionId);
    return sessions.length === participant.sessions.length ? participant : { ...participant, sessions };
  });
  return { ...snapshot, media, call: { ...snapshot.call, participants } };
}

/** What to say when a session's own state is another one than was told. @param {MediaState} told @param {MediaState} now @returns {Frame[]} */
export function announcements(told, now) {
  return Object.entries(MEDIA_FIELDS).flatMap(([type, [entry, field]]) => (told[entry] === now[entry] ? [] : [{ type, [field]: now[entry] }]));
}
