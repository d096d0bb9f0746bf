/**
 * The page: who is signed in, what events arrive, which view shows what. Wires; draws nothing itself.
 *
 * @import {Active} from './switchboard.js'
 * @import {Press} from './shared-store.js'
 * @import {CallRecord, Conversation, User} from '/sdk/shapes.js'
 * @import {LocalMedia} from '/sdk/media.js'
 */
import { Api } from '/sdk/api.js';
import { CLOSED_SIGNED_OUT, Events } from '/sdk/protocol.js';
import { invitationLink, pressedNotice, resetToken, signInSilently, signOut, signOutEverywhere } from './account.js';
import { Chats } from './chats.js';
import { ClosedTab } from './closed-tab.js';
import { duration, listOf, titleOf } from './format.js';
import { CallHistory } from './history.js';
import { browserId, claimDevice, preferences, rememberUser, saveCall, savedCall } from './preferences.js';
import { Recordings } from './recordings.js';
import { Switchboard } from './switchboard.js';
import { play } from './tones.js';
import { showAfterCall } from './view/after-call.js';
import { toast } from './view/announce.js';
import { showDetails } from './view/call-details.js';
import { showCallTest } from './view/call-test.js';
import { greenRoom } from './view/green-room.js';
import { HomeView } from './view/home.js';
import { IncomingView } from './view/incoming.js';
import { inviteToCall, newConversation } from './view/people.js';
import { askForNewPassword, showPasswordChange } from './view/password.js';
import { recordedNote } from './view/recording.js';
import { applyTheme, showDevices, showSettings } from './view/settings.js';
import { askToSignIn, saySignedOut } from './view/sign-in.js';
import { Stage } from './view/stage.js';
import { showTrace } from './view/trace.js';
import { language, problemText, t } from './words.js';

const CALL_ADDRESS = '#/call';
const CALLS_ADDRESS = '#/calls';
const TEST_ADDRESS = /^#\/?test$/;

class App {
  /** @type {Stage|null} */ stage = null;
  signedOut = false;

  /** @param {Element} root @param {Api} api @param {User} me @param {string} deviceId */
  constructor(root, api, me, deviceId) {
    this.api = api;
    this.me = me;
    this.chats = new Chats(api, () => document.visibilityState === 'visible' && !(this.stage && !this.stage.element.hidden));
    this.switchboard = new Switchboard(api, deviceId);
    this.events = new Events({ origin: api.origin, token: (least) => api.token(least), deviceId });
    this.closedTab = new ClosedTab(api, async (callId, rings) => ({
      rings: rings && document.visibilityState === 'visible' && (await this.switchboard.ringsSoon(callId)), settled: this.switchboard.hasSettled(callId),
    }));
    this.history = new CallHistory(api);
    this.recordings = new Recordings(api);
    this.home = new HomeView(root, this, {
      call: (conversation, type) => void this.call(conversation, type),
      join: (conversation) => void this.join(conversation),
      newConversation: () => void this.newConversation(),
      trace: (call) => void showTrace({ api, own: [deviceId, browserId()] }, call),
      settings: () => showSettings({
        me, closedTab: this.closedTab, media: this.switchboard.newMedia(true), signOut: () => void this.signOut(), signOutEverywhere: () => void this.signOut(true),
        changePassword: () => showPasswordChange(api), callTest: (media) => showCallTest(api, media),
      }),
    });
    this.incoming = new IncomingView(this.switchboard, this.chats, {
      accept: ({ call }, video) => void this.accept(call, video),
      decline: ({ call }) => void this.decline(call),
      shown: ({ call }) => this.#shown(call.call_id),
    });
  }

  /** @param {Press|null} press on the notification that opened this page */
  async start(press) {
    this.#listen();
    const saved = savedCall();
    const own = saved?.call.participants.some((one) => one.user_id === this.me.user_id); // the tab may have changed hands
    if (saved && own) this.switchboard.restore(saved);
    else saveCall(null);
    if (press?.action === 'answer') await this.press(press); // before anything rings here
    this.events.open();
    this.#route();
    await this.#load();
    if (press && press.action !== 'answer') await this.press(press);
    await this.closedTab.start();
  }

  /** @param {Conversation} conversation @param {'audio'|'video'} type */
  async call(conversation, type) {
    const names = listOf(conversation.participants.filter((one) => one.user_id !== this.me.user_id).map((one) => one.display_name));
    const title = t('call_to', { name: titleOf(conversation, this.me.user_id) });
    const media = await this.#prepare(type === 'video', title, t('will_ring', { names }), t('go_call'));
    if (media) await this.#enter(() => this.switchboard.start(conversation, type, media));
  }

