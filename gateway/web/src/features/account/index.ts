export { useAccountStore, type AccountStatus } from "./account.store";
export { ROLES, type Consent, type Device, type Person, type Role } from "./account.types";
export { withCode } from "./code.ask";
export { default as CodeDialog } from "./components/CodeDialog.vue";
export { default as ConsentList } from "./components/ConsentList.vue";
export { deviceName } from "./device.name";
