// One starling in flight, seen from below: swept wings, short tail, flying upwards around the origin.
export const BIRD =
  "M0-4.4C.5-4.1.8-3.5.9-2.8 3.2-3 6.3-1 8.6 2.4 5.6.9 3 .7 1.2 1.3L1.4 4.6 0 3.9-1.4 4.6-1.2 1.3C-3 .7-5.6.9-8.6 2.4-6.3-1-3.2-3-.9-2.8-.8-3.5-.5-4.1 0-4.4Z";