  /** Join the call that runs in a conversation. @param {Conversation} conversation */
  async join({ conversation_id: id, live_call: live }) {
    if (!live) return;
    const own = live.participants.find((one) => one.user_id === this.me.user_id);
    const elsewhere = own?.state === 'joined' || own?.state === 'reconnecting';
    const names = live.participants.filter((one) => one.state === 'joined' && one !== own).map((one) => one.display_name);
    const people = elsewhere ? t('in_elsewhere') : t('who_is_in', { names: listOf(names) });
    const decided = new AbortController();
    const note = recordedNote(() => Boolean(this.chats.find(id)?.live_call?.recording), this.chats, decided.signal);
    const media = await this.#prepare(live.call_type === 'video', t('join_call'), people, t(elsewhere ? 'go_move' : 'go_join'), note);
    decided.abort();
    this.incoming.dismiss(live.call_id);
    if (media) await this.#enter(() => this.switchboard.join(live.call_id, media, elsewhere ? 'move' : undefined));
  }

  /** @param {CallRecord} call @param {boolean} video */
  async accept(call, video) {
    await this.#answer(call.call_id, video);
  }

  /** @param {CallRecord} call */
  async decline({ call_id: id }) {
    void this.closedTab.clearRing(id);
    await this.switchboard.decline(id).catch((error) => toast(problemText(error), 'bad'));
  }

