"""Phrases with choices: "[a|b]" is one of them, "{key}" a slot, "{а}" the ending of whoever speaks."""


def expand(random, text, slots):
    """Writes one of the texts that a phrase stands for; brackets nest."""
    while "[" in text:
        end = text.index("]")
        start = text.rindex("[", 0, end)
        text = text[:start] + random.choice(text[start + 1 : end].split("|")) + text[end + 1 :]
    for key, value in slots.items():
        if "{" not in text:
            break
        text = text.replace("{" + key + "}", str(value))
    return text


def capital(text):
    return text[:1].upper() + text[1:]


def typo(random, text, letters):
    """What hurried people do to a line: no capital, no full stop; and with `letters` one too few or in the wrong place."""
    kind = random.randrange(9 if letters else 7)
    if kind < 2:
        text = text[:1].lower() + text[1:]
    if kind < 4:
        return text.rstrip(".!?") or text
    if kind == 4:
        return text.lower().replace("ё", "е")
    if kind == 5:
        return text.rstrip(".") + random.choice(["!", "!!", "...", ")", "))", " :)", " ;)"])
    if kind == 6:
        return text.replace("ё", "е").replace(",", "")
    if len(text) < 8:
        return text
    at = random.randrange(1, len(text) - 2)
    if not (text[at].islower() and text[at + 1].islower()):
        return text
    if kind == 7:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


OPENERS = {
    "ru": ("Скажи,|Слушай,|А|Ну|Так|Скажи-ка,|Подскажи,|Кстати,|Ещё вопрос:|Эй,|Интересно,|Пожалуйста,|Можно узнать,", "Знаешь,|Слушай,|Кстати,|Ну,|Вот,|Ох,|Послушай,|Ой,|Эй,"),
    "en": ("Tell me,|Say,|So|And|Well,|Listen,|Please,|By the way,|One more thing:|Hey,|Now|I wonder,|Oh,", "You know,|Listen,|By the way,|Well,|Oh,|Look,|Hey,|So|Ah,"),
}
TAILS = {
    "ru": (", а?|, скажи|, пожалуйста|, интересно?|, можешь сказать?|, не знаешь?", ", вот|, правда|, честно|, знаешь"),
    "en": (", please|, then?|, will you tell me?|, do you know?|, I wonder?", ", you know|, really|, honestly|, indeed"),
}
ASKING_RU = ("как", "кто", "что", "где", "чего", "сколько", "какой", "какая", "какое", "кем", "чем", "откуда")
FRIENDS = {"ru": ["друг", "дружок", "приятель"], "en": ["friend", "my friend", "dear"]}


def vary(random, text, language, names):
    """The same line in other clothes: an opening word, somebody called by name, a tail. `names` are what the one spoken to is called."""
    asks = 0 if text.rstrip(" !.)").endswith("?") else 1
    called = random.choice([*names, *names, random.choice(FRIENDS[language])])
    kind = random.random()
    if kind < 0.2 and not asks and language == "ru":
        first, _, rest = text.partition(" ")
        if rest and first.lower() in ASKING_RU:
            return f"{first} же {rest}"
    if kind < 0.5:
        start = random.choice(OPENERS[language][asks].split("|")) if random.random() < 0.7 else capital(called) + ","
        kept = language == "en" and text.split(" ")[0].split("'")[0] == "I"
        return f"{start} {text if kept else text[:1].lower() + text[1:]}"
    body = text.rstrip(".!?")
    mark = text[len(body) :]
    tail = f", {called}" if random.random() < 0.6 else random.choice(TAILS[language][asks].split("|"))
    return body + (tail if tail.endswith("?") else tail + mark)
