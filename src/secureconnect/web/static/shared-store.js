/**
 * What the pages and the service worker of one browser both know: which device the browser is while no page is open, and what
 * was just pressed on a notification. Workers have no local storage, so it is IndexedDB.
 *
 * Called by closed-tab.js, main.js and sw.js. Nothing of a call stays: what was pressed is taken once, and soon.
 *
 * @typedef {{user_id: string, device_id: string, language: 'en'|'vi'}} BrowserDevice  whom this browser rings for while it has no page open
 * @typedef {{action: 'answer'|'show'|'call', user_id: string, call_id: string, conversation_id: string, call_type: 'audio'|'video', at: number}} Press
 *   `at`: when, ms since 1970
 */

const DATABASE = 'secureconnect';
const STORE = 'shared';
const DEVICE = 'device';
/** A window that opens takes this long at most; what was pressed before means nothing any more. */
const PRESS_LIFE_MS = 60_000;

/** @returns {Promise<BrowserDevice|null>} */
export async function browserDevice() {
  return (await run('readonly', (store) => store.get(DEVICE))) ?? null;
}

/** @param {BrowserDevice|null} device */
export async function keepBrowserDevice(device) {
  await run('readwrite', (store) => (device ? store.put(device, DEVICE) : store.delete(DEVICE)));
}

/** @param {string} id under which `takePress` finds it @param {Press} press */
export async function keepPress(id, press) {
  await run('readwrite', (store) => store.put(press, `press ${id}`));
}

/** What was pressed, once. @param {string} id @returns {Promise<Press|null>} null when nothing was, or too long ago */
export async function takePress(id) {
  /** @type {Press|undefined} */
  const press = await run('readonly', (store) => store.get(`press ${id}`));
  if (!press) return null;
  await run('readwrite', (store) => store.delete(`press ${id}`));
  return Date.now() - press.at < PRESS_LIFE_MS ? press : null;
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} work
 * @returns {Promise<any>} the request's result
 * @throws {DOMException} where the browser keeps nothing, as some private windows
 */
async function run(mode, work) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await done(opening);
  try {
    return await done(work(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
