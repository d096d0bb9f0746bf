/**
 * One's own quality over time, and when it is told to the others.
 *
 * Called by call.js. Must not touch the document.
 *
 * @import {Measured} from './quality.js'
 * @import {Frame, QualityReport} from './shapes.js'
 */
import { reportOf } from './quality.js';

const EVERY_MS = 10_000;
/** While the path is poor the SFU chooses by it, and may choose again soon. */
const POOR_EVERY_MS = 2_000;
const POOR = 2;
/** One hour. */
const KEPT = 1_800;

export class Reporter {
  /** One every two seconds. @type {(QualityReport & {at: number})[]} */ history = [];
  #reportedAt = 0;
  #level = -1;

  /**
   * @param {number} now ms since the epoch @param {Measured[]} connections just measured @param {boolean} open whether there is a socket to tell it
   * @param {boolean} limited whether an SFU sends less than it could: it sends more only after some good reports
   * @returns {Frame|null} to be sent now
   */
  note(now, connections, open, limited) {
    const report = reportOf(connections);
    if (connections.some((one) => one.sample)) this.history.push({ at: now, ...report });
    if (this.history.length > KEPT) this.history.shift();
    const pause = limited || Math.min(report.level, this.#level) <= POOR ? POOR_EVERY_MS : EVERY_MS;
    if (!open || (report.level === this.#level && now - this.#reportedAt < pause)) return null;
    this.#reportedAt = now;
    this.#level = report.level;
    return { type: 'quality', report };
  }
}
