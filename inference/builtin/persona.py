"""Characters with random names and attributes, and the system prompts that describe them in either language."""

import words
from grammar import capital, expand

MADE_UP = 0.45
# Of the wider dialogues.
SPELT = 0.4


def spelt(random, language):
    """A name of any letters, which a tokenizer has to take in pieces."""
    vowels, consonants = ("аеиоуяюэ", "бвгджзклмнпрстфхцчш") if language == "ru" else ("aeiouy", "bcdfghjklmnpqrstvwxz")
    syllables = (
        random.choice(["", *consonants]) + random.choice(["", "", "р" if language == "ru" else "r"]) + random.choice(vowels) + random.choice(["", "", *consonants])
        for _ in range(random.choice([1, 2, 2, 3]))
    )
    return capital("".join(syllables))


def name(random, language, pool=None, wide=False):
    """A first name, half of the time one that nobody has: names are to be copied, not known."""
    while True:
        if wide and random.random() < SPELT:
            chosen = spelt(random, language)
        elif random.random() < MADE_UP:
            syllables, endings = (
                (words.SYLLABLES_RU, words.ENDINGS_RU) if language == "ru" else (words.SYLLABLES_EN, words.ENDINGS_EN)
            )
            made = "".join(random.choice(syllables) for _ in range(random.choice([1, 2, 2, 2, 3])))
            chosen = capital(made + random.choice(endings))
        else:
            chosen = random.choice(pool or (words.NAMES_RU if language == "ru" else words.NAMES_EN))
        if chosen not in words.HELD_NAMES and len(chosen) > 2:
            return chosen


def character(random, language, wide=False):
    """A character; what its prompt does not say is absent from its attributes."""
    kind = random.choice(words.KINDS)
    persona = {
        "gender": kind[1],
        "kind": kind,
        "adjective": random.choice(words.ADJECTIVES) if random.random() < 0.8 else None,
        "place": random.choice(words.PLACES) if random.random() < 0.7 else None,
    }
    style = random.random()
    if style < 0.2:
        persona["name"] = capital(kind[0] if language == "ru" else kind[2])
    elif style < 0.32:
        first = random.choice(words.FIRST_RU if language == "ru" else words.FIRST_EN)
        persona["name"] = f"{first} {name(random, language, wide=wide)}"
        feminine = first in ("Тётя", "Сова", "Фея", "Aunt", "Owl", "Fairy", "Miss")
        persona["gender"] = "f" if feminine else "m"
    else:
        persona["name"] = name(random, language, wide=wide)
    attributes = {
        "thing": random.choice(words.THINGS), "food": random.choice(words.FOODS), "hobby": random.choice(words.HOBBIES),
        "fear": random.choice(words.FEARS), "friend": name(random, language, wide=wide), "age": random.randrange(3, 300),
        "colour": random.choice(words.COLOURS), "home": random.choice(words.PLACES),
    }
    if persona["place"]:
        del attributes["home"]
    count = random.choice([0, 0, 1, 1, 2, 2, 3, 4, 5])
    persona["told"] = random.sample(sorted(attributes), min(count, len(attributes)))
    persona.update({key: attributes[key] for key in persona["told"]})
    return persona


def description(persona, language):
    """"a sly fox from the winter forest" in either language."""
    kind, adjective, place = persona["kind"], persona["adjective"], persona["place"]
    if language == "ru":
        form = {"m": 0, "f": 1, "n": 2}[kind[1]]
        text = f"{adjective[form]} {kind[0]}" if adjective else kind[0]
        return f"{text} {place[0]}" if place else text
    text = f"{adjective[3]} {kind[2]}" if adjective else kind[2]
    text = ("an " if text[0] in "aeiou" else "a ") + text
    return f"{text} from {place[2]}" if place else text


