"""Sentences of a comparison in another language: an English template is the key, and what is missing stays English."""

from __future__ import annotations

from lossary.text.phrases import Lang, chinese


def say(lang: Lang, template: str, **fields: object) -> str:
    """Return a template in a language, with its fields put in.

    >>> say("en", "{label} failed", label="huber"), say("zh", "{label} failed", label="huber")
    ('huber failed', 'huber 训练失败')
    """
    return (chinese("comparison").get(template, template) if lang == "zh" else template).format(**fields)


class Note(str):
    """A sentence in English that keeps its template and fields, so that a report in another language can say it."""

    template: str
    fields: dict[str, object]


def note(template: str, /, **fields: object) -> Note:
    """Return the English sentence of a template; `translate` says it in another language.

    >>> note("{columns} dropped: {why}", columns="id", why=note("no value is known"))
    'id dropped: no value is known'
    """
    made = Note(template.format(**fields))
    made.template, made.fields = template, fields
    return made


def translate(lang: Lang, sentence: str) -> str:
    """Return a note in a language, and any other text as it is.

    >>> translate("zh", note("{columns} dropped: {why}", columns="id", why=note("no value is known")))
    '已删除 id：没有已知的值'
    """
    if not isinstance(sentence, Note):
        return sentence
    fields = {name: translate(lang, f) if isinstance(f, str) else f for name, f in sentence.fields.items()}
    return say(lang, sentence.template, **fields)


def joined(lang: Lang, words: list[str], limit: int = 6) -> str:
    """Join words as in a sentence: a, b and c. Those beyond the limit are counted.

    >>> joined("en", ["huber", "mape", "log_cosh"]), joined("zh", ["huber", "mape"]), joined("en", list("abc"), 2)
    ('huber, mape and log_cosh', 'huber 和 mape', 'a, b and 1 more')
    """
    shown = words[:limit]
    if len(words) > limit:
        shown.append(say(lang, "{n} more", n=len(words) - limit))
    if len(shown) < 2:
        return "".join(shown)
    return say(lang, "{first} and {last}", first=say(lang, ", ").join(shown[:-1]), last=shown[-1])


def paragraph(lang: Lang, sentences: list[str]) -> str:
    """Join sentences to a paragraph: Chinese has no spaces between them."""
    return ("" if lang == "zh" else " ").join(sentences)
