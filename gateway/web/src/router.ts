import { createRouter, createWebHistory, type Router } from "vue-router";
import type { useAccountStore } from "./features/account";

declare module "vue-router" {
  interface RouteMeta {
    /** Opens without being signed in. */
    open?: boolean;
    title?: "chat" | "characters" | "editor" | "mesh" | "signIn" | "welcome" | "notFound";
  }
}

export function createPageRouter(account: ReturnType<typeof useAccountStore>): Router {
  const router = createRouter({
    history: createWebHistory(),
    routes: [
      { path: "/", name: "chat", component: () => import("./features/chat/views/ChatView.vue"), meta: { title: "chat" } },
      {
        path: "/characters",
        name: "characters",
        component: () => import("./features/characters/views/CharactersView.vue"),
        meta: { title: "characters" },
      },
      {
        path: "/characters/:id",
        name: "editor",
        component: () => import("./features/characters/views/EditorView.vue"),
        meta: { title: "editor" },
      },
      { path: "/mesh", name: "mesh", component: () => import("./features/mesh/views/MeshView.vue"), meta: { title: "mesh" } },
      {
        path: "/sign-in",
        name: "sign-in",
        component: () => import("./features/account/views/SignInView.vue"),
        meta: { open: true, title: "signIn" },
      },
      {
        path: "/welcome",
        name: "welcome",
        component: () => import("./features/account/views/WelcomeView.vue"),
        meta: { open: true, title: "welcome" },
      },
      {
        path: "/:rest(.*)*",
        name: "not-found",
        component: () => import("./ui/NotFoundView.vue"),
        meta: { open: true, title: "notFound" },
      },
    ],
  });
  router.beforeEach(async (to) => {
    if (to.name === "welcome" || to.name === "not-found") return true;
    if (account.status === "unknown") await account.load();
    if (to.meta.open === true) return account.status === "signed-in" ? { name: "chat" } : true;
    return account.status === "signed-out" ? { name: "sign-in", query: to.path === "/" ? {} : { to: to.path } } : true;
  });
  return router;
}
