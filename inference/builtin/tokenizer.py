"""Byte-level byte-pair encoding of both languages, with the pre-tokenizer that qwen2 models use."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import dialogue

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 3072
# Dialogues that it is learnt from; they are the first ones of the training text.
DIALOGUES = 12_000


def train(seed):
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END_OF_TEXT, START, END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=4, show_progress=False,
    )
    lines = (text for number in range(DIALOGUES) for _, text, outside in dialogue(seed, number) if not outside)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer
