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
