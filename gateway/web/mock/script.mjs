// MOCK. The scripted character behind mock/server.mjs: no model, no mesh. Some words in a message make things happen
// that are rare on a real mesh, so that the page can be looked at in every state.

export const CHARACTERS = [
  {
    id: "mock-skvorushka",
    name: "Скворушка",
    description: "Болтливая птица с хорошей памятью. Знает сказки, передразнивает соседей и любит задавать вопросы.",
    greeting: "Чирр! Я Скворушка. Садись рядом на ветку и рассказывай, что нового.",
  },
  {
    id: "mock-archivist",
    name: "Архивариус",
    description: "Хранитель старых карт и забытых слов. Говорит неторопливо и всегда уточняет, что именно вы ищете.",
    greeting: "Добро пожаловать в читальный зал. Какую полку откроем сегодня?",
  },
  {
    id: "mock-captain",
    name: "Captain Elsie",
    description: "Commands a small airship and a large teapot. Answers in English, if the wind allows.",
    greeting: "Welcome aboard! Mind the rigging. Where to?",
  },
];

export const NODES = [
  { id: "mock-a", name: "mock-dacha" },
  { id: "mock-b", name: "mock-garage" },
];

const TALE =
  "Жил-был скворец, который не умел летать в стае. Каждый вечер тысячи птиц поднимались над полем и рисовали в небе " +
  "облака, волны и спирали, а он всё время сворачивал не туда.\n\nОднажды старая галка сказала ему: «Не смотри на всю " +
  "стаю. Смотри на семерых соседей и делай, как они». Скворец попробовал, и небо вдруг стало понятным: он никого не " +
  "догонял, и никто не догонял его, а облако из птиц само находило дорогу.\n\nС тех пор, если вечером над полем " +
  "пролетает стая, один скворец в ней всегда чуть-чуть улыбается.";

export function answerTo(text) {
  if (/сказк|tale/i.test(text)) return TALE;
  if (/зовут|name/i.test(text)) return "Меня зовут Скворушка, и это всё понарошку: за мной стоит сценарий, а не модель. А как зовут тебя?";
  if (/умеешь|can you/i.test(text)) return "Умею рассказывать сказки, отвечать по сценарию и останавливаться, когда попросят.";
  return `Ты говоришь: «${text.slice(0, 120)}». Интересно! Расскажи ещё.`;
}

/** What a message asks the mock to do besides answering. */
export function tricksIn(text) {
  return {
    wait: /подожди|wait/i.test(text),
    busy: /занят|busy/i.test(text),
    drop: /обрыв|drop/i.test(text),
    gap: /пропуск|gap/i.test(text),
    swap: /подмена|swap/i.test(text),
    refuse: /отказ|refuse/i.test(text),
    slow: /медленно|slow/i.test(text),
  };
}

export function tokensOf(text) {
  return text.match(/\s*\S{1,5}|\s+$/gu) ?? [];
}

const GIB = 1024 ** 3;

function load(cpu, memory, gpus) {
  return {
    cpu_percent: cpu,
    memory_used_bytes: Math.round(memory * 16 * GIB),
    memory_total_bytes: 16 * GIB,
    disk_free_bytes: 212 * GIB,
    disk_total_bytes: 512 * GIB,
    network_received_bytes_per_second: 18_400,
    network_sent_bytes_per_second: 2_310_000,
    gpus,
  };
}

export function meshNow() {
  const gpu = {
    name: "RTX 4070",
    busy_percent: 82,
    memory_used_bytes: 9 * GIB,
    memory_total_bytes: 12 * GIB,
    temperature_celsius: 71,
  };
  const model = (name, slots, busy, speed) => ({ name, slots, busy, decode_tokens_per_second: speed });
  const other = (id, name, rest) => ({ id, name, is_self: false, state: "connected", liveness: "serving", liveness_ms_ago: 5_400_000, heard_ms_ago: 240, round_trip_ms: 0.8, path: "quic", load: null, models: [], ...rest });
  return [
    { id: "mock-a", name: "mock-dacha", is_self: true, state: "connected", liveness: "serving", liveness_ms_ago: 7_200_000, heard_ms_ago: null, round_trip_ms: null, path: null, load: load(12.5, 0.41, []), models: [model("built-in", 4, 1, 900)] },
    other("mock-b", "mock-garage", { load: load(78.2, 0.93, [gpu]), models: [model("built-in", 4, 0, 870), model("qwen3-8b-q4", 2, 2, 41.5)] }),
    other("mock-c", "mock-office-rack-12", { heard_ms_ago: 1800, round_trip_ms: 34.6, path: "tcp", load: load(95.4, 0.62, []), models: [model("built-in", 2, 1, 410)] }),
    other("mock-d", "mock-attic", { state: "unreachable", liveness: "gone", liveness_ms_ago: 11_517_000, heard_ms_ago: 11_520_000, round_trip_ms: null, path: null }),
    other("mock-e", "mock-neighbour", { heard_ms_ago: 90, round_trip_ms: 4.2 }),
  ];
}
