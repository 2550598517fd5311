"""OpenAI's Python library against a node whose address and key stand in the environment; sdk.test.mjs starts both."""

import json
import math
import os
import unittest

import openai

MODEL = os.environ["STARLING_MODEL"]
QUESTION = [{"role": "user", "content": "Привет! Как тебя зовут?"}]


def client(**settings):
    # Without repetition: every refusal is seen.
    return openai.OpenAI(max_retries=0, timeout=60, **settings)


class Programs(unittest.TestCase):
    def chat(self, **more):
        asked = {"model": MODEL, "messages": QUESTION, "temperature": 0, **more}
        return client().chat.completions.create(**asked)

    def test_the_model_is_listed(self):
        self.assertEqual([model.id for model in client().models.list()], [MODEL])

    def test_a_chat_is_answered_and_by_the_same_seed_in_the_same_words(self):
        answer = self.chat(seed=7, temperature=1)
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        again = self.chat(seed=7, temperature=1)
        self.assertEqual(again.choices[0].message.content, answer.choices[0].message.content)

    def test_a_stream_adds_up_to_the_whole_answer(self):
        whole = self.chat(max_tokens=20)
        text, usage = "", None
        for chunk in self.chat(max_tokens=20, stream=True, stream_options={"include_usage": True}):
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
            usage = chunk.usage or usage
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(usage.completion_tokens, whole.usage.completion_tokens)

    def test_a_schema_and_probabilities_are_followed(self):
        schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
        form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema, "strict": True}}
        shaped = self.chat(response_format=form)
        self.assertIn(json.loads(shaped.choices[0].message.content)["mood"], ["good", "bad"])
        told = self.chat(max_completion_tokens=3, logprobs=True, top_logprobs=2).choices[0]
        self.assertEqual([len(token.top_logprobs) for token in told.logprobs.content], [2, 2, 2])
        self.assertEqual(told.finish_reason, "length")

    def test_a_text_is_gone_on_with(self):
        made = client().completions.create(model=MODEL, prompt="Привет", max_tokens=4)
        self.assertTrue(made.choices[0].text)

    def test_texts_become_numbers(self):
        made = client().embeddings.create(model=MODEL, input=["Лис", "Погода"])
        plain = client().embeddings.create(model=MODEL, input="Лис", encoding_format="float")
        first = made.data[0].embedding
        self.assertAlmostEqual(math.hypot(*first), 1, places=3)
        self.assertEqual(len(first), len(plain.data[0].embedding))
        self.assertLess(max(abs(a - b) for a, b in zip(first, plain.data[0].embedding)), 1e-5)

    def test_refusals_are_the_errors_that_programs_catch(self):
        with self.assertRaises(openai.AuthenticationError):
            client(api_key="sk-starling1-nothing").models.list()
        with self.assertRaises(openai.NotFoundError) as refused:
            self.chat(model="gpt-4")
        self.assertEqual((refused.exception.code, refused.exception.param), ("model_not_found", "model"))
        with self.assertRaises(openai.BadRequestError) as refused:
            self.chat(n=2)
        self.assertEqual((refused.exception.code, refused.exception.param), ("unsupported_parameter", "n"))


if __name__ == "__main__":
    unittest.main()
