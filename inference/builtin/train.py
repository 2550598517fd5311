"""Trains the built-in model on the grammar's dialogues. See README.md.

The learning rate rises, stays, and falls to nothing over the last part: `--steps` and `--fall` say when. With `--until HH:MM` the fall
is begun early enough to end at that time, and the steps that came of it are written into `training.json`, with which the same run
can be repeated. `--from FOLDER` takes a trained model on with the wider dialogues, at a lower rate, beginning with those that it has not seen.
"""

import argparse
import copy
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from tokenizers import Tokenizer

from corpus import dialogue
from model import Model, is_matrix
from tokenizer import END, END_OF_TEXT, START, train as train_tokenizer

SEED = 2026
ROW, ROWS = 512, 10
# The first dialogues are kept for validation.
KEPT = 160
WARM = 60
MUON_RATE, ADAM_RATE = 0.02, 4e-3
# What part of all steps the rate falls.
FALL = 0.4
# What part of the rate a model that is taken on has.
AGAIN = 0.6
# What a token of each part counts in the loss; the character's answers count whole.
SYSTEM_WEIGHT, PERSON_WEIGHT = 0.1, 0.3


def encoded(tokenizer, number, wide):
    """Ids of one dialogue and what each counts as a thing to be predicted."""
    ids, weights = [], []
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    newline = tokenizer.encode("\n").ids
    for role, text, outside in dialogue(SEED, number, wide):
        head, body = tokenizer.encode(role + "\n").ids, tokenizer.encode(text).ids
        weight = {"system": SYSTEM_WEIGHT, "user": 0.0 if outside else PERSON_WEIGHT, "assistant": 1.0}[role]
        ids += [start, *head, *body, end, *newline]
        weights += [0.0] + [0.0] * len(head) + [weight] * (len(body) + 1) + [0.0] * len(newline)
    return ids, weights


def rows(tokenizer, number, wide=False):
    """Endless rows of whole dialogues, each cut where the row ends; `which` tells them apart for the mask."""
    filler = tokenizer.token_to_id(END_OF_TEXT)
    while True:
        ids, weights, which = [], [], []
        count = 0
        while len(ids) < ROW + 1:
            more, worth = encoded(tokenizer, number, wide)
            number, count = number + 1, count + 1
            ids += [*more, filler]
            weights += [*worth, 0.0]
            which += [count] * (len(more) + 1)
        yield ids[: ROW + 1], weights[: ROW + 1], which[: ROW + 1], number


def batch(source):
    taken = [next(source) for _ in range(ROWS)]
    ids = torch.tensor([row[0] for row in taken])
    weights = torch.tensor([row[1] for row in taken])[:, 1:]
    which = torch.tensor([row[2] for row in taken])[:, :-1]
    same = which[:, :, None] == which[:, None, :]
    mask = (same & torch.ones(ROW, ROW, dtype=torch.bool).tril())[:, None]
    return ids[:, :-1], ids[:, 1:], weights, mask, taken[-1][3]


def loss_of(model, ids, wanted, weights, mask):
    logits = model(ids, mask)
    losses = F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="none")
    flat = weights.flatten()
    return (losses * flat).sum() / flat.sum()


class Muon:
    """Momentum whose matrices are made orthogonal by Newton-Schulz steps, all of one shape together."""

    def __init__(self, parameters):
        shapes = {}
        for parameter in parameters:
            shapes.setdefault(tuple(parameter.shape), []).append(parameter)
        self.groups = [(group, torch.zeros(len(group), *shape)) for shape, group in shapes.items()]

    @torch.no_grad()
    def step(self, rate, momentum=0.95, decay=0.02):
        for group, velocity in self.groups:
            gradient = torch.stack([parameter.grad for parameter in group])
            velocity.lerp_(gradient, 1 - momentum)
            x = gradient.lerp(velocity, momentum)
            turned = x.shape[1] > x.shape[2]
            x = (x.mT if turned else x).bfloat16()
            x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
            for _ in range(5):
                square = x @ x.mT
                x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
            x = (x.mT if turned else x).float()
            scale = max(1.0, x.shape[1] / x.shape[2]) ** 0.5
            for parameter, change in zip(group, x):
                parameter.mul_(1 - rate * decay).add_(change, alpha=-rate * scale)


