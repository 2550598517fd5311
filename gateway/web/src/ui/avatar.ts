// A coloured initial in place of a picture. The colour follows from the id, so it is the same on every device.

const FEATHERS = [
  "feather-0",
  "feather-1",
  "feather-2",
  "feather-3",
  "feather-4",
  "feather-5",
  "feather-6",
  "feather-7",
] as const;

export function featherOf(id: string): (typeof FEATHERS)[number] {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return FEATHERS[hash % FEATHERS.length] ?? FEATHERS[0];
}

export function initialOf(name: string): string {
  const first = Array.from(name.trim())[0];
  return first === undefined ? "?" : first.toLocaleUpperCase();
}
