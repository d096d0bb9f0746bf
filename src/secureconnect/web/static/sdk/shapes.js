/**
 * The shapes on the wire, as types for the checker and the reader (docs/protocol.md, docs/api.md). Nothing here runs.
 *
 * @typedef {{user_id: string, email?: string|null, display_name: string}} User  oneself
 * @typedef {{user_id: string, display_name: string}} Person  anyone else
 * @typedef {{registration: 'open'|'invited'|'off', demo: boolean}} PublicConfig
 * @typedef {{session_id: string, device_id: string|null, connected: boolean}} Session
 * @typedef {'ringing'|'joined'|'reconnecting'|'left'|'declined'|'missed'|'cancelled'|'busy'} ParticipantState
 * @typedef {{user_id: string, display_name: string, role: 'caller'|'callee', state: ParticipantState, waiting: boolean,
 *   ring_deadline: string|null, joined_at: string|null, left_at: string|null, devices: string[], sessions: Session[]}} Participant
 * @typedef {'ringing'|'active'|'ended'|'missed'|'declined'} CallStatus
 * @typedef {'completed'|'declined'|'timeout'|'cancelled'|'busy'|'failed'} EndReason
 * @typedef {'p2p'|'mesh'|'sfu'} Topology
 * @typedef {{call_id: string, conversation_id: string, call_type: 'audio'|'video', status: CallStatus, end_reason: EndReason|null,
 *   version: number, caller_id: string, topology: Topology, epoch?: number, created_at: string, answered_at: string|null, ended_at: string|null,
 *   participants: Participant[], recording?: RunningRecording|null, recorded?: boolean, participants_truncated?: boolean}} CallRecord
 * @typedef {{recording_id: string, started_by: string, started_at: string}} RunningRecording  `started_by`: a user
 * @typedef {RunningRecording & {call_id: string, status: 'recording'|'processing'|'ready'|'failed', stopped_at: string|null, seconds: number|null,
 *   bytes: number|null, content_type: string|null, url: string|null, url_expires_at: string|null, kept_until: string|null, failure: string|null}} Recording
 * @typedef {{message_id: string, conversation_id: string, sender_id: string, kind: 'text'|'call', content: string, created_at: string,
 *   call: null|{call_id: string, call_type: 'audio'|'video', status: CallStatus, end_reason: EndReason|null, caller_id: string,
 *   created_at: string, answered_at: string|null, ended_at: string|null, recorded?: boolean}}} Message
 * @typedef {{conversation_id: string, title: string|null, created_at: string,
 *   participants: {user_id: string, display_name: string, role: 'owner'|'member'}[],
 *   last_message: Message|null, unread_count: number, live_call: CallRecord|null,
 *   member_count?: number, members_truncated?: boolean}} Conversation  of an event, `participants` may be the first of `member_count`
 * @typedef {{device_id: string, platform: 'android'|'ios'|'web'|'desktop'|null, provider: string|null, signed_in: boolean, created_at: string, seen_at: string}} Device
 * @typedef {'answered'|'declined'|'cancelled'|'caller_lost'|'timeout'|'busy'} RingOutcome
 * @typedef {{at: string, event: 'queued'|'sent'|'accepted'|'retried'|'lost'|'failed'|'skipped'|'delivered'|'shown'|'refused'|'answered'|'declined'|'stopped',
 *   reason: string|null, via: string|null, push: 'ring'|'cancel'|'missed'|null, attempt: number|null, detail: string|null}} TraceEntry
 * @typedef {{device: string|null, device_id: string|null, platform: Device['platform']|null, outcome: string|null, reached_at: string|null,
 *   shown_at: string|null, events: TraceEntry[]}} DeviceTrace
 * @typedef {{user_id: string, display_name: string, outcome: RingOutcome|null, waiting: boolean, rang_at: string|null, ring_deadline: string|null,
 *   ended_at: string|null, summary: string, devices: DeviceTrace[]}} CalleeTrace
 * @typedef {{call_id: string, conversation_id: string, call_type: 'audio'|'video', status: CallStatus, end_reason: EndReason|null, caller_id: string,
 *   created_at: string, answered_at: string|null, ended_at: string|null, summary: string, callees: CalleeTrace[], sessions: SessionQuality[]}} Trace
 * @typedef {{session_id: string, user_id: string, first_at: string, last_at: string, readings: number, mos: number|null, worst_mos: number|null,
 *   rtt_ms: number|null, worst_rtt_ms: number|null, loss: number|null, worst_loss: number|null}} SessionQuality
 * @typedef {{items: any[], next_cursor: string|null}} Page
 * @typedef {{audio_muted: boolean, video_muted: boolean, screen_share: boolean, hand_raised: boolean}} MediaState
 * @typedef {{level: number, rtt_ms: number|null, jitter_ms: number, loss: number, in_kbps: number, out_kbps: number, bitrate_kbps: number,
 *   mos: number|null, loss_in?: number,
 *   available_in_kbps?: number}} QualityReport
 *   `level` is 0 (no connection) to 4 (good); `loss` is a share of packets, 0 to 1; `mos` an estimated mean opinion score, 1 to 4.5.
 * @typedef {{type: string, [field: string]: any}} Frame  one JSON object of a socket
 * @typedef {{call: CallRecord, media: Record<string, MediaState>, topology: Topology, epoch: number}} Snapshot
 *   `epoch` counts the changes of the media's way.
 */
export {};
