"""Signs of an answer that is not a transcript: loops, refusals, prompt echoes. Pure.

The text alone does not distinguish a model in a loop from a speaker who repeats, or a refusal from
a speaker who says "I'm sorry, I can't hear you"; `tasks.quality` asks for more evidence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from phi4audio_cli.text.words import normalized_words

MAX_PERIOD_WORDS = 50
"""Longest repeated sequence that is searched for, words."""

MIN_REPEATED_WORDS = 10
"""Fewest consecutive repeated words that make a text repetitive."""

MIN_REPEATS = 3
"""Fewest consecutive occurrences of the same sequence that make a text repetitive."""


def repeated_share(text: str) -> float:
    """Return the share of words that only repeat the sequence right before them.

    Returns:
        From 0 (no immediate repetition) to 1: 0.9 for one word ten times, 0.5 for a sentence
        twice; ordinary speech stays below 0.2.
    """
    words = normalized_words(text)
    repeated = [False] * len(words)
    for _, first, stop in _repeated_runs(words):
        repeated[first:stop] = [True] * (stop - first)
    return sum(repeated) / len(words) if words else 0.0


def is_repetitive(text: str) -> bool:
    """Whether a long part of a text repeats the same words over and over."""
    return any(
        stop - first >= max(MIN_REPEATED_WORDS, (MIN_REPEATS - 1) * period)
        for period, first, stop in _repeated_runs(normalized_words(text))
    )


def _repeated_runs(words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield runs of words equal to the words one period before, at least one period long.

    Yields:
        The period in words, the index of the first repeated word, and the one after the last.
    """
    for period in range(1, min(MAX_PERIOD_WORDS, len(words) // 2) + 1):
        first = period
        for index in range(period, len(words) + 1):
            if index < len(words) and words[index] == words[index - period]:
                continue
            if index - first >= period:
                yield period, first, index
            first = index + 1


MAX_REFUSAL_LENGTH = 400
"""Longest refusal, characters; a longer answer has other content as well."""

_SORRY = (
    r"(?:(?:i'?m|i am) (?:very |so |really |truly )?sorry|sorry|(?:my )?apologies|i apologi[sz]e"
    r"|i regret|unfortunately)"
)
_AS_AI = (
    r"as an? (?:ai|artificial|text|language|large)\b[^.]{0,60}?|i(?:'m| am) (?:just |only )?an? "
    r"(?:ai|artificial|text|language|large)\b[^.]{0,60}?"
)
_UNABLE = (
    r"(?:can ?not|can'?t|(?:am|'m) (?:currently |not able|unable|not capable)[ \w]{0,12}"
    r"|(?:do not|don'?t) (?:have|currently have) (?:the )?(?:ability|capability|capacity|access)"
    r"|(?:am|'m) not (?:able|designed|equipped))"
)
_VERB = (
    r"(?:listen|hear|process|access|transcrib|translat|analy[sz]|interpret|understand|play"
    r"|assist|help|provid|perform|handle)"
)
_AUDIO = r"(?:audio|recording|sound|speech|voice|transcri|spoken|that request|this request)"
_SEEMS = rf"(?:{_SORRY}[ ,.;:!]*)?(?:but )?(?:it (?:seems|looks|appears)(?: like| that)? )?"
_CLIP = r"audio(?: clip| file| recording| input)?"
_GIVEN = r"(?:provided?|attach(?:ed)?|upload(?:ed)?|given?|include?d?|shared?)"

REFUSAL_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # English: "I'm sorry, but as an AI I can't listen to audio files."
        rf"(?:{_SORRY}[ ,.;:!]*)?(?:but |that )?(?:{_AS_AI}[ ,.;:!]*)?(?:and |but |so )?"
        rf"(?:i ?)?{_UNABLE}\b.{{0,30}}?\b{_VERB}.{{0,60}}?\b{_AUDIO}",
        rf"(?:{_AS_AI}).{{0,60}}?{_UNABLE}",
        # "I'm sorry, but I can't assist with that."
        rf"{_SORRY}[ ,.;:!]*(?:but )?i ?{_UNABLE} (?:to )?(?:assist|help)(?: you)? "
        r"with (?:that|this)(?:[.!]|$)",
        # "Since there's nothing before or after the provided text, I can't transcribe anything."
        rf"(?:since|because|as) (?:there(?:'s| is| was)|you|no|the)\b.{{0,80}}?\bi ?{_UNABLE} "
        r"(?:to )?(?:transcrib|translat)",
        # "No audio was provided.", "The audio has not been provided.", but not "... by the BBC"
        rf"{_SEEMS}(?:there(?:'s| is| was) )?no {_CLIP}(?: (?:is|was|has been))? {_GIVEN}\b"
        r"(?! by\b)",
        rf"{_SEEMS}the {_CLIP} (?:is|was|has)(?: not|n't)(?: been)? {_GIVEN}\b(?! by\b)",
        rf"{_SEEMS}there(?:'s| is| was) (?:no|nothing)\b[ \w]{{0,30}} to (?:transcribe|translate)"
        r"(?:[.,;!]|$)",
        # "You have not provided any audio clip to transcribe."
        rf"{_SEEMS}you (?:have|did)(?: not|n't) {_GIVEN} (?:me )?(?:with )?"
        rf"(?:(?:any|an|the|your) )?{_CLIP}(?:[.,;!]|$| (?:to|for|or|and|so|yet|in)\b)",
        r"(?:sure[ ,.!]*|of course[ ,.!]*)?please (?:provide|upload|share|attach|send)(?: me)?"
        r"(?: with)? (?:the|an|your) (?:audio|recording|transcript)",
        # German, French, Spanish, Italian, Portuguese
        r"(?:es tut mir leid|tut mir leid|entschuldigung|leider)\b.{0,40}\bkann\b.{0,60}"
        r"(?:audio|aufnahme|transkri|sprach)",
        r"(?:je suis désolée?|désolée?|malheureusement)\b.{0,40}\bne (?:peux|suis)\b.{0,60}"
        r"(?:audio|enregistrement|transcri)",
        r"(?:lo siento|lamentablemente|perdón|disculpa)\b.{0,40}\bno (?:puedo|tengo)\b.{0,60}"
        r"(?:audio|grabaci|transcri)",
        r"(?:mi dispiace|purtroppo)\b.{0,40}\bnon (?:posso|sono)\b.{0,60}"
        r"(?:audio|registrazion|trascri)",
        r"(?:desculpe|sinto muito|lamento|infelizmente)\b.{0,40}\bnão (?:posso|consigo|sou)\b"
        r".{0,60}(?:áudio|gravaç|transcre)",
        # Chinese and Japanese
        r"(?:很|非常)?(?:抱歉|对不起|對不起).{0,20}(?:无法|無法|不能|没有办法).{0,20}"
        r"(?:音频|音頻|录音|錄音|语音|語音|转录)",
        r"(?:申し訳|すみません|ごめん).{0,40}(?:音声|録音|オーディオ|文字起こし).{0,30}"
        r"(?:できません|ません|できない)",
    )
)


def is_refusal(text: str) -> bool:
    """Whether an answer is a refusal of the model instead of a transcript."""
    plain = unicodedata.normalize("NFC", text).casefold().translate({ord("’"): "'", ord("‘"): "'"})
    plain = " ".join(plain.split()).lstrip("\"'*-–—.… ")
    return len(plain) <= MAX_REFUSAL_LENGTH and any(
        pattern.match(plain) for pattern in REFUSAL_PATTERNS
    )


MIN_ECHO_WORDS = 4
"""Fewest words of an echo; a shorter part of the instruction may be real speech."""


def is_prompt_echo(text: str, prompt: str) -> bool:
    """Whether an answer contains the whole instruction, or is only a part of it."""
    answer, instruction = normalized_words(text), normalized_words(prompt)
    if min(len(answer), len(instruction)) < MIN_ECHO_WORDS:
        return False
    shorter, longer = sorted((answer, instruction), key=len)
    return f" {' '.join(shorter)} " in f" {' '.join(longer)} "
