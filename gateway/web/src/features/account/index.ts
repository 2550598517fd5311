export { useAccountStore, type AccountStatus } from "./account.store";
export type { Person, Role } from "./account.types";