@torch.no_grad()
def validation(loss_of, model, tokenizer):
    source = rows(tokenizer, 0)
    losses = []
    while True:
        ids, wanted, weights, mask, number = batch(source)
        losses.append(loss_of(model, ids, wanted, (weights == 1.0).float(), mask).item())
        if number > KEPT - 40:
            return sum(losses) / len(losses)


@torch.no_grad()
def answer(model, tokenizer, text, tokens_max=80):
    ids = tokenizer.encode(text).ids
    start = len(ids)
    while len(ids) - start < tokens_max:
        ids.append(model(torch.tensor([ids]))[0, -1].argmax().item())
        if ids[-1] == tokenizer.token_to_id(END):
            break
    return tokenizer.decode(ids[start:])


PROBES = [
    ("Ты Лис, хитрый лис из зимнего леса. Отвечай коротко и по-доброму.", ["Меня зовут Глафира!", "Как меня зовут?", "Сколько будет 8 плюс 5?"]),
    ("You are Zorba, a grumpy pirate from the old port. Your favourite food is pears. You are afraid of spiders.", ["who are you", "What's your favorite food?", "I am Tobias.", "what's my name again?", "Explain how rockets fly"]),
    ("Ты Вьюга, добрая сова. Твоего друга зовут Клим.", ["Кто твой лучший друг?", "Мне так грустно сегодня", "Кто написал Евгения Онегина?", "Расскажи сказку про дракона"]),
]


def probes(model, tokenizer):
    for prompt, questions in PROBES:
        text = f"{START}system\n{prompt}{END}\n"
        for question in questions:
            text += f"{START}user\n{question}{END}\n{START}assistant\n"
            said = answer(model, tokenizer, text)
            text += f"{said}{END}\n"
            print(f"    {question} -> {said}", flush=True)


