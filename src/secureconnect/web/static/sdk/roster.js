/**
 * Who else is in a call, as a list to draw: the snapshot's people and sessions, with what this client knows of each.
 *
 * Called by call.js. Pure.
 *
 * @import {MediaPath} from './paths.js'
 * @import {CallRecord, MediaState, Participant, QualityReport, Session, Snapshot} from './shapes.js'
 * @typedef {Session & {user_id: string}} SessionOf  a session, and whose it is
 * @typedef {object} Other  somebody else in the call: one entry a session, or one without a session for those who ring or are on their way
 * @property {string} user_id @property {string} display_name
 * @property {string|null} session_id
 * @property {import('./shapes.js').ParticipantState} state
 * @property {boolean} own another device of this person
 * @property {number|null} lost_at when the session was seen to be gone, ms since the epoch
 * @property {MediaState} media
 * @property {MediaPath|null} peer what carries their media to here: a direct connection, or their share of what comes from the SFU
 * @property {'size'|'bandwidth'|null} paused why the SFU sends no picture of their camera just now
 * @property {QualityReport|null} report what the session says of its own connection
 * @typedef {Pick<Other, 'lost_at'|'peer'|'paused'|'report'>} Known  of one session
 */
import { DEFAULT_MEDIA, mediaOf } from './snapshot.js';

/** @type {Known} */
const NOTHING = { lost_at: null, peer: null, paused: null, report: null };

/** What somebody in a call, or who was, is called. @param {CallRecord} call @param {string|null} userId @returns {string|undefined} */
export function nameIn({ participants }, userId) {
  return participants.find((one) => one.user_id === userId)?.display_name;
}

/** Everybody's sessions, by their ids. @param {CallRecord} record @returns {Map<string, SessionOf>} */
export function sessionsOf({ participants }) {
  return new Map(participants.flatMap(({ user_id, sessions }) => sessions.map((one) => [one.session_id, { ...one, user_id }])));
}

/**
 * @param {Snapshot} snapshot
 * @param {{userId: string|undefined, sessionId: string|null}} me the session is null before the welcome
 * @param {(sessionId: string) => Known} known
 * @returns {Other[]} in the order of the snapshot
 */
export function othersOf(snapshot, me, known) {
  const entry = (/** @type {Participant} */ participant, /** @type {Session|null} */ session, /** @type {boolean} */ own) => ({
    user_id: participant.user_id, display_name: participant.display_name, session_id: session?.session_id ?? null, own,
    state: session && !session.connected ? /** @type {const} */ ('reconnecting') : participant.state,
    media: session ? mediaOf(snapshot, session.session_id) : DEFAULT_MEDIA,
    ...(session ? known(session.session_id) : NOTHING),
  });
  return snapshot.call.participants.flatMap((participant) => {
    const own = participant.user_id === me.userId;
    // Before the welcome says which session is this one, none of one's own is another.
    const sessions = own && !me.sessionId ? [] : participant.sessions.filter((one) => one.session_id !== me.sessionId);
    const here = participant.state === 'joined' || participant.state === 'reconnecting';
    if (here && sessions.length) return sessions.map((session) => entry(participant, session, own));
    return !own && (here || participant.state === 'ringing') ? [entry(participant, null, false)] : [];
  });
}
