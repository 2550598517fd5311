export { decideComplaint, fetchComplaint, fetchComplaints, takeComplaint } from "./complaints.api";
export { isMild, progressText, whoText } from "./complaints.rules";
export { COMPLAINT_STATES, type ComplaintDetail, type ComplaintRow, type ComplaintsPage, type ComplaintState, type Decision } from "./complaints.types";
export { default as ComplainButton } from "./components/ComplainButton.vue";
export { default as OwnComplaintsSection } from "./components/OwnComplaintsSection.vue";
export { default as WarningsNote } from "./components/WarningsNote.vue";