def save(path, **what):
    torch.save(what, path + ".new")
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="folder for tokenizer, weights and training.json")
    parser.add_argument("--steps", type=int, help="steps in all")
    parser.add_argument("--fall", type=int, help="steps of the fall at the end")
    parser.add_argument("--until", help="HH:MM (UTC) at which to be done, instead of a number of steps")
    parser.add_argument("--from", help="folder of a trained model that is to go on with the wider dialogues")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(options.threads)
    os.makedirs(options.out, exist_ok=True)
    before = getattr(options, "from")
    tokenizer = Tokenizer.from_file(f"{before}/tokenizer.json") if before else train_tokenizer(SEED)
    tokenizer.save(f"{options.out}/tokenizer.json")
    vocabulary = (tokenizer.get_vocab_size() + 31) // 32 * 32
    master = Model(vocabulary)
    parameters = sum(parameter.numel() for parameter in master.parameters())
    print(f"{parameters} parameters, {tokenizer.get_vocab_size()} pieces", flush=True)
    # What is computed with, in half precision; the weights that are trained stay whole.
    model = copy.deepcopy(master).bfloat16()
    model.embedding.float()
    pairs = list(zip(master.parameters(), model.parameters()))
    compiled = torch.compile(loss_of, dynamic=False)
    muon = Muon([parameter for name, parameter in master.named_parameters() if is_matrix(name)])
    others = [parameter for name, parameter in master.named_parameters() if not is_matrix(name)]
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    path = f"{options.out}/checkpoint.pt"
    step, number, steps, fall, spent, busy, peak = 0, KEPT, options.steps, options.fall, 0.0, 0.0, 1.0
    if before:
        master.load_state_dict(torch.load(f"{before}/weights.pt")["model"])
        publish(pairs)
        with open(f"{before}/training.json") as file:
            number, peak = KEPT + json.load(file)["dialogues"], AGAIN
    first_number = number
    if os.path.exists(path):
        kept = torch.load(path)
        master.load_state_dict(kept["model"])
        publish(pairs)
        adam.load_state_dict(kept["adam"])
        for (_, velocity), old in zip(muon.groups, kept["muon"]):
            velocity.copy_(old)
        step, number, spent, busy = kept["step"], kept["number"], kept["spent"], kept["busy"]
        steps, fall = kept["steps"] or steps, kept["fall"] or fall
        print(f"continues at step {step}", flush=True)
    source = rows(tokenizer, number, bool(before))
    began, began_busy, first, saved, shown, recent = time.time(), time.process_time(), step, time.time(), 0.0, []
    while steps is None or step < steps:
        ids, wanted, weights, mask, number = batch(source)
        if steps is None and step % 10 == 0 and step > first + 20:
            fall, steps = begin_fall(options.until, step, recent)
        down = (steps - step) / fall if steps else 1.0
        rate = peak * min(1.0, (step + 1) / WARM, max(down, 0.0))
        loss = compiled(model, ids, wanted, weights, mask)
        model.zero_grad(set_to_none=True)
        loss.backward()
        for whole, half in pairs:
            whole.grad = half.grad.float()
        torch.nn.utils.clip_grad_norm_(master.parameters(), 1.0)
        muon.step(MUON_RATE * rate)
        for group in adam.param_groups:
            group["lr"] = ADAM_RATE * rate
        adam.step()
        publish(pairs)
        step += 1
        now = time.time()
        recent = (recent + [now])[-100:]
        shown = loss.item() if step == 1 else 0.95 * shown + 0.05 * loss.item()
        wall, cpu = spent + now - began, busy + time.process_time() - began_busy
        if step % 20 == 0:
            print(f"step {step}/{steps} loss {shown:.3f} rate {rate:.2f} wall {wall:.0f} cpu {cpu:.0f} tokens {step * ROW * ROWS / 1e6:.2f}M", flush=True)
        if step % 250 == 0 or step == steps:
            print(f"validation {validation(compiled, model, tokenizer):.4f}", flush=True)
            probes(model, tokenizer)
        if now - saved > 120 or step == steps:
            saved = now
            muon_state = [velocity for _, velocity in muon.groups]
            save(path, model=master.state_dict(), adam=adam.state_dict(), muon=muon_state, step=step, number=number, steps=steps, fall=fall, spent=wall, busy=cpu)
    final = validation(compiled, model, tokenizer)
    save(f"{options.out}/weights.pt", model=master.state_dict())
    record = {
        "seed": SEED, "steps": steps, "fall": fall, "tokens": steps * ROW * ROWS, "dialogues": number - first_number, "parameters": parameters,
        "validation_loss": round(final, 4), "validation_perplexity": round(math.exp(final), 3), "wall_seconds": round(wall), "cpu_seconds": round(cpu), "torch": torch.__version__, "threads": options.threads,
    }
    with open(f"{options.out}/training.json", "w") as file:
        json.dump(record, file, indent=2)
    print(record, flush=True)


@torch.no_grad()
def publish(pairs):
    for whole, half in pairs:
        half.copy_(whole)


def begin_fall(until, step, recent):
    """The fall takes FALL of all steps; it begins when the steps that still fit are so many."""
    hours, minutes = map(int, until.split(":"))
    now = time.gmtime()
    left = ((hours - now.tm_hour) * 3600 + (minutes - now.tm_min) * 60 - now.tm_sec + 12 * 3600) % 86400 - 12 * 3600
    each = (recent[-1] - recent[0]) / max(1, len(recent) - 1)
    fits = max(1, int(left / each))
    if fits > FALL / (1 - FALL) * step:
        return None, None
    return fits, step + fits


if __name__ == "__main__":
    main()
