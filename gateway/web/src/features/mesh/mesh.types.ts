export interface GpuLoad {
  name: string;
  busy_percent: number;
  memory_used_bytes: number;
  memory_total_bytes: number;
  temperature_celsius: number;
}

export interface NodeLoad {
  cpu_percent: number;
  memory_used_bytes: number;
  memory_total_bytes: number;
  disk_free_bytes: number;
  disk_total_bytes: number;
  network_received_bytes_per_second: number;
  network_sent_bytes_per_second: number;
  gpus: GpuLoad[];
}

export interface NodeModel {
  name: string;
  /** Whether the node answers chats with it; others only programs ask for. */
  is_main: boolean;
  state: "loaded" | "loading" | "on_disk" | "failed";
  /** Why it does not work, in words for the operator. */
  reason: string | null;
  /** Memory that is set aside for it, or that it needs at least. */
  estimated_bytes: number;
  /** Memory that it has; 0 while it has none. */
  measured_bytes: number;
  slots: number;
  busy: number;
  decode_tokens_per_second: number | null;
}

/** Whether a member is there and what it is ready for, as the whole mesh tells it. */
export type Liveness = "joining" | "serving" | "draining" | "maintenance" | "suspect" | "gone";

export interface MeshNode {
  id: string;
  name: string;
  is_self: boolean;
  state: "connected" | "unreachable";
  liveness: Liveness;
  liveness_ms_ago: number;
  /** Two processes run with its key. */
  doubled: boolean;
  heard_ms_ago: number | null;
  round_trip_ms: number | null;
  path: "quic" | "tcp" | null;
  load: NodeLoad | null;
  models: NodeModel[];
}

export interface PersonLink {
  path: string;
  expires_at: number;
}

/** An invite with which a machine becomes a node; the text is shown once. */
export interface MachineInvite {
  id: string;
  invite: string;
  expires_at: number;
}

export type InviteState = "open" | "used" | "expired" | "revoked";

/** An invite for machines as the mesh remembers it; the text of it is kept nowhere. */
export interface EarlierInvite {
  id: string;
  state: InviteState;
  roles: string | null;
  uses: number | null;
  used_by: { id: string; name: string; at: number }[];
  /** `null` for one of the command line. */
  made_at: number | null;
  made_by: { id: string; name: string | null } | null;
  expires_at: number | null;
  revoked_at: number | null;
}

export interface EarlierInvites {
  invites: EarlierInvite[];
  next: string | null;
}

export type BreakerState = "closed" | "open" | "half_open";

/** A change of the breaker before a node: whether it is asked. */
export interface BreakerChange {
  at: number;
  node_id: string;
  node_name: string;
  model: string;
  operation: "generate" | "continue";
  from: BreakerState;
  to: BreakerState;
  pause_ms: number | null;
}
