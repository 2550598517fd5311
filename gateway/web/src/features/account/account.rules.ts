// What the page can tell a person before it asks the node. The node checks again; these words only come sooner.

import type { Dictionary } from "@/i18n";
import { NAME_MAX, NAME_MIN, PASSWORD_MIN } from "./account.types";

export interface FieldErrors {
  name: string | null;
  password: string | null;
}

/** Characters as the node counts them: code points, so that an emoji is one and not two. */
function count(text: string): number {
  return Array.from(text).length;
}

export function checkNewAccount(name: string, password: string, t: Dictionary): FieldErrors {
  const length = count(name.trim());
  return {
    name: length === 0 ? t.account.nameMissing : length < NAME_MIN || length > NAME_MAX ? t.errors.name_invalid : null,
    password: checkNewPassword(password, t),
  };
}

export function checkSignIn(name: string, password: string, t: Dictionary): FieldErrors {
  return {
    name: name.trim() === "" ? t.account.nameMissing : null,
    password: password === "" ? t.account.passwordMissing : null,
  };
}

export function checkCode(code: string, t: Dictionary): string | null {
  return /^\d{6}$/.test(code.replace(/\s/g, "")) ? null : t.door.codeWrong;
}

/** Only what is surely none; the node knows better, and a letter best. */
export function checkEmail(email: string, t: Dictionary): string | null {
  return /^[^\s@]+@[^\s@]+$/.test(email.trim()) ? null : t.errors.email_invalid;
}

export function checkNewPassword(password: string, t: Dictionary): string | null {
  return count(password) < PASSWORD_MIN ? t.errors.password_too_short : null;
}

export interface SignUpErrors extends FieldErrors {
  email: string | null;
  consents: string | null;
}

export function checkSignUp(form: { name: string; email: string; password: string; agreed: boolean[] }, t: Dictionary): SignUpErrors {
  const account = checkNewAccount(form.name, form.password, t);
  return {
    // Whoever signs in with an address must not meet a name that looks like one.
    name: account.name ?? (form.name.includes("@") ? t.door.nameNoAddress : null),
    email: checkEmail(form.email, t),
    password: account.password,
    consents: form.agreed.every(Boolean) ? null : t.door.consentsMissing,
  };
}
