"""The API with the package openai as its client: python3 openai_client.py http://127.0.0.1:8000/v1"""

import sys

from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI

TEXT = "A fast and small web browser."
client = OpenAI(base_url=sys.argv[1], api_key="secret", max_retries=0)

models = client.models.list().data
assert [model.id for model in models] == ["wheels"], models
assert models[0].max_budget == "50%", models

# A whole answer, and the same as a stream.
whole = client.completions.create(model="wheels", prompt=TEXT, logprobs=2, extra_body={"budget": "30%"})
choice = whole.choices[0]
assert choice.text == "".join(span["text"] for span in choice.spans)
assert choice.finish_reason == "stop" and whole.usage.teacher_tokens > 0, whole
assert whole.usage.student_tokens + whole.usage.teacher_tokens == whole.usage.completion_tokens
assert len(choice.logprobs.tokens) == len(choice.logprobs.top_logprobs) == whole.usage.completion_tokens
chunks = list(client.completions.create(
    model="wheels", prompt=TEXT, stream=True, stream_options={"include_usage": True}, extra_body={"budget": "30%"},
))
assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == choice.text
assert {chunk.choices[0].author for chunk in chunks if chunk.choices and chunk.choices[0].text} == {"student", "teacher"}
assert chunks[-1].usage.teacher_tokens == whole.usage.teacher_tokens

# Chat, whole and as a stream; the prompt is the same as that of the completion.
messages = [{"role": "user", "content": TEXT}]
chat = client.chat.completions.create(
    model="wheels", messages=messages, logprobs=True, top_logprobs=3, extra_body={"budget": "30%"},
)
assert chat.choices[0].message.content == choice.text
assert all(len(token.top_logprobs) == 3 for token in chat.choices[0].logprobs.content)
parts = client.chat.completions.create(model="wheels", messages=messages, stream=True, extra_body={"budget": "30%"})
assert "".join(part.choices[0].delta.content or "" for part in parts) == choice.text

# The seed decides, and a list of prompts has a choice each.
def sample(seed):
    texts = client.completions.create(model="wheels", prompt=[TEXT, TEXT], temperature=1.5, seed=seed)
    return [choice.text for choice in texts.choices]

assert sample(1) == sample(1) and sample(1) != sample(2) and sample(1)[0] != sample(1)[1]

# Errors are those of the package, and name what is wrong.
for wrong, error, named in [
    (dict(n=2), BadRequestError, "`n`"),
    (dict(frequency_penalty=1), BadRequestError, "`frequency_penalty`"),
    (dict(extra_body={"budget": "60%"}), BadRequestError, "ceiling of 50%"),
    (dict(model="other"), NotFoundError, "other"),
]:
    try:
        client.completions.create(**{"model": "wheels", "prompt": TEXT, **wrong})
        raise AssertionError(f"{wrong} was accepted")
    except error as caught:
        assert named in str(caught), caught
try:
    OpenAI(base_url=sys.argv[1], api_key="wrong", max_retries=0).models.list()
    raise AssertionError("a wrong key was accepted")
except AuthenticationError:
    pass
print("the package openai works as the client")
