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
    password: count(password) < PASSWORD_MIN ? t.errors.password_too_short : null,
  };
}

export function checkSignIn(name: string, password: string, t: Dictionary): FieldErrors {
  return {
    name: name.trim() === "" ? t.account.nameMissing : null,
    password: password === "" ? t.account.passwordMissing : null,
  };
}
