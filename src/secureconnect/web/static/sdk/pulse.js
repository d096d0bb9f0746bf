/**
 * Notices within a second that nothing is heard any more: a browser takes its time to call a path lost, and a socket never does.
 *
 * Called by paths.js, several times a second. Pure: what is heard and the time are handed in.
 */

/** Sound comes fifty times a second, also from a muted microphone. */
const SILENT_MS = 1_000;

export class Pulse {
  #mark = 0;
  #heardAt = 0;
  #doubted = false;

  /**
   * @param {number} mark something that differs with each packet of sound; 0 when there was none yet
   * @param {number} now ms
   * @returns {boolean} true once each time that it falls silent
   */
  falls(mark, now) {
    if (mark !== this.#mark) {
      this.#mark = mark;
      this.#heardAt = now;
      this.#doubted = false;
    }
    if (this.#doubted || mark === 0 || now - this.#heardAt < SILENT_MS) return false;
    this.#doubted = true;
    return true;
  }
}
