import { createPinia } from "pinia";
import { createApp } from "vue";
import App from "./App.vue";
import "./app.css";
import { useAccountStore } from "./features/account";
import { createPageRouter } from "./router";

const app = createApp(App);
app.use(createPinia());
app.use(createPageRouter(useAccountStore()));
app.mount("#app");
