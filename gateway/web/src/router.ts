import { createRouter, createWebHistory, type Router, type RouteRecordRaw } from "vue-router";
import type { useAccountStore } from "./features/account";

export type PageTitle =
  | "chat"
  | "characters"
  | "editor"
  | "mesh"
  | "signIn"
  | "welcome"
  | "signUp"
  | "confirm"
  | "forgot"
  | "reset"
  | "account"
  | "erased"
  | "people"
  | "complaints"
  | "settings"
  | "bans"
  | "audit"
  | "notFound";

declare module "vue-router" {
  interface RouteMeta {
    /** Opens without being signed in. */
    open?: boolean;
    /** Opens for everybody: a link that leads here matters whoever is signed in. */
    always?: boolean;
    /** Opens only for those who look after people, or only for administrators. */
    only?: "keepers" | "administrators";
    title?: PageTitle;
  }
}

const administration: RouteRecordRaw[] = [
  {
    path: "/people",
    name: "people",
    component: () => import("./features/administration/views/PeopleView.vue"),
    meta: { only: "keepers", title: "people" },
  },
  {
    path: "/people/:id",
    name: "person",
    component: () => import("./features/administration/views/PersonView.vue"),
    meta: { only: "keepers", title: "people" },
  },
  {
    path: "/complaints",
    name: "complaints",
    component: () => import("./features/administration/views/ComplaintsView.vue"),
    meta: { only: "keepers", title: "complaints" },
  },
  {
    path: "/complaints/:id",
    name: "complaint",
    component: () => import("./features/administration/views/ComplaintView.vue"),
    meta: { only: "keepers", title: "complaints" },
  },
  {
    path: "/settings",
    name: "settings",
    component: () => import("./features/administration/views/SettingsView.vue"),
    meta: { only: "administrators", title: "settings" },
  },
  {
    path: "/bans",
    name: "bans",
    component: () => import("./features/administration/views/BansView.vue"),
    meta: { only: "administrators", title: "bans" },
  },
  {
    path: "/audit",
    name: "audit",
    component: () => import("./features/administration/views/AuditView.vue"),
    meta: { only: "administrators", title: "audit" },
  },
];

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
        meta: { open: true, always: true, title: "welcome" },
      },
      {
        path: "/sign-up",
        name: "sign-up",
        component: () => import("./features/account/views/SignUpView.vue"),
        meta: { open: true, title: "signUp" },
      },
      {
        path: "/confirm",
        name: "confirm",
        component: () => import("./features/account/views/ConfirmView.vue"),
        meta: { open: true, always: true, title: "confirm" },
      },
      {
        path: "/forgot",
        name: "forgot",
        component: () => import("./features/account/views/ForgotView.vue"),
        meta: { open: true, title: "forgot" },
      },
      {
        path: "/reset",
        name: "reset",
        component: () => import("./features/account/views/ResetView.vue"),
        meta: { open: true, always: true, title: "reset" },
      },
      {
        path: "/account",
        name: "account",
        component: () => import("./features/account/views/AccountView.vue"),
        meta: { title: "account" },
      },
      {
        path: "/erased/:id",
        name: "erased",
        component: () => import("./features/account/views/ErasedView.vue"),
        meta: { open: true, always: true, title: "erased" },
      },
      ...administration,
      {
        path: "/:rest(.*)*",
        name: "not-found",
        component: () => import("./ui/NotFoundView.vue"),
        meta: { open: true, always: true, title: "notFound" },
      },
    ],
  });
  router.beforeEach(async (to) => {
    if (to.meta.always === true) return true;
    if (account.status === "unknown") await account.load();
    if (to.meta.open === true) return account.status === "signed-in" ? { name: "chat" } : true;
    if (account.status === "signed-in") {
      // The node decides; this only keeps people from pages on which everything would be refused.
      const may = { keepers: account.isKeeper, administrators: account.isAdministrator };
      return to.meta.only === undefined || may[to.meta.only] ? true : { name: "chat" };
    }
    return account.status === "signed-out" ? { name: "sign-in", query: to.path === "/" ? {} : { to: to.path } } : true;
  });
  return router;
}
