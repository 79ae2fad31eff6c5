/** Requests to the service: JSON in and out, problems as errors. */

/** A refusal, as RFC 9457 has it; `status` 0: the service was not reached. */
export class Problem extends Error {
  /** @param {number} status @param {any} body @param {Headers} [headers] */
  constructor(status, body, headers) {
    super(body?.detail ?? body?.title ?? `${status}`);
    this.status = status;
    this.body = body ?? {};
    /** Such as "goal-not-found". */
    this.kind = String(this.body.type ?? "").replace("/problems/", "");
    this.retryAfter = Number(headers?.get("Retry-After") ?? 0);
  }
}

/**
 * @param {string} method @param {string} path
 * @param {{body?: any, headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean}} [options]
 * @returns {Promise<{status: number, data: any, headers: Headers}>}
 */
export async function request(method, path, { body, headers = {}, signal } = {}) {
  const raw = typeof body === "string" || body instanceof Blob;
  const type = body === undefined || raw ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    const sent = body === undefined ? {} : { body: raw ? body : JSON.stringify(body) };
    answer = await fetch(path, { method, headers: { ...type, ...headers }, signal, credentials: "same-origin", ...sent });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, { detail: String(error) });
  }
  const json = (answer.headers.get("Content-Type") ?? "").includes("json");
  let data = null;
  try {
    data = answer.status === 204 ? null : json && !answer.headers.get("Content-Type")?.includes("ndjson") ? await answer.json() : await answer.text();
  } catch (error) {
    throw new Problem(0, { detail: String(error) });
  }
  if (!answer.ok) throw new Problem(answer.status, data, answer.headers);
  return { status: answer.status, data, headers: answer.headers };
}

/** What is read at a path. @param {string} path @param {Record<string, string|number|boolean|null|undefined>} [query] @param {AbortSignal} [signal] */
export async function get(path, query = {}, signal) {
  return (await request("GET", at(path, query), { signal })).data;
}

/** A path with its query. @param {string} path @param {Record<string, string|number|boolean|null|undefined>} query */
export function at(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** Events as lines, all of them. @param {string} path @param {Record<string, string|number>} [query] @returns {Promise<any[]>} */
export async function lines(path, query = {}) {
  const { data } = await request("GET", at(path, query), { headers: { Accept: "application/x-ndjson" } });
  return data.split("\n").filter(Boolean).map((/** @type {string} */ line) => JSON.parse(line));
}

/** @param {string} user an id or a name */
export const userPath = (user) => `/v2/users/${encodeURIComponent(user)}`;

let last = 0n;

/** A new UUID of version 7: goals that are made here have their ids from here; later ones are greater. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = BigInt(Date.now());
  if (time <= last) time = last + 1n;
  last = time;
  for (let i = 5; i >= 0; i--, time >>= 8n) bytes[i] = Number(time & 255n);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
