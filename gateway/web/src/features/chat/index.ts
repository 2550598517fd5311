export { useChatStore } from "./chat.store";
export { default as SessionList } from "./components/SessionList.vue";
