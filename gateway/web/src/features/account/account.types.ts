import type { NodeName } from "@/api/frames";

export type Role = "user" | "administrator";

export interface Person {
  id: string;
  name: string;
  role: Role;
}

export interface Me {
  person: Person;
  node: NodeName;
}

export const NAME_MIN = 2;
export const NAME_MAX = 50;
export const PASSWORD_MIN = 8;
