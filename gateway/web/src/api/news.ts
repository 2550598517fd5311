// What the socket tells that belongs to no chat. Whoever shows it watches the number and reads again.

import { ref } from "vue";

/** Grows whenever the queue of complaints has changed; only moderators and administrators are told. */
export const complaintsNews = ref(0);