  /** Somebody can see or hear the ring: the caller may be told so, and whoever asks later. @param {string} callId */
  #shown(callId) {
    if (this.events.transmit({ type: 'shown', call_id: callId })) return;
    void this.api.shown(callId, { device_id: this.switchboard.deviceId }).catch(() => {}); // then the trace does not know
  }

  /** A button of a notification was pressed. @param {Press} press */
  async press({ action, call_id: callId, conversation_id: id, call_type: type }) {
    location.hash = `#/c/${id}`;
    if (action === 'answer') await this.#answer(callId, type === 'video');
    const conversation = this.chats.find(id);
    if (action === 'call' && conversation) await this.call(conversation, type);
  }

  /** @param {string} callId @param {boolean} video */
  async #answer(callId, video) {
    void this.closedTab.clearRing(callId);
    this.incoming.dismiss(callId);
    const media = this.switchboard.newMedia(video);
    void media.open();
    await this.#enter(() => this.switchboard.join(callId, media));
  }

  async newConversation() {
    const conversation = await newConversation(this.api);
    if (!conversation) return;
    this.chats.conversationChanged(conversation.conversation_id, conversation);
    location.hash = `#/c/${conversation.conversation_id}`;
  }

  /** @param {boolean} [everywhere] on all devices of this person */
  async signOut(everywhere = false) {
    this.signedOut = true; // what follows ends this sign-in, and needs no dialog that says so
    await this.switchboard.leave();
    this.events.close();
    await this.closedTab.turnOff().catch(() => {}); // out of reach: the next push is not delivered, and the server forgets it then
    if (everywhere) await signOutEverywhere(this.api).catch((error) => toast(problemText(error), 'bad'));
    else await signOut(this.api);
    location.replace(location.pathname);
  }

  /** This browser's sign-in has ended, from another device or with its time: what is on the screen is nobody's any more. */
  async #signedOut() {
    if (this.signedOut) return;
    this.signedOut = true;
    this.events.close();
    await this.switchboard.leave().catch(() => {}); // the server has taken this browser out already
    rememberUser(null);
    await saySignedOut();
    location.replace(location.pathname);
  }

  #listen() {
    window.addEventListener('hashchange', () => this.#route());
    document.addEventListener('visibilitychange', () => this.chats.read());
    this.api.addEventListener('signedout', () => void this.#signedOut());
    this.closedTab.addEventListener('press', (event) => void this.press(/** @type {CustomEvent} */ (event).detail));
    this.switchboard.addEventListener('active', (event) => this.#began(/** @type {CustomEvent} */ (event).detail));
    this.switchboard.addEventListener('finished', (event) => this.#finished(/** @type {CustomEvent} */ (event).detail));
    this.events.addEventListener('state', (event) => {
      if (/** @type {CustomEvent} */ (event).detail.code === CLOSED_SIGNED_OUT) void this.#signedOut();
    });
    this.events.addEventListener('state', () => this.home.tell(this.events.state === 'waiting' ? t('offline') : ''));
    this.events.addEventListener('frame', (event) => this.#event(/** @type {CustomEvent} */ (event).detail));
    setInterval(() => this.#showReturn(), 1_000);
  }

  /** @param {import('/sdk/shapes.js').Frame} frame of the events socket */
  #event(frame) {
    if (frame.type === 'welcome' && !frame.resumed) {
      this.switchboard.forgetRinging();
      this.recordings.again();
      void this.#load();
    }
    if (frame.type === 'message.created') {
      this.chats.received(frame.message);
      if (!this.chats.find(frame.message.conversation_id)) void this.#load();
    }
    if (frame.type === 'recording.ready') this.recordings.ready(frame.call_id);
    if (frame.type === 'device.revoked' && frame.device_id === browserId()) void this.#signedOut();
    if (frame.type === 'conversation.updated') this.chats.conversationChanged(frame.conversation_id, frame.conversation);
    if (frame.call) {
      this.chats.callChanged(frame.call);
      this.history.callChanged(frame.call);
      this.recordings.callChanged(frame.call);
    }
    this.switchboard.event(frame);
  }

  async #load() {
    await this.chats.load().catch((error) => this.home.tell(problemText(error)));
  }

  /**
   * The own devices, opened; through the green room unless it is to be skipped: who joins a call that is recorded must be told.
   * @param {boolean} video @param {string} title @param {string} people @param {string} go @param {HTMLElement} [note] of its being recorded, hidden when it is not
   * @returns {Promise<LocalMedia|null>} null when the person changed their mind
   */
  async #prepare(video, title, people, go, note) {
    const media = this.switchboard.newMedia(video);
    if (preferences().skipGreenRoom && note?.hidden !== false) {
      void media.open();
      return media;
    }
    if (await greenRoom({ title, people, go, media, note, callTest: () => showCallTest(this.api, media) })) return media;
    media.close();
    return null;
  }

  /** @param {() => Promise<void>} enter */
  async #enter(enter) {
    await enter().catch((error) => toast(problemText(error), 'bad'));
  }

  /** @param {Active} active */
  #began(active) {
    const { call, media } = active;
    const conversation = this.chats.find(call.record.conversation_id);
    const others = call.record.participants.filter((one) => one.user_id !== this.me.user_id).map((one) => one.display_name);
    this.stage = new Stage(active, conversation ? titleOf(conversation, this.me.user_id) : listOf(others), this.me, {
      messages: () => { location.hash = `#/c/${call.record.conversation_id}`; },
      devices: () => showDevices(media, () => call.dispatchEvent(new CustomEvent('change'))),
      details: () => showDetails(call, this.recordings),
      invite: () => this.#invite(call.record.conversation_id),
    });
    document.body.append(this.stage.element);
    Object.assign(window, { secureconnect: { call } });
    if (location.hash === CALL_ADDRESS) this.#route();
    else location.hash = CALL_ADDRESS;
  }

  /** @param {{active: Active, reason: import('/sdk/call.js').OverReason}} detail */
  #finished({ active, reason }) {
    const { call } = active;
    this.stage?.close();
    this.stage = null;
    play('end', preferences().speaker);
    const id = call.record.conversation_id;
    if (location.hash === CALL_ADDRESS) history.replaceState(null, '', `#/c/${id}`);
    this.#route();
    this.#showReturn();
    if (reason === 'moved') return toast(t('call_moved'));
    return showAfterCall(call, reason, this.recordings, () => void this.#again(id, call.record));
  }

  /** Call again, or back into the call when the others are still in it. @param {string} id @param {CallRecord} record */
  async #again(id, record) {
    const conversation = this.chats.find(id);
    if (conversation?.live_call) await this.join(conversation);
    else if (conversation) await this.call(conversation, record.call_type);
  }

  /** @param {string} id of the conversation */
  #invite(id) {
    const conversation = this.chats.find(id);
    if (conversation && this.switchboard.active) inviteToCall(this.switchboard.active.call, conversation);
  }

  /** The test of devices and network has an address of its own, to be sent to somebody who cannot be heard. */
  #test() {
    const media = this.switchboard.newMedia(true);
    history.replaceState(null, '', location.pathname);
    showCallTest(this.api, media, () => media.close());
  }

  /** The address says what is on the screen: `#/call`, `#/c/<id>`, `#/test` or nothing. */
  #route() {
    if (TEST_ADDRESS.test(location.hash)) this.#test();
    const onStage = location.hash === CALL_ADDRESS && this.stage !== null;
    if (this.stage) this.stage.element.hidden = !onStage;
    document.body.classList.toggle('on-stage', onStage);
    const open = location.hash.match(/^#\/c\/([\w-]+)$/)?.[1] ?? null;
    if (open) void this.closedTab.clearSeen(open);
    const show = () => (location.hash === CALLS_ADDRESS ? this.home.showCalls() : this.home.show(open));
    if (!onStage) void show().catch((error) => this.home.tell(problemText(error)));
    this.#showReturn();
  }

  #showReturn() {
    const call = this.switchboard.active?.call;
    const away = call && this.stage?.element.hidden;
    const time = call?.record.answered_at ? duration(Date.now() - Date.parse(call.record.answered_at)) : '';
    this.home.showReturn(away ? `${call.recording ? `${t('rec')} · ` : ''}${t('in_call_return', { time })}` : '');
  }
}

async function main() {
  document.documentElement.lang = language();
  applyTheme();
  const root = /** @type {Element} */ (document.getElementById('app'));
  const api = new Api();
  const invitation = invitationLink();
  const [deviceId, press] = await Promise.all([claimDevice(), pressedNotice()]);
  const waiting = () => { const line = root.querySelector('.splash p'); if (line) line.textContent = t('offline'); };
  const token = resetToken();
  const remembered = token ? await askForNewPassword(root, api, token) : await signInSilently(api, waiting, press?.user_id);
  const me = remembered ?? (await askToSignIn(root, api, invitation));
  rememberUser(me.user_id);
  await new App(root, api, me, deviceId).start(press?.user_id === me.user_id ? press : null);
}

// A link for a new password that is opened in a tab where the page is shown already.
window.addEventListener('hashchange', () => { if (location.hash.startsWith('#reset=')) location.reload(); });
void main();
