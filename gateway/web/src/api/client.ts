// The only place of the page that calls `fetch`: every request gets the same deadline, the same error shape and the
// same reaction to a lost sign-in.

/** The codes of gateway/API.md, and two that only the page itself can find out. */
export const ERROR_CODES = [
  "body_invalid",
  "name_invalid",
  "password_too_short",
  "text_empty",
  "not_signed_in",
  "name_or_password_wrong",
  "link_invalid",
  "not_allowed",
  "not_found",
  "name_taken",
  "no_answer",
  "answer_full",
  "favourites_full",
  "chat_full",
  "body_too_large",
  "too_many_requests",
  "storage_unavailable",
  "not_a_gateway",
  "timeout",
  "account_blocked",
  "not_confirmed",
  "second_factor_required",
  "second_factor_wrong",
  "second_factor_missing",
  "token_reused",
  "foreign_origin",
  "email_invalid",
  "consent_missing",
  "mail_not_configured",
  "conflict",
  "address_banned",
  "no_operator",
  "keys_full",
  "complaints_full",
  "complaint_decided",
  "invite_invalid",
  "character_name_taken",
  "prompt_taken",
  "fields_too_long",
  "field_invalid",
  "card_invalid",
  "card_too_large",
  "picture_invalid",
  "picture_too_large",
  "file_unreachable",
  "no_model",
  "generation_failed",
  "unreachable",
  "unknown",
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export class ApiError extends Error {
  constructor(
    readonly code: ErrorCode,
    readonly status: number,
    message: string,
    readonly retryAfterSeconds: number | null = null,
    /** Whose a name or a prompt is that is taken. */
    readonly twin: { id: string; name: string } | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export function toErrorCode(code: unknown): ErrorCode {
  return ERROR_CODES.find((known) => known === code) ?? "unknown";
}

/** What a caught value means to a person; anything that is not ours is a fault of the page. */
export function codeOf(error: unknown): ErrorCode {
  return error instanceof ApiError ? error.code : "unknown";
}

/** A request never hangs: a node that is silent for this long counts as out of reach. */
const DEADLINE_MS = 15_000;
/** Packing everything of a person takes a node its time, and a phone gets it slowly. */
const FILE_DEADLINE_MS = 120_000;

let whenSignedOut: () => void = () => {};

/** The account feature is told here; the client itself knows no store and no router. */
export function onSignedOut(listener: () => void): void {
  whenSignedOut = listener;
}

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Asking for another access token; every request that meets an old one waits for the same answer. */
let refreshing: Promise<boolean> | null = null;

function refresh(): Promise<boolean> {
  refreshing ??= send("POST", "/refresh", {})
    .then((response) => {
      // A node that has trouble now says nothing about the device.
      if (response.status === 429 || response.status >= 500) throw new ApiError("unreachable", response.status, "No new token for now.");
      return response.ok;
    })
    .finally(() => (refreshing = null));
  return refreshing;
}

/** The access token of the page lives ten minutes; the cookie beside it gets the next one, unseen by any script. */
async function sendSignedIn(method: Method, path: string, body: unknown, deadlineMs = DEADLINE_MS): Promise<Response> {
  const response = await send(method, path, body, deadlineMs);
  if (response.status !== 401 || OPEN_PATHS.includes(path) || (await isWrongPassword(response))) return response;
  return (await refresh()) ? send(method, path, body, deadlineMs) : response;
}

/** A refusal of these says nothing about the device. */
const OPEN_PATHS = ["/sign-in", "/welcome", "/sign-up", "/sign-out"];

/** Another token would not make it right, and asking twice counts as guessing twice. */
async function isWrongPassword(response: Response): Promise<boolean> {
  return (await toError(response.clone())).code === "name_or_password_wrong";
}

/** A file that the node makes, such as an archive. */
export async function requestFile(path: string): Promise<Blob> {
  const response = await sendSignedIn("GET", path, undefined, FILE_DEADLINE_MS);
  if (response.ok) {
    return response.blob().catch(() => Promise.reject(new ApiError("unreachable", response.status, "The file broke off.")));
  }
  throw await refused(response);
}

/** A body that is a file goes as it is; what takes the node long is given `deadlineMs`. */
export async function request<Answer>(method: Method, path: string, body?: unknown, deadlineMs?: number): Promise<Answer> {
  const response = await sendSignedIn(method, path, body, deadlineMs ?? (body instanceof Blob ? FILE_DEADLINE_MS : DEADLINE_MS));
  if (response.ok) {
    if (response.status === 204) return undefined as Answer;
    try {
      return (await response.json()) as Answer;
    } catch {
      throw new ApiError("unreachable", response.status, "The answer broke off or was not JSON.");
    }
  }
  throw await refused(response);
}

async function refused(response: Response): Promise<ApiError> {
  const error = await toError(response);
  if (error.code === "not_signed_in") whenSignedOut();
  return error;
}

async function send(method: Method, path: string, body: unknown, deadlineMs = DEADLINE_MS): Promise<Response> {
  const init: RequestInit = {
    method,
    credentials: "same-origin",
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(deadlineMs),
  };
  if (body !== undefined) {
    const isFile = body instanceof Blob;
    init.headers = { ...init.headers, "Content-Type": isFile ? "application/octet-stream" : "application/json" };
    init.body = isFile ? body : JSON.stringify(body);
  }
  try {
    return await fetch(`/api/v1${path}`, init);
  } catch (cause) {
    throw new ApiError("unreachable", 0, cause instanceof Error ? cause.message : "The node cannot be reached.");
  }
}

interface ErrorBody {
  error?: { code?: unknown; message?: unknown; twin?: { id: string; name: string } };
}

async function toError(response: Response): Promise<ApiError> {
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retryAfter = Number.isFinite(wait) ? wait : null;
  // A proxy in between answers with its own page; then the status is all there is.
  const parsed = (await response.json().catch(() => null)) as ErrorBody | null;
  const known = toErrorCode(parsed?.error?.code);
  const code = known === "unknown" && response.status >= 502 ? "unreachable" : known;
  const message = typeof parsed?.error?.message === "string" ? parsed.error.message : `Status ${response.status}`;
  return new ApiError(code, response.status, message, retryAfter, parsed?.error?.twin ?? null);
}
