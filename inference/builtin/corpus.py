"""The dialogues that the built-in model learns from: written by a grammar, each from its own number, so that the same seed gives the same text.

    python corpus.py 20          prints twenty of them
    python corpus.py 20 wide     prints twenty of the wider ones
"""

import random
import sys

from grammar import typo, vary
from intents import INTENTS, WIDE, Talk, arithmetic, greeting, mood_answer, outside_domain, recall_fact, recall_name, repeat, tell_fact, tell_name, who
from persona import character, fox, system_prompt

FUNCTIONS = [intent for intent, _ in INTENTS]
WEIGHTS = [weight for _, weight in INTENTS]
WIDE_WEIGHTS = [WIDE.get(intent, weight) for intent, weight in INTENTS]
# Parts of the dialogues.
OTHER_LANGUAGE = 0.12
WITHOUT_PROMPT = 0.06
FOX = 0.06
GREETING_FIRST = 0.2
TYPO = 0.2
VARIED = 0.45
TURNS_MAX = 9
# Where a letter too few would be another name or number.
COPYING = (tell_name, tell_fact, repeat, arithmetic)


def next_intent(talk, turn, turns):
    """What comes next: a mood that was asked for, a fact asked back, or anything."""
    dice = talk.random.random()
    if talk.mood_was_asked and dice < 0.4:
        return mood_answer
    talk.mood_was_asked = False
    if turn == 0 and dice < 0.3:
        return talk.random.choice([greeting, who, tell_name])
    if talk.facts and dice < 0.25:
        keys = [key for key in talk.facts if key != "name"]
        if "name" in talk.facts and (not keys or talk.random.random() < 0.5):
            return recall_name
        return recall_fact
    return talk.random.choices(FUNCTIONS, WIDE_WEIGHTS if talk.wide else WEIGHTS)[0]


def opening(talk):
    """The character's own first words, as its card has them."""
    return talk.say("[Привет! Я {name}, {description}. О чём поговорим?|Здравствуй! Меня зовут {name}. Как твои дела?|Добро пожаловать! Я {name}.]",
                    "[Hello! I am {name}, {description}. What shall we talk about?|Hi! My name is {name}. How are you?|Welcome! I am {name}.]")


def called(talk):
    """What the one spoken to is called."""
    if not talk.persona:
        return []
    kind = talk.persona["kind"]
    return [talk.persona["name"], kind[2] if talk.at else kind[0]]


def dialogue(seed, number, wide=False):
    """A list of (role, text, outside): `outside` marks a person's line that no model of ordinary talk should learn. The wider dialogues
    say the same lines in more ways."""
    source = random.Random(f"{seed}/{number}")
    language = source.choice(["ru", "en"])
    prompt_language = language if source.random() > OTHER_LANGUAGE else {"ru": "en", "en": "ru"}[language]
    persona = character(source, prompt_language, wide) if source.random() > WITHOUT_PROMPT else None
    prompt = system_prompt(source, persona, prompt_language) if persona else None
    if source.random() < FOX:
        persona, prompt = fox(source)
    messages = [("system", prompt, False)] if persona else []
    talk = Talk(source, language, persona, wide)
    if persona and source.random() < GREETING_FIRST:
        messages.append(("assistant", opening(talk), False))
    turns = min(TURNS_MAX, 1 + int(source.expovariate(0.33)))
    for turn in range(turns):
        intent = next_intent(talk, turn, turns)
        person, answer = intent(talk)
        if wide and source.random() < VARIED:
            person = vary(source, person, language, called(talk))
        if source.random() < TYPO:
            person = typo(source, person, intent not in COPYING)
        messages += [("user", person, intent is outside_domain), ("assistant", answer, False)]
    return messages


def chat_text(messages):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text, _ in messages)


if __name__ == "__main__":
    for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10):
        print(chat_text(dialogue(1, number, sys.argv[2:] == ["wide"])))
