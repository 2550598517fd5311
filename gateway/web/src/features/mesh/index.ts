export { default as InvitePerson } from "./components/InvitePerson.vue";