SENTENCES_RU = {
    "thing": "[Ты любишь|Ты обожаешь|Любишь|Больше всего ты любишь] {thing}.",
    "food": "[Твоя любимая еда — {food}|Ты любишь есть {food}|Из еды ты любишь {food}|Любимая еда: {food}].",
    "hobby": "[Твоё любимое занятие — {hobby}|Ты любишь {hobby}|В свободное время ты любишь {hobby}|Твоё хобби — {hobby}].",
    "fear": "[Ты боишься {fear}|Боишься {fear}|Больше всего ты боишься {fear}].",
    "friend": "[Твоего друга зовут {friend}|Твой лучший друг — {friend}|У тебя есть друг {friend}].",
    "age": "[Тебе {age} {лет}|Тебе уже {age} {лет}|Твой возраст: {age}].",
    "colour": "[Твой любимый цвет — {colour}|Ты любишь {colour} цвет|Любимый цвет: {colour}].",
    "home": "[Ты живёшь {home}|Твой дом {home}|Живёшь {home}].",
}
SENTENCES_EN = {
    "thing": "[You love {thing}|You like {thing}|Most of all you love {thing}|You adore {thing}].",
    "food": "[Your favourite food is {food}|You like to eat {food}|Favorite food: {food}|You love eating {food}].",
    "hobby": "[Your favourite pastime is {hobby}|You like {hobby}|Your hobby is {hobby}|In your free time you like {hobby}].",
    "fear": "[You are afraid of {fear}|You fear {fear}|You're scared of {fear}].",
    "friend": "[Your friend is called {friend}|Your best friend is {friend}|You have a friend named {friend}].",
    "age": "[You are {age} years old|Your age is {age}].",
    "colour": "[Your favourite colour is {colour}|Your favorite color is {colour}|You like the colour {colour}].",
    "home": "[You live in {home}|Your home is in {home}].",
}
STYLES_RU = [
    "Отвечай коротко и по-доброму.", "Отвечай коротко.", "Отвечай весело и коротко.", "Говори вежливо.", "Будь добрым.",
    "Отвечай по-русски.", "Отвечай просто и понятно.", "Будь хорошим собеседником.", "Шути иногда.", "Отвечай одним или двумя предложениями.",
]
STYLES_EN = [
    "Answer briefly and kindly.", "Answer briefly.", "Be cheerful and brief.", "Be polite.", "Be kind.", "Answer in simple words.",
    "Be a good listener.", "Joke now and then.", "Answer in one or two sentences.", "Stay in character.",
]


def years(number):
    """Russian: 1 год, 2 года, 5 лет."""
    if number % 100 // 10 == 1 or number % 10 in (0, 5, 6, 7, 8, 9):
        return "лет"
    return "год" if number % 10 == 1 else "года"


def slots(persona, language):
    """What phrases about a character can name."""
    at = 0 if language == "ru" else 1
    filled = {"name": persona["name"], "description": description(persona, language)}
    for key in ("thing", "food", "hobby", "fear", "colour"):
        if key in persona:
            filled[key] = persona[key][at]
    if "home" in persona:
        filled["home"] = persona["home"][1 if language == "ru" else 2]
    for key in ("friend", "age"):
        if key in persona:
            filled[key] = persona[key]
    if "age" in persona:
        filled["лет"] = years(persona["age"])
    filled["а"] = {"m": "", "f": "а", "n": "о"}[persona["gender"]]
    return filled


def system_prompt(random, persona, language):
    sentences, styles, opening = (
        (SENTENCES_RU, STYLES_RU, "[Ты {name}, {description}.|Ты — {name}, {description}.|Тебя зовут {name}. Ты {description}.|Ты {name}. Ты {description}.|Твоё имя — {name}, ты {description}.]")
        if language == "ru"
        else (SENTENCES_EN, STYLES_EN, "[You are {name}, {description}.|Your name is {name}. You are {description}.|You're {name}, {description}.|You are {name}. You are {description}.]")
    )
    filled = slots(persona, language)
    parts = [expand(random, opening, filled)]
    parts += [expand(random, sentences[key], filled) for key in persona["told"]]
    if random.random() < 0.7:
        parts += random.sample(styles, random.choice([1, 1, 2]))
    return " ".join(parts)


def fox(random):
    """The character that every new mesh has."""
    persona = {
        "gender": "m", "kind": words.KINDS[0], "adjective": words.ADJECTIVES[0], "place": words.PLACES[0], "name": "Лис",
        "told": ["food", "hobby", "fear", "friend"], "food": words.FOODS[0], "hobby": words.HOBBIES[25], "fear": words.FEARS[0], "friend": "Уля",
    }
    return persona, random.choice([FOX_PROMPT, FOX_PROMPT, system_prompt(random, persona, "ru")])


FOX_PROMPT = (
    "Ты Лис, хитрый лис из зимнего леса. Ты любишь есть ягоды. Твоё любимое занятие — рассказывать истории. "
    "Ты боишься грозы. Твоего друга зовут Уля. Отвечай коротко и по-доброму."
)
